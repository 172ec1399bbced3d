"""What the name of a photo leads to, and the bytes behind it.

| reference                     | names                                                                     |
|-------------------------------|---------------------------------------------------------------------------|
| `folder/photo.jpg`            | a file                                                                    |
| `shard.tar::member.jpg`       | a member of a webdataset shard                                            |
| `file.parquet::column/12`     | the photo inside row 12, from 0: bytes, or `datasets`' {"bytes", "path"}  |

Photos are read in any order, millions of them out of thousands of shards: where the members of a shard lie is found
once, kept as a sorted table in ramkit's cache, and looked up there, memory-mapped. Of a Parquet file a whole row group
is read for a photo; the last ones read are kept, so that photos in order cost one reading.
"""

import hashlib
import os
import re
import tarfile
import threading
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ramkit.errors import InputError, first_line
from ramkit.files import cache_directory

MEMBER = "::"
_ENTRY = np.dtype([("name", "<u8"), ("offset", "<u8"), ("size", "<u8")])  # a member: hash of its name, and its place
_ROW_GROUPS = 2  # of Parquet files, kept: readers in several threads may stand on both sides of a border
_reading = threading.Lock()


def split_reference(reference: str) -> tuple[str, str] | None:
    """(container, name inside it) of a reference into a shard or Parquet file; None for a plain path, which may have
    `::` in it too."""
    match = re.fullmatch(rf"(.*?\.(?:tar|parquet)){MEMBER}(.*)", reference, re.IGNORECASE | re.DOTALL)
    return (match[1], match[2]) if match else None


def read_inside(container: str, name: str) -> bytes:
    """The bytes that a shard or Parquet file holds under a name.

    Raises:
        InputError: the container is missing or damaged, or holds nothing of that name.
    """
    return _read_cell(container, name) if _is_parquet(container) else read_member(container, name)


def _is_parquet(container: str) -> bool:
    return container.lower().endswith(".parquet")


def leads_somewhere(reference: str) -> bool:
    """Whether there is a file, a member of a shard or a row of a Parquet file of that name, readable or not.

    Raises:
        InputError: a container is damaged.
    """
    inside = split_reference(reference)
    if inside is None:
        return os.path.lexists(reference)
    container, name = inside
    if not Path(container).is_file():
        return False
    if not _is_parquet(container):
        return _place_of(container, name) is not None
    row = name.rpartition("/")[2]
    return row.isdecimal() and int(row) < _row_groups(container, *stamp(container))[-1]


def stamp(reference: str) -> tuple[int, int]:
    """Size and modification time of the file behind a reference; zeros where there is none."""
    inside = split_reference(reference)
    try:
        status = Path(inside[0] if inside else reference).stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


# ---- tar shards


def shard_index(shard: str) -> dict[str, tuple[int, int]]:
    """Member name → (offset, size) of a tar shard, in its order.

    Raises:
        InputError: missing, or not a tar file.
    """
    return _members(shard, *stamp(shard))


@lru_cache(maxsize=4)
def _members(shard: str, size: int, modified: int) -> dict[str, tuple[int, int]]:
    del size, modified  # a changed shard is read anew
    try:
        with tarfile.open(shard, "r:") as archive:
            return {member.name: (member.offset_data, member.size) for member in archive if member.isfile()}
    except FileNotFoundError:
        raise InputError(f"{shard}: no such file.", cure="Check the path.") from None
    except (tarfile.TarError, OSError, ValueError) as error:
        raise InputError(f"{shard}: not a readable tar shard ({first_line(error)}).", cure="Copy it anew.") from None


def read_member(shard: str, name: str) -> bytes:
    """The bytes of one member of a tar shard; InputError where the shard has none of that name."""
    place = _place_of(shard, name)
    if place is None:
        raise InputError(f"{shard}: has no member {name}.", cure="Check the reference.")
    offset, size = place
    with open(shard, "rb") as stream:
        stream.seek(offset)
        return stream.read(size)


def _place_of(shard: str, name: str) -> tuple[int, int] | None:
    """(offset, size) of a member; None where the shard has none of that name."""
    table = _shard_table(shard, *stamp(shard))
    key = _hash(name)
    row = int(np.searchsorted(table["name"], np.uint64(key)))
    if row == len(table) or table["name"][row] != key:
        return None
    return int(table["offset"][row]), int(table["size"][row])


@lru_cache(maxsize=8192)  # of each the cache holds a mapping, no content
def _shard_table(shard: str, size: int, modified: int) -> npt.NDArray[np.void]:
    """The members [N] of a shard sorted by the hashes of their names, from the cache where it is there."""
    key = hashlib.sha256(f"{os.path.abspath(shard)} {size} {modified}".encode(errors="surrogateescape")).hexdigest()
    path = cache_directory() / "shards" / f"{key[:24]}.npy"
    if not path.is_file():
        members = shard_index(shard)
        table = np.array([(_hash(name), *place) for name, place in members.items()], dtype=_ENTRY)
        table.sort(order="name", kind="stable")
        if not _saved(path, table):
            return table
    return np.load(path, mmap_mode="r")


def _saved(path: Path, table: npt.NDArray[np.void]) -> bool:
    """Whether the table could be written; where it cannot, memory does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.stem}-{os.getpid()}-{threading.get_ident()}.npy")
        np.save(unfinished, table)
        unfinished.replace(path)
    except OSError:
        return False
    return True


def _hash(name: str) -> int:
    """64 bits: of the thousands of names in a shard two are alike once in 10¹¹ shards."""
    digest = hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


# ---- Parquet files


def photo_rows(path: str) -> list[str]:
    """`column/row` of every photo in a Parquet file, in its order: columns as `datasets` writes photos, where there is
    none those of plain bytes. A row that holds no photo is among them.

    Raises:
        InputError: missing, or not a Parquet file.
    """
    from pyarrow import types

    with open_parquet(path) as file:
        fields = list(file.schema_arrow)
    structs = [field for field in fields if types.is_struct(field.type)]
    written = [field.name for field in structs if field.type.get_field_index("bytes") >= 0]
    plain = [field.name for field in fields if types.is_binary(field.type) or types.is_large_binary(field.type)]
    rows = range(_row_groups(path, *stamp(path))[-1])
    return [f"{column}/{row}" for column in written or plain for row in rows]


def _read_cell(path: str, name: str) -> bytes:
    column, _, number = name.rpartition("/")
    if not column or not number.isdecimal():
        raise InputError(f"{path}{MEMBER}{name}: names no row.", cure="Write file.parquet::column/row.")
    row, version = int(number), stamp(path)
    starts = _row_groups(path, *version)
    if row >= starts[-1]:
        raise InputError(f"{path}: has no row {row}, but {starts[-1]} rows.", cure="Check the reference.")
    group = bisect_right(starts, row) - 1
    with _reading:  # of threads that want the same row group one reads it
        cells = _cells(path, column, group, *version)
    cell = cells[row - starts[group]].as_py()
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes):
        if isinstance(cell, dict) and cell.get("path"):
            raise InputError(f"{path}{MEMBER}{name}: holds a path alone, {cell['path']}.", cure="Name that file.")
        raise InputError(f"{path}{MEMBER}{name}: holds no photo.", cure="Name a column of photos.")
    return content


@lru_cache(maxsize=8192)
def _row_groups(path: str, size: int, modified: int) -> list[int]:
    """The first row of each row group of a Parquet file, and the number of all rows."""
    del size, modified
    with open_parquet(path) as file:
        sizes = (file.metadata.row_group(number).num_rows for number in range(file.num_row_groups))
        return list(accumulate(sizes, initial=0))


@lru_cache(maxsize=_ROW_GROUPS)
def _cells(path: str, column: str, group: int, size: int, modified: int) -> Any:
    """One column of one row group, as Arrow holds it."""
    del size, modified
    with open_parquet(path) as file:
        if column not in file.schema_arrow.names:
            raise InputError(f"{path}: has no column {column!r}.", cure="Check the reference.")
        return file.read_row_group(group, columns=[column], use_threads=False).column(0)


def open_parquet(path: str | Path) -> Any:
    """A `pyarrow.parquet.ParquetFile`.

    Raises:
        InputError: missing, or not a Parquet file.
    """
    import pyarrow.parquet

    with damage_told(path):
        return pyarrow.parquet.ParquetFile(path)


@contextmanager
def damage_told(path: str | Path) -> Iterator[None]:
    """What Arrow says of a Parquet file that is missing or damaged, be it inside, as an InputError."""
    import pyarrow

    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.", cure="Check the path.") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({first_line(error)}).", cure="Copy it anew.") from None
