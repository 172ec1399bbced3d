"""Writing that survives a kill: whole files by rename, rows by append, and the JSON Lines both use."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ramkit.errors import InputError

# File names that are no UTF-8 reach Python as lone surrogates; so written they become the escapes that JSON knows.
_ODD_NAMES = "backslashreplace"
_BOM = b"\xef\xbb\xbf"  # some editors begin UTF-8 with it
_PART = ".part"  # ends the hidden name under which a file is written; a killed run may leave one behind
READABLE = 0o644  # by all, whatever wrote the file


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_directory(path: Path) -> None:
    """Make a rename inside `path` durable (a no-op where directories cannot be opened)."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write `data` so that a reader sees the old file or the whole new one, never a part."""
    payload = data.encode(errors=_ODD_NAMES) if isinstance(data, str) else data
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, READABLE)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def remove_parts(path: Path) -> None:
    """Remove what writers that were killed left unfinished anywhere under `path`."""
    for part in list(path.rglob(f".*{_PART}")):
        part.unlink(missing_ok=True)


def to_json_line(row: dict[str, Any]) -> str:
    """One row as one line, keys in the order given, characters as themselves."""
    return json.dumps(row, ensure_ascii=False).encode(errors=_ODD_NAMES).decode() + "\n"


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows as JSON Lines, whole or not at all in name; returns their number."""
    temporary = path.with_name(f".{path.name}{_PART}")
    count = 0
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            for row in rows:
                stream.write(to_json_line(row))
                count += 1
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
    return count


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON Lines file that must be right: a bad line is an InputError that names it."""
    for _, row in read_rows_and_places(path):
        yield row


def read_rows_and_places(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """As `read_rows`, each row with the offset in bytes at which its line begins."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).", cure="Check the path.") from None
    place = 0
    with stream:
        for number, line in enumerate(stream, start=1):
            if line.removeprefix(_BOM).strip():
                yield place, parse_row(path, number, line)
            place += len(line)


def parse_row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """The row that a line of a file holds; an InputError that names the line where it is none."""
    try:
        row = json.loads(line.removeprefix(_BOM).decode())
    except UnicodeDecodeError:
        raise InputError(f"{path}, line {number}: not UTF-8.", cure="Save the file as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {number}: not JSON ({error.msg}).", cure="Mend that line.") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise InputError(f"{path}, line {number}: not usable ({error}).", cure="Mend that line.") from None
    if not isinstance(row, dict):
        raise InputError(
            f"{path}, line {number}: expected an object in braces, found {type(row).__name__}.",
            cure="Mend that line.",
        )
    return row


def share(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy where it lies on another disk.

    From then on neither may be written into: `write_whole` and `write_rows` put a new file in the place of the old.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def cache_directory() -> Path:
    """Where ramkit keeps what it can make again: $RAMKIT_CACHE, else the user's cache folder."""
    if given := os.environ.get("RAMKIT_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ramkit"
