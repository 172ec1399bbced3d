"""What people see: progress bars, tables and one-line errors. Only the command line uses it."""

import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ramkit.progress import Detail, Item

_TELL_EVERY = 60.0  # seconds, where there is no terminal to draw on
Branch = tuple[str, Sequence["Branch"]]  # a title, and what grows from it

# Progress and remarks go to standard error, so that standard output holds results alone.
# Of several processes that torchrun starts the first tells for all.
_QUIET = os.environ.get("RANK", "0") != "0"
errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False, quiet=_QUIET)
results = Console(highlight=False, emoji=False, quiet=_QUIET)


def track(
    items: Iterable[Item], *, total: int | None, what: str, done: int = 0, detail: Detail | None = None
) -> Iterable[Item]:
    """A `Track` that draws a progress bar on a terminal; elsewhere it is silent but for a line a minute of details."""
    if not errors.is_terminal:
        yield from items if detail is None else _told_now_and_then(items, total, what, done, detail)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    if detail is not None:
        columns.append(TextColumn("{task.fields[detail]}"))
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task(what, total=total, completed=done, detail="")
        for item in items:
            yield item
            progress.update(task, advance=1, detail=detail() if detail is not None else "")


def _told_now_and_then(
    items: Iterable[Item], total: int | None, what: str, done: int, detail: Detail
) -> Iterable[Item]:
    told = time.monotonic()
    for number, item in enumerate(items, start=done + 1):
        yield item
        if time.monotonic() - told > _TELL_EVERY:
            told = time.monotonic()
            say(f"{what}: {number:,} of {total or 0:,}, {detail()}")


def say(message: str) -> None:
    """A remark to the person, on standard error."""
    errors.print(message, markup=False)


def print_error(message: str, *, of_one_process: bool = False) -> None:
    """One line on standard error; what happened to one process of several is told by it, whichever it is."""
    if of_one_process:
        errors.quiet = False
    errors.print(f"[bold red]error:[/] {_escape(message)}")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, lines: bool = False) -> None:
    """A table on standard output; numbers are aligned right, `lines` between its rows if wanted."""
    table = Table(header_style="bold", show_lines=lines)
    body = [list(row) for row in rows]
    for index, column in enumerate(columns):
        numeric = bool(body) and all(isinstance(row[index], (int, float)) for row in body)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        table.add_row(*(_cell(value) for value in row))
    if title:  # on a line of its own: within the table a long path would be folded to its width
        results.print(f"[italic]{_escape(title)}", soft_wrap=True)
    results.print(table)


def print_tree(tree: "Branch") -> None:
    """A titled tree on standard output."""
    from rich.tree import Tree

    def grown(branch: Branch) -> Tree:
        title, children = branch
        node = Tree(_escape(title))
        for child in children:
            node.children.append(grown(child))
        return node

    results.print(grown(tree))


def print_text(text: str) -> None:
    """Lines on standard output as they are, never folded."""
    sys.stdout.write(text.encode(results.encoding, "backslashreplace").decode(results.encoding) + "\n")


def print_json(value: Any) -> None:
    """One JSON document on standard output, for programs."""
    import json

    text = json.dumps(value, ensure_ascii=False, indent=2)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a terminal without UTF-8, or a file name that is none
        text = json.dumps(value, indent=2)
    sys.stdout.write(text + "\n")


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else _escape(str(value))


def _escape(text: str) -> str:
    from rich.markup import escape

    encoding = results.encoding  # what it cannot show, such as a file name that is no UTF-8, is shown as an escape
    return escape(text.encode(encoding, "backslashreplace").decode(encoding))
