"""Captions and the photos they belong to, from whatever holds them: one row a photo, in the order of the source.

| source                  | image                                         | caption                                  |
|-------------------------|-----------------------------------------------|------------------------------------------|
| `shard.tar`             | the sample's photo, as `shard.tar::member`    | key of its `.json`, or its `.txt`        |
| `.jsonl` `.ndjson`, `-` | key; a relative path starts at the file       | key: a text or a list of texts           |
| `.csv` `.tsv`           | column                                        | column                                   |
| these with `.gz` behind | as in the file within                         | as in the file within                    |
| `.parquet`              | column: a path, or the photo itself, as       | column: texts or lists of texts          |
|                         | `file.parquet::column/row`                    |                                          |
| read by `datasets`: hub | column: a path, or the photo itself, kept in  | column; of webdataset samples as above   |
| id, address of a file,  | ramkit's cache as `shard.tar::member`         |                                          |
| folder in its layout    |                                               |                                          |

What `datasets` reads is streamed. Rows of one photo that follow one another are merged. A row that cannot be used never
stops a run: it comes out as a `BadRow` that says where and why.
"""

import csv
import hashlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO, cast

from ramkit import references
from ramkit.errors import InputError, MissingError, RamkitError, first_line
from ramkit.files import cache_directory, sha256_of
from ramkit.photo_shards import PhotoShards

STDIN = "-"
_JSON_LINES = frozenset({".jsonl", ".ndjson", ".json"})
_TABLES = {".csv": ",", ".tsv": "\t"}
_WHOLE = frozenset({".tar", ".parquet"})
_PACKED = ".gz"
_KNOWN = (
    "Known: .jsonl, .csv and .tsv, also with .gz behind, .tar and .parquet, here or at an address; `-` for JSON Lines "
    "on standard input; a folder of them; a hub dataset id."
)
_BUILDERS: dict[str, tuple[str, dict[str, Any]]] = {  # ending of an address → who reads it in `datasets`
    **dict.fromkeys(_JSON_LINES, ("json", {})),
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
    ".parquet": ("parquet", {}),
    ".arrow": ("arrow", {}),
    ".tar": ("webdataset", {}),
}
_SAVED = ("state.json", "dataset_dict.json")  # in a folder that `datasets` saved: its files are not for themselves
_FEW = 64  # photos held at a time
_LONGEST_FIELD = 10_000_000  # characters; the csv module's own limit breaks on long alt texts


@dataclass(frozen=True)
class Columns:
    """Names of the columns, or keys, that hold photo and caption."""

    image: str = "image"
    caption: str = "caption"
    split: str = "train"  # of a hub dataset


@dataclass(frozen=True)
class CaptionRow:
    """One photo with all its captions."""

    image: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used."""

    where: str
    why: str


@dataclass(frozen=True)
class Source:
    """One place captions are read from; `identity` changes when its content does."""

    name: str
    identity: str
    read: Callable[[], Iterator[CaptionRow | BadRow]]


def open_sources(names: Sequence[str], columns: Columns) -> list[Source]:
    """Sources by their names; a folder stands for the caption files in it.

    Raises:
        InputError: none given, missing, or of a kind that is not known.
    """
    if not names:
        raise InputError("No captions given.", cure=f"Name a source. {_KNOWN}")
    return [_open(name, columns) for given in names for name in _expanded(given)]


def _expanded(name: str) -> list[str]:
    path = Path(name)
    if name == STDIN or not path.is_dir():
        return [name]
    if any((path / name).is_file() for name in _SAVED):
        return [name]
    inside = sorted(str(entry) for entry in path.iterdir() if _kind_of(entry) and not entry.name.startswith("."))
    return inside or [name]  # a folder as `datasets` lays them out


def _kind_of(path: Path) -> str:
    """Ending that tells how a file is read, of what is within where it is compressed; empty where nobody knows how."""
    packed = path.suffix.lower() == _PACKED
    suffix = (path.with_suffix("") if packed else path).suffix.lower()
    return suffix if suffix in _JSON_LINES or suffix in _TABLES or (suffix in _WHOLE and not packed) else ""


def _open(name: str, columns: Columns) -> Source:
    if name == STDIN:
        path = _spooled()
        return Source(path.name, path.parent.name, lambda: merged(_json_lines(path, columns, Path.cwd())))
    path = Path(name)
    if "://" in name or path.is_dir():
        return _streamed_source(name, columns)
    if not path.exists():
        if _looks_like_hub_id(name):
            return _streamed_source(name, columns)
        raise InputError(f"{name}: no such file.", cure="Check the path.")
    suffix = _kind_of(path)
    if not suffix:
        raise InputError(f"{name}: captions cannot be read from this kind of file.", cure=_KNOWN)
    path = path.resolve()
    status = path.stat()
    identity = f"{path} {status.st_size} {status.st_mtime_ns}"
    return Source(name, identity, lambda: merged(_reader(suffix)(path, columns, path.parent)))


def _reader(suffix: str) -> Callable[[Path, Columns, Path], Iterator[CaptionRow | BadRow]]:
    if suffix == ".tar":
        return _shard
    if suffix == ".parquet":
        return _parquet
    return _table if suffix in _TABLES else _json_lines


def merged(rows: Iterable[CaptionRow | BadRow]) -> Iterator[CaptionRow | BadRow]:
    """Rows of one photo that follow one another, as one row; equal captions once."""
    held: CaptionRow | None = None
    for row in rows:
        if isinstance(row, BadRow):
            yield row
        elif held is not None and held.image == row.image:
            held = CaptionRow(held.image, tuple(dict.fromkeys((*held.captions, *row.captions))))
        else:
            if held is not None:
                yield held
            held = row
    if held is not None:
        yield held


def checked(image: Any, caption: Any, *, where: str, folder: Path, columns: Columns) -> CaptionRow | BadRow:
    """A row from two values as they were read."""
    if image is None or image == "":
        return BadRow(where, f"no {columns.image!r}")
    if not isinstance(image, str):
        return BadRow(where, f"{columns.image!r} is no text but {type(image).__name__}")
    if caption is None:
        return BadRow(where, f"no {columns.caption!r}")
    texts = [caption] if isinstance(caption, str) else caption
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        return BadRow(where, f"{columns.caption!r} is no text and no list of texts")
    captions = tuple(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))
    if not captions:
        return BadRow(where, f"{columns.caption!r} is empty")
    return CaptionRow(_reference(image, folder), captions)


def _reference(image: str, folder: Path) -> str:
    if "://" in image or Path(image).is_absolute():
        return image
    return str(folder / image)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file's content, unpacked where it is compressed.

    Raises:
        InputError: compressed, and damaged.
    """
    if path.suffix.lower() != _PACKED:
        with path.open("rb") as stream:
            yield stream
        return
    import gzip
    import zlib

    try:
        with gzip.open(path, "rb") as unpacked:
            yield cast(BinaryIO, unpacked)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: not a whole gzip file ({first_line(error)}).", cure="Copy it anew.") from None


def _json_lines(path: Path, columns: Columns, folder: Path) -> Iterator[CaptionRow | BadRow]:
    with _opened(path) as stream:
        for number, line in enumerate(stream, start=1):
            where = f"{path.name}, line {number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
                yield BadRow(where, "not JSON")
                continue
            if not isinstance(row, dict):
                yield BadRow(where, "no object in braces")
                continue
            yield checked(row.get(columns.image), row.get(columns.caption), where=where, folder=folder, columns=columns)


def _table(path: Path, columns: Columns, folder: Path) -> Iterator[CaptionRow | BadRow]:
    csv.field_size_limit(_LONGEST_FIELD)
    with _opened(path) as content:
        stream = io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.DictReader(_without_nul(stream), delimiter=_TABLES[_kind_of(path)])
        if any(map(_is_undecoded, reader.fieldnames or ())):
            raise InputError(f"{path}: not UTF-8.", cure="Save it as UTF-8.")
        _require_columns(path, reader.fieldnames or [], columns)
        rows = iter(reader)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadRow(f"{path.name}, line {reader.line_num}", str(error))
                continue
            where = f"{path.name}, line {reader.line_num}"
            image, caption = row.get(columns.image), row.get(columns.caption)
            if _is_undecoded(image) or _is_undecoded(caption):
                yield BadRow(where, "not UTF-8")
            else:
                yield checked(image, caption, where=where, folder=folder, columns=columns)


def _is_undecoded(cell: str | None) -> bool:
    """Whether bytes that are no UTF-8 stand in it, as `surrogateescape` lets them through."""
    return cell is not None and not cell.isascii() and any("\udc80" <= letter <= "\udcff" for letter in cell)


def _without_nul(lines: Iterable[str]) -> Iterator[str]:
    return (line.replace("\0", "") for line in lines)


def _parquet(path: Path, columns: Columns, folder: Path) -> Iterator[CaptionRow | BadRow]:
    """Photos inside the file are named by their place in it; their bytes are not read here."""
    number = 0
    with references.open_parquet(path) as file, references.damage_told(path):
        _require_columns(path, file.schema_arrow.names, columns)
        for group in range(file.num_row_groups):
            captions = _values(file, group, columns.caption)
            for image, caption in zip(_photo_names(file, group, columns.image), captions, strict=True):
                if image is True:
                    image = f"{path}{references.MEMBER}{columns.image}/{number}"
                number += 1
                where = f"{path.name}, row {number}"
                yield checked(image, caption, where=where, folder=folder, columns=columns)


def _photo_names(file: Any, group: int, column: str) -> Iterator[Any]:
    """For each row of a row group the photo's path; True where the row holds the photo itself."""
    from pyarrow import types

    kind = file.schema_arrow.field(column).type
    if types.is_binary(kind) or types.is_large_binary(kind):
        return (inside or None for inside in _held(file, group, column))
    if not types.is_struct(kind):
        return _values(file, group, column)
    leaves = {kind.field(number).name for number in range(kind.num_fields)}
    inside = _held(file, group, f"{column}.bytes") if "bytes" in leaves else repeat(False)
    paths = _values(file, group, f"{column}.path") if "path" in leaves else repeat({})
    return (held or (cell or {}).get("path") for held, cell in zip(inside, paths, strict=False))


def _held(file: Any, group: int, leaf: str) -> Iterator[bool]:
    """For each row of a row group whether it has a value; content is read only where the statistics do not tell."""
    chunks = file.metadata.row_group(group)
    leaves = (chunks.column(number) for number in range(chunks.num_columns))
    known = next(found.statistics for found in leaves if found.path_in_schema == leaf)
    if known is not None and known.has_null_count and known.null_count in (0, chunks.num_rows):
        yield from repeat(known.null_count == 0, chunks.num_rows)
        return
    for batch in file.iter_batches(_FEW, row_groups=[group], columns=[leaf]):
        cells = batch.column(0)
        yield from (cells.field(0) if "." in leaf else cells).is_valid().to_pylist()


def _values(file: Any, group: int, leaf: str) -> Iterator[Any]:
    for batch in file.iter_batches(4096, row_groups=[group], columns=[leaf]):
        yield from batch.column(0).to_pylist()


def _require_columns(path: Path | str, present: Sequence[str], columns: Columns) -> None:
    if not present:
        raise InputError(f"{path}: it is empty.", cure="Give captions.")
    missing = [name for name in (columns.image, columns.caption) if name not in present]
    if missing:
        raise InputError(
            f"{path}: no column {' and no '.join(map(repr, missing))}; it has {', '.join(map(repr, present))}.",
            cure="Name them: --image-field NAME --caption-field NAME",
        )


def _shard(path: Path, columns: Columns, folder: Path) -> Iterator[CaptionRow | BadRow]:
    from ramkit import photos

    del folder
    members = references.shard_index(str(path))
    samples: dict[str, dict[str, str]] = {}
    for name in members:
        home, _, file = name.rpartition("/")
        stem, _, ending = file.partition(".")
        samples.setdefault(f"{home}/{stem}", {})[ending.lower()] = name
    for endings in samples.values():
        image = next((name for ending, name in endings.items() if f".{ending}" in photos.SUFFIXES), None)
        text = endings.get("json") or endings.get("txt")
        where = f"{path.name}::{text or image}"
        if text is None:
            if image is not None:
                yield BadRow(where, "no .json and no .txt beside the photo")
        elif image is None:
            yield BadRow(where, "no photo beside the caption")
        else:
            found = _sample_caption(references.read_member(str(path), text), text, columns)
            if isinstance(found, BadRow):
                yield BadRow(where, found.why)
            else:
                reference = f"{path}{references.MEMBER}{image}"
                yield checked(reference, found, where=where, folder=path.parent, columns=columns)


def _sample_caption(content: bytes, name: str, columns: Columns) -> Any:
    try:
        text = content.decode("utf-8-sig")
        if name.endswith(".txt"):
            return text
        row = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        return BadRow(name, "not JSON" if name.endswith(".json") else "not UTF-8")
    return row.get(columns.caption) if isinstance(row, dict) else BadRow(name, "no object in braces")


def _spooled() -> Path:
    """Standard input as a file, placed by its content, since it is read more than once; never in memory whole."""
    if sys.stdin is None:
        raise InputError("Standard input is closed.", cure="Pipe JSON Lines into the command, or name a file.")
    folder = cache_directory() / "stdin"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as private:
        whole = Path(private) / "whole"
        with whole.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        path = folder / sha256_of(whole) / "standard input"
        path.parent.mkdir(exist_ok=True)
        whole.replace(path)
    return path


def _looks_like_hub_id(name: str) -> bool:
    parts = name.partition(":")[0].split("/")
    return len(parts) == 2 and all(parts) and not name.startswith((".", "~")) and Path(name).suffix.lower() not in (
        {".txt", _PACKED, *_WHOLE, *_JSON_LINES, *_TABLES}
    )  # fmt: skip


def _streamed_source(name: str, columns: Columns) -> Source:
    builder = _builder(name)
    identity = f"{name} {builder.hash} {builder.config_id} {columns.split}"
    return Source(name, identity, lambda: merged(_stream(name, identity, columns)))


def _builder(name: str) -> Any:
    """What `datasets` makes of a hub id (with `:CONFIGURATION`), the address of a file, or a folder in its layout."""
    import datasets

    file = Path(name.partition("?")[0])
    suffix = _kind_of(file) or file.suffix.lower()
    if "://" in name and suffix not in _BUILDERS:
        raise InputError(f"{name}: captions cannot be read from this kind of file.", cure=_KNOWN)
    path, _, configuration = (name, "", "") if Path(name).is_dir() else name.partition(":")
    try:
        if "://" in name:
            kind, options = _BUILDERS[suffix]
            return datasets.load_dataset_builder(kind, data_files=[name], **options)
        return datasets.load_dataset_builder(path, configuration or None)
    except Exception as error:  # of the many classes of files, formats, the net and the hub
        raise MissingError(
            f"{name}: no file of this name, and no dataset that can be opened ({first_line(error)}).",
            cure="Check the name and the connection.",
        ) from None


def _stream(name: str, identity: str, columns: Columns) -> Iterator[CaptionRow | BadRow]:
    number = 0
    try:
        rows = _builder(name).as_streaming_dataset(split=columns.split)
        with PhotoShards(_photo_folder(identity, columns)) as shards:
            for number, (image, caption) in enumerate(_pairs(name, rows, columns), start=1):
                if isinstance(image, dict):
                    image = shards.add(image["bytes"], image.get("path")) if image.get("bytes") else image.get("path")
                yield checked(image, caption, where=f"{name}, row {number}", folder=Path.cwd(), columns=columns)
    except RamkitError:
        raise
    except Exception as error:  # as above
        raise MissingError(
            f"{name}: cannot be read on after row {number} ({first_line(error)}).",
            cure="Give the same command again: what was parsed is kept.",
        ) from None


def _pairs(name: str, rows: Any, columns: Columns) -> Iterator[tuple[Any, Any]]:
    """(photo, caption) of each row; of webdataset samples, whose columns are endings, as of a shard on disk."""
    import datasets

    features = rows.features or {}
    photos = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    for column in photos:
        rows = rows.cast_column(column, datasets.Image(decode=False))
    if "__key__" not in features or columns.image in features:
        _require_columns(name, rows.column_names or [], columns)
        return ((row[columns.image], row[columns.caption]) for row in rows)
    return ((next((row[ending] for ending in photos if row[ending]), None), _of_sample(row, columns)) for row in rows)


def _photo_folder(identity: str, columns: Columns) -> Path:
    """Where photos that came inside a stream are kept: one place a version of its content."""
    digest = hashlib.sha256(json.dumps([identity, columns.image]).encode()).hexdigest()
    return cache_directory() / "photos" / digest[:24]


def _of_sample(row: dict[str, Any], columns: Columns) -> Any:
    described = row.get("json")
    return described.get(columns.caption) if isinstance(described, dict) else row.get("txt")
