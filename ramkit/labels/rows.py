"""Labels in rows: JSON Lines with a list of names, tables with a column of names or a column of 0 and 1 a name."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ramkit.errors import InputError
from ramkit.files import read_rows
from ramkit.labels.images import ImageFinder
from ramkit.labels.labelled import LabelColumns, LabelledPhoto, LabelledSet, of_photos

_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True, "": False}
_SEPARATORS = ";|,"  # the first of them that any row has takes the names apart


def read_json_lines(path: Path, columns: LabelColumns, finder: ImageFinder) -> LabelledSet:
    found = []
    for number, row in enumerate(read_rows(path), start=1):
        where = f"{path}, row {number}"
        image = finder.reference(_image(row.get(columns.image), columns, where))
        found.append(LabelledPhoto(image, names_in(row, columns, where)))
    return of_photos(found)


def read_table(path: Path, columns: LabelColumns, finder: ImageFinder) -> LabelledSet:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter=delimiter, strict=True)
            rows = [(f"{path}, line {reader.line_num}", row) for row in reader]
            header = [name or "" for name in reader.fieldnames or []]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as a table ({error}).", cure="Save it as CSV in UTF-8.") from None
    if columns.image not in header:
        raise InputError(
            f"{path}: no column {columns.image!r}; it has {', '.join(map(repr, header))}.",
            cure="Name it: --image-field",
        )
    _check_cells(path, header, rows)
    images = [finder.reference(_image(row[columns.image], columns, where)) for where, row in rows]
    if columns.labels in header:
        lists = _lists([row[columns.labels] or "" for _, row in rows])
        return of_photos(LabelledPhoto(image, names) for image, names in zip(images, lists, strict=True))
    names = [name for name in header if name != columns.image]
    flags = [_flags(row, names, columns, where) for where, row in rows]
    return LabelledSet([LabelledPhoto(image, own) for image, own in zip(images, flags, strict=True)], names)


def _check_cells(path: Path, header: Sequence[str], rows: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Refuse what would be read as something else: two columns of one name, a row with more or fewer cells.

    Raises:
        InputError: names it.
    """
    if twice := [name for name in header if header.count(name) > 1]:
        raise InputError(f"{path}: two columns are called {twice[0]!r}.", cure="Give each a name of its own.")
    for where, row in rows:
        spare, found = row.get(None, ()), sum(value is not None for value in row.values())  # type: ignore[call-overload]
        if spare or found < len(header):
            cells = len(header) + len(spare) if spare else found
            raise InputError(
                f"{where}: {cells} cells, the header names {len(header)}.",
                cure="Put a cell that holds commas into quotes, and leave empty cells between theirs.",
            )


def names_in(row: Any, columns: LabelColumns, where: str) -> list[str]:
    """The list of names in a row that was JSON.

    Raises:
        InputError: there is none.
    """
    labels = row.get(columns.labels) if isinstance(row, dict) else None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{where}: {columns.labels!r} is no list of names.", cure="Name the key: --labels-field")
    return labels


def _image(value: Any, columns: LabelColumns, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: no {columns.image!r}.", cure="Name the key: --image-field")
    return value


def _lists(cells: Sequence[str]) -> Iterable[list[str]]:
    separator = next((mark for mark in _SEPARATORS if any(mark in cell for cell in cells)), ",")
    for cell in cells:
        yield [name for name in (" ".join(part.split()) for part in cell.split(separator)) if name]


def _flags(row: dict[str, Any], names: Sequence[str], columns: LabelColumns, where: str) -> list[str]:
    true = []
    for name in names:
        flag = _FLAGS.get(str(row[name] or "").strip().lower())
        if flag is None:
            raise InputError(
                f"{where}: {row[name]!r} under {name!r} is neither 0 nor 1, and there is no column {columns.labels!r}.",
                cure="Name the column of names: --labels-field",
            )
        if flag:
            true.append(name)
    return true
