"""Writing that survives a kill: whole files by rename, rows by append, and the JSON Lines both use."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ramkit.errors import InputError


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
    payload = data.encode() if isinstance(data, str) else data
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def to_json_line(row: dict[str, Any]) -> str:
    """One row as one line, keys in the order given, characters as themselves."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows as JSON Lines, whole or not at all in name; returns their number."""
    temporary = path.with_name(f".{path.name}.part")
    count = 0
    with temporary.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(to_json_line(row))
            count += 1
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    return count


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON Lines file that must be right: a bad line is an InputError that names it."""
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}, line {number}: not JSON ({error.msg}).", cure="Mend that line.") from None
            if not isinstance(row, dict):
                raise InputError(
                    f"{path}, line {number}: expected an object in braces, found {type(row).__name__}.",
                    cure="Mend that line.",
                )
            yield row


def cache_directory() -> Path:
    """Where ramkit keeps what it can make again: $RAMKIT_CACHE, else the user's cache folder."""
    if given := os.environ.get("RAMKIT_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ramkit"
