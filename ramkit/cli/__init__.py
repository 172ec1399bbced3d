"""The command line: signatures, help, printing. `ramkit.stages` does the work, imported inside the commands."""

import errno
import os
import re
import sys
from typing import Annotated

import typer

from ramkit import __version__, console
from ramkit.cli import (
    artifacts,
    bench,
    calibrate,
    describe,
    embed,
    evaluate,
    fine,
    import_published,
    parse_tags,
    pull,
    tag,
    train,
)  # fmt: skip
from ramkit.errors import RamkitError

app = typer.Typer(
    name="ramkit",
    help="Open-set image tagging: tag photos with a trained model, or train one, stage by stage.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

_DISK_CURES = {
    errno.ENOSPC: "Free some space and run the same command again; what was finished is not lost.",
    errno.EDQUOT: "Free some space and run the same command again; what was finished is not lost.",
    errno.EROFS: "Choose a folder that can be written to, such as with --artifacts.",
    errno.EACCES: "Check who may read and write it, or choose another folder, such as with --artifacts.",
    errno.EPERM: "Check who may read and write it, or choose another folder, such as with --artifacts.",
}


def main() -> None:
    """Run the command line; a RamkitError, or a disk that refuses, becomes one line on stderr and exit code 1."""
    try:
        app()
    except RamkitError as error:
        console.print_error(str(error), of_one_process=error.of_one_process)
        sys.exit(1)
    except SystemExit as stop:  # how Typer ends, after an interrupt and a broken pipe too
        if stop.code == 130:
            console.say("stopped; what was finished is kept, and the same command goes on from there where it can.")
        if _reader_has_left(stop):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        raise
    except Exception as error:
        number = _error_number(error)
        if number not in _DISK_CURES:
            raise
        where = getattr(error, "filename", None) or "writing"
        console.print_error(f"{where}: {os.strerror(number)}. {_DISK_CURES[number]}")
        sys.exit(1)


def _error_number(error: Exception) -> int:
    """The system's number of an error, 0 where it has none; libraries written in Rust tell it in words alone."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    return (error.errno if isinstance(error, OSError) else told and int(told[1])) or 0


def _reader_has_left(stop: SystemExit) -> bool:
    """Whether the reader of standard output, such as `head`, has seen enough."""
    if sys.stdout is None:  # it was closed before we began
        return False
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return isinstance(stop.__context__, BrokenPipeError)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ramkit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    del version


_PHOTOS, _STAGES, _LOOK = "Tag photos", "Train a model, stage by stage", "Look"
_PUBLISHED = "Published models"
_FINE = "Tell kinds apart"

app.command("tag", rich_help_panel=_PHOTOS)(tag.tag)
app.command("pull", rich_help_panel=_PUBLISHED)(pull.pull)
app.command("import", rich_help_panel=_PUBLISHED)(import_published.import_published)
app.command("parse-tags", rich_help_panel=_STAGES)(parse_tags.parse_tags)
app.command("describe", rich_help_panel=_STAGES)(describe.describe)
app.command("embed", rich_help_panel=_STAGES)(embed.embed)
app.command("train", rich_help_panel=_STAGES)(train.train)
app.command("evaluate", rich_help_panel=_STAGES)(evaluate.evaluate)
app.command("calibrate", rich_help_panel=_STAGES)(calibrate.calibrate)
app.add_typer(fine.app, name="fine", rich_help_panel=_FINE)
app.add_typer(bench.app, name="bench", rich_help_panel=_LOOK)
app.add_typer(artifacts.app, name="artifacts", rich_help_panel=_LOOK)
