"""Photos with human labels, from webdataset shards or JSON Lines: which names are true of each."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramkit.errors import InputError
from ramkit.files import read_rows
from ramkit.photos import MEMBER, SUFFIXES, read_member, shard_index


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo's reference and the names that are true of it, maybe none."""

    image: str
    labels: list[str]


def read_labels(sources: Sequence[str], *, image_field: str, labels_field: str) -> list[LabelledPhoto]:
    """All photos of the sources, `.tar` shards (labels in each sample's .json) or `.jsonl` files.

    Raises:
        InputError: a source that is missing or of another kind, a row without labels, or no photo at all.
    """
    found: list[LabelledPhoto] = []
    for source in sources:
        path = Path(source)
        if not path.is_file():
            raise InputError(f"{source}: no such file.", cure="Name a .tar shard or a .jsonl file with labels.")
        if path.suffix.lower() == ".tar":
            found.extend(_of_shard(source, labels_field))
        elif path.suffix.lower() == ".jsonl":
            found.extend(_of_rows(path, image_field, labels_field))
        else:
            raise InputError(f"{source}: of a kind that evaluate does not read.", cure="Give .tar or .jsonl.")
    if not found:
        raise InputError(f"{', '.join(sources)}: no photo with labels.", cure="Check the source.")
    return found


def _of_shard(shard: str, labels_field: str) -> Iterator[LabelledPhoto]:
    index = shard_index(shard)
    for name in index:
        stem, _, _ = name.rpartition(".")
        if Path(name).suffix.lower() in SUFFIXES and f"{stem}.json" in index:
            try:
                row = json.loads(read_member(shard, f"{stem}.json"))
            except ValueError as error:
                raise InputError(f"{shard}{MEMBER}{stem}.json: not JSON ({error}).", cure="Mend it.") from None
            yield LabelledPhoto(f"{shard}{MEMBER}{name}", _labels(row, labels_field, f"{shard}{MEMBER}{stem}.json"))


def _of_rows(path: Path, image_field: str, labels_field: str) -> Iterator[LabelledPhoto]:
    for number, row in enumerate(read_rows(path), start=1):
        image = row.get(image_field)
        if not isinstance(image, str) or not image:
            raise InputError(f"{path}, row {number}: no {image_field!r}.", cure="Name the key: --image-field")
        yield LabelledPhoto(str(path.parent / image), _labels(row, labels_field, f"{path}, row {number}"))


def _labels(row: Any, field: str, where: str) -> list[str]:
    labels = row.get(field) if isinstance(row, dict) else None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{where}: {field!r} is no list of names.", cure="Name the key: --labels-field")
    return labels
