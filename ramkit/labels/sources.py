"""Which reader a source of labels needs."""

import re
from collections.abc import Sequence
from pathlib import Path

from ramkit.errors import InputError
from ramkit.labels import labelled
from ramkit.labels.coco import read_coco
from ramkit.labels.folders import read_folders
from ramkit.labels.hub import is_dataset, read_dataset
from ramkit.labels.images import ImageFinder
from ramkit.labels.labelled import LabelColumns, LabelledSet
from ramkit.labels.rows import read_json_lines, read_table
from ramkit.labels.shards import read_shard
from ramkit.labels.voc import is_voc, read_voc

_KNOWN = (
    "Known: .tar, .jsonl, .csv, .tsv, COCO's .json, a Pascal VOC folder, a folder of class folders, .parquet, or a"
    " datasets id."
)


def read_labels(
    sources: Sequence[str], columns: LabelColumns | None = None, *, images: Sequence[str] = ()
) -> LabelledSet:
    """All photos of the sources, one source after another, each photo once.

    Args:
        images: folders and shards with the photos that annotations name; none means beside the annotations.

    Raises:
        InputError: a source that is missing or of another kind, a row that cannot be used, or no photo at all.
    """
    found = labelled.united(labelled.joined([_read(source, columns or LabelColumns(), images) for source in sources]))
    if not found.photos:
        raise InputError(f"{', '.join(sources)}: no photo with labels.", cure="Check the source.")
    return found


def read_names(path: Path) -> list[str]:
    """Names from a file, one a line.

    Raises:
        InputError: not readable, or no name.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as a list of names ({error}).", cure="One name a line.") from None
    names = [" ".join(line.split()) for line in lines if line.strip()]
    if not names:
        raise InputError(f"{path}: holds no name.", cure="One name a line.")
    return names


def _read(source: str, columns: LabelColumns, images: Sequence[str]) -> LabelledSet:
    path = Path(source)
    if path.is_dir():
        return _read_folder(path, columns, images)
    finder = ImageFinder(images, path.parent)
    if not path.is_file():
        if _looks_like_hub_id(source):
            return read_dataset(source, columns, finder)
        raise InputError(f"{source}: no such file.", cure=_KNOWN)
    kind = path.suffix.lower()
    if kind == ".tar":
        return read_shard(source, columns)
    if kind in (".jsonl", ".ndjson"):
        return read_json_lines(path, columns, finder)
    if kind in (".csv", ".tsv"):
        return read_table(path, columns, finder)
    if kind == ".json":
        return read_coco(path, finder)
    if kind == ".parquet":
        return read_dataset(source, columns, finder)
    raise InputError(f"{source}: of a kind that evaluate does not read.", cure=_KNOWN)


def _read_folder(folder: Path, columns: LabelColumns, images: Sequence[str]) -> LabelledSet:
    finder = ImageFinder(images, folder)
    if is_voc(folder):
        return read_voc(folder, columns.split, finder)
    if is_dataset(folder):
        return read_dataset(str(folder), columns, finder)
    return read_folders(folder)


def _looks_like_hub_id(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w-][\w.-]*", name) is not None and not Path(name).suffix
