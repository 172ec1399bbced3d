"""Captions and the photos they belong to, from whatever holds them: one row a photo, in the order of the source.

| source                  | image                                         | caption                                  |
|-------------------------|-----------------------------------------------|------------------------------------------|
| `shard.tar`             | the sample's photo, as `shard.tar::member`    | key of its `.json`, or its `.txt`        |
| `.jsonl` `.ndjson`, `-` | key; a relative path starts at the file       | key: a text or a list of texts           |
| `.csv` `.tsv`           | column                                        | column                                   |
| `.parquet`              | column                                        | column: texts or lists of texts          |
| hub dataset id          | column: a path, a URL, or the photo itself    | column: texts or lists of texts          |

Rows of one photo that follow one another are merged. A row that cannot be used never stops a run: it comes out as a
`BadRow` that says where and why.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramkit.errors import InputError, MissingError
from ramkit.files import cache_directory, sha256_of, write_whole
from ramkit.photo_shards import PhotoShards

STDIN = "-"
_JSON_LINES = frozenset({".jsonl", ".ndjson", ".json"})
_TABLES = {".csv": ",", ".tsv": "\t"}
_KNOWN = "Known: .tar, .jsonl, .csv, .tsv, .parquet, `-` for JSON Lines on standard input, or a hub dataset id."
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
    inside = sorted(str(entry) for entry in path.iterdir() if _kind_of(entry) and not entry.name.startswith("."))
    if not inside:
        raise InputError(f"{path}: no captions in this folder.", cure=_KNOWN)
    return inside


def _kind_of(path: Path) -> str:
    suffix = path.suffix.lower()
    return suffix if suffix in {".tar", ".parquet", *_JSON_LINES, *_TABLES} else ""


def _open(name: str, columns: Columns) -> Source:
    if name == STDIN:
        path = _spooled(sys.stdin.buffer)
        return Source("standard input", sha256_of(path), lambda: merged(_json_lines(path, columns, Path.cwd())))
    path = Path(name)
    if not path.exists():
        if _looks_like_hub_id(name):
            return _hub_source(name, columns)
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


def _json_lines(path: Path, columns: Columns, folder: Path) -> Iterator[CaptionRow | BadRow]:
    with path.open("rb") as stream:
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
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        reader = csv.DictReader(_without_nul(stream), delimiter=_TABLES[path.suffix.lower()])
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
            yield checked(row.get(columns.image), row.get(columns.caption), where=where, folder=folder, columns=columns)


def _without_nul(lines: Iterable[str]) -> Iterator[str]:
    return (line.replace("\0", "") for line in lines)


def _parquet(path: Path, columns: Columns, folder: Path) -> Iterator[CaptionRow | BadRow]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({error}).", cure="Copy it anew.") from None
    _require_columns(path, file.schema_arrow.names, columns)
    number = 0
    for batch in file.iter_batches(batch_size=4096, columns=[columns.image, columns.caption]):
        images, captions = (batch.column(name).to_pylist() for name in (columns.image, columns.caption))
        for image, caption in zip(images, captions, strict=True):
            number += 1
            where = f"{path.name}, row {number}"
            if isinstance(image, dict):  # the layout `datasets` gives photos: {"bytes", "path"}
                image = image.get("path")
            yield checked(image, caption, where=where, folder=folder, columns=columns)


def _require_columns(path: Path | str, present: Sequence[str], columns: Columns) -> None:
    missing = [name for name in (columns.image, columns.caption) if name not in present]
    if missing:
        raise InputError(
            f"{path}: no column {' and no '.join(map(repr, missing))}; it has {', '.join(map(repr, present))}.",
            cure="Name them: --image-field NAME --caption-field NAME",
        )


def _shard(path: Path, columns: Columns, folder: Path) -> Iterator[CaptionRow | BadRow]:
    from ramkit import photos

    del folder
    members = photos.shard_index(str(path))
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
            found = _sample_caption(photos.read_member(str(path), text), text, columns)
            if isinstance(found, BadRow):
                yield BadRow(where, found.why)
            else:
                reference = f"{path}{photos.MEMBER}{image}"
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


def _spooled(stream: Any) -> Path:
    """Standard input as a file, since it is read more than once."""
    folder = cache_directory() / "stdin"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "captions.jsonl"
    write_whole(path, stream.read())
    return path


def _looks_like_hub_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and all(parts) and not name.startswith((".", "~")) and Path(name).suffix.lower() not in (
        {".tar", ".parquet", ".txt", *_JSON_LINES, *_TABLES}
    )  # fmt: skip


def _hub_source(name: str, columns: Columns) -> Source:
    return Source(name, f"hub {name} {columns.split}", lambda: merged(_hub_rows(name, columns)))


def _hub_rows(name: str, columns: Columns) -> Iterator[CaptionRow | BadRow]:
    import datasets

    try:
        dataset = datasets.load_dataset(name, split=columns.split, streaming=True)
    except (OSError, ValueError, RuntimeError) as error:
        message = (str(error) or type(error).__name__).splitlines()[0]
        raise MissingError(
            f"{name}: no file of this name, and no dataset that the hub gives ({message}).",
            cure="Check the name and the connection.",
        ) from None
    _require_columns(name, dataset.column_names or [], columns)
    if isinstance((dataset.features or {}).get(columns.image), datasets.Image):
        dataset = dataset.cast_column(columns.image, datasets.Image(decode=False))
    folder = cache_directory() / "photos" / name.replace("/", "--") / columns.split
    with PhotoShards(folder) as shards:
        for number, row in enumerate(dataset, start=1):
            image, where = row.get(columns.image), f"{name}, row {number}"
            if isinstance(image, dict):
                image = shards.add(image["bytes"], image.get("path")) if image.get("bytes") else image.get("path")
            yield checked(image, row.get(columns.caption), where=where, folder=Path.cwd(), columns=columns)
