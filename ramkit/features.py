"""Spatial features of frozen image encoders, computed once for each photo and kept on disk.

A cache folder holds shards of photos, each named by what it was made from: encoder weights, preprocessing, and the
photos' own bytes. A changed photo or encoder is computed anew, a moved or renamed photo is not, and an interrupted run
goes on with the first shard that is missing. Photos that cannot be read are left out and listed.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from filelock import FileLock
from PIL import Image
from safetensors import safe_open

from ramkit.errors import InputError
from ramkit.photos import content_digest, read_photo
from ramkit.progress import Track, silent
from ramkit.tensors import write_file

FEATURES = ".features"  # the cache folder in an artefact root
SHARD = 256
_BATCH = 8  # small: what early layers of a convolutional encoder write should stay in the processor's cache
_READERS = 4
_ROWS = "features"
_NAME = "\0"  # stands in a shard for the photo's reference

Prepared = TypeVar("Prepared")
Encode = Callable[[torch.Tensor], torch.Tensor]  # pixels [B, 3, S, S] → features [B, T, V]
Prepare = Callable[[Image.Image, int], torch.Tensor]  # photo, its position in the list → pixels [3, S, S]


@dataclass
class FeatureStore:
    """Features [T, V] of photos, read from disk as they are asked for."""

    shards: list[Path]
    failed: dict[int, str] = field(default_factory=dict)  # position of a photo → why it could not be read
    _open: dict[int, torch.Tensor] = field(default_factory=dict)

    def __getitem__(self, positions: Sequence[int]) -> torch.Tensor:
        """Features [B, T, V] of photos by their positions, as float32."""
        return torch.stack([self._shard(position // SHARD)[position % SHARD] for position in positions]).float()

    def _shard(self, number: int) -> torch.Tensor:
        if number not in self._open:
            self._open[number] = rows_of(self.shards[number])
        return self._open[number]


@dataclass(frozen=True)
class Encoding:
    """An image encoder with its preprocessing."""

    identity: str  # names weights, preprocessing and augmentation; part of every shard's name
    prepare: Prepare  # its second argument is the photo's position, the seed of an augmentation
    encode: Encode


def compute_features(
    folder: Path,
    references: Sequence[str],
    *,
    identity: str,
    prepare: Prepare,
    encode: Encode,
    track: Track = silent,
) -> FeatureStore:
    """Features of all photos, from the cache folder where they are there already; arguments as in `Encoding`."""
    encoding = Encoding(identity, prepare, encode)
    starts = range(0, len(references), SHARD)
    store = FeatureStore([])
    for start in track(starts, total=len(starts), what="image features"):
        chosen = references[start : start + SHARD]
        (path,) = kept_shards(folder, chosen, content_digests(chosen), start, [encoding])
        store.shards.append(path)
        store.failed.update({start + position: why for position, why in failures_of(path, chosen).items()})
    return store


def kept_shards(
    folder: Path, references: Sequence[str], digests: Sequence[str], start: int, encodings: Sequence[Encoding]
) -> list[Path]:
    """The shards of some photos, one an encoding; those that are missing are computed in one pass over the photos.

    Args:
        digests: of the photos, as `content_digests` gives them.
        start: position of the first photo in the whole list.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{shard_key(encoding.identity, start, digests)}.safetensors" for encoding in encodings]
    with FileLock(folder / ".lock"):  # of two runs on the same photos each takes what the other has done
        missing = [(path, encoding) for path, encoding in zip(paths, encodings, strict=True) if not path.exists()]
        made = encoded([encoding for _, encoding in missing], references, start)
        for (path, _), (features, failed) in zip(missing, made, strict=True):
            save_shard(path, features, references, failed)
    return paths


def encoded(
    encodings: Sequence[Encoding], references: Sequence[str], start: int = 0
) -> list[tuple[torch.Tensor, dict[int, str]]]:
    """(features [N, T, V] float16, zeros where a photo cannot be read; position → why) of each encoding."""
    if not encodings:
        return []
    rows: list[torch.Tensor | None] = [None] * len(encodings)
    failed: dict[int, str] = {}

    def prepare(photo: Image.Image, position: int) -> list[torch.Tensor]:
        return [encoding.prepare(photo, position) for encoding in encodings]

    for positions, prepared, bad in _read(references, prepare, start, _BATCH):
        failed.update(bad)
        for number, encoding in enumerate(encodings if prepared else ()):
            with torch.inference_mode():
                batch = encoding.encode(torch.stack([entry[number] for entry in prepared])).half()
            held = rows[number]
            if held is None:
                held = rows[number] = torch.zeros(len(references), *batch.shape[1:], dtype=torch.float16)
            held[positions] = batch
    empty = torch.zeros(len(references), 1, 1, dtype=torch.float16)
    return [(empty if held is None else held, failed) for held in rows]


def save_shard(path: Path, rows: torch.Tensor, references: Sequence[str], failed: Mapping[int, str]) -> None:
    """Write a shard, whole or not at all in name. Why a photo failed is kept without its name: it may move."""
    reasons = {position: why.replace(references[position], _NAME) for position, why in failed.items()}
    unfinished = path.with_suffix(".tmp")
    write_file(unfinished, {_ROWS: rows.contiguous()}, {"failed": json.dumps(reasons)})
    unfinished.replace(path)


def rows_of(path: Path) -> torch.Tensor:
    """What a shard holds, memory-mapped: the operating system keeps what fits."""
    with safe_open(path, framework="pt") as stream:
        rows: torch.Tensor = stream.get_tensor(_ROWS)
    return rows


def failures_of(path: Path, references: Sequence[str]) -> dict[int, str]:
    """Position in the shard → why that photo could not be read."""
    with safe_open(path, framework="pt") as stream:
        failed = json.loads(stream.metadata()["failed"])
    return {int(position): why.replace(_NAME, references[int(position)]) for position, why in failed.items()}


def content_digests(references: Sequence[str]) -> list[str]:
    """Hash of each photo's bytes; of one that is not there, empty."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(content_digest, references))


def shard_key(identity: str, start: int, digests: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([identity, start, list(digests)]).encode()).hexdigest()[:24]


def read_batches(
    references: Sequence[str],
    prepare: Callable[[Image.Image, int], torch.Tensor],
    *,
    start: int = 0,
    size: int = _BATCH,
) -> Iterator[tuple[list[int], torch.Tensor | None, dict[int, str]]]:
    """Batches of (positions read, pixels [B, 3, S, S] or None, position → error), photos decoded in threads."""
    for positions, prepared, bad in _read(references, prepare, start, size):
        yield positions, torch.stack(prepared) if prepared else None, bad


def _read(
    references: Sequence[str], prepare: Callable[[Image.Image, int], Prepared], start: int, size: int
) -> Iterator[tuple[list[int], list[Prepared], dict[int, str]]]:
    """Batches of (positions read, the photos as prepared, position → error)."""

    def load(position: int) -> tuple[Prepared | None, str]:
        try:
            return prepare(read_photo(references[position]), start + position), ""
        except InputError as error:
            return None, str(error)

    with ThreadPoolExecutor(_READERS) as pool:
        for first in range(0, len(references), size):
            positions = range(first, min(first + size, len(references)))
            loaded = list(zip(positions, pool.map(load, positions), strict=True))
            good = [(position, item) for position, (item, _) in loaded if item is not None]
            bad = {position: why for position, (item, why) in loaded if item is None}
            yield [position for position, _ in good], [item for _, item in good], bad
