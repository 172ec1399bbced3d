"""Spatial features of a frozen image encoder, computed once for each photo and kept on disk.

A cache folder holds shards of 256 photos, each named by what it was made from (encoder weights, preprocessing, the
photos' references, sizes and times): a changed photo or encoder is computed anew, an interrupted run goes on with
the first shard that is missing. Photos that cannot be read are left out and listed.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from filelock import FileLock
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from ramkit.errors import InputError
from ramkit.photos import read_photo, split_reference
from ramkit.progress import Track, silent

SHARD = 256
_BATCH = 8  # small: what early layers of a convolutional encoder write should stay in the processor's cache
_READERS = 4

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
        if number not in self._open:  # memory-mapped: the operating system keeps what fits
            with safe_open(self.shards[number], framework="pt") as stream:
                self._open[number] = stream.get_tensor("features")
        return self._open[number]


def compute_features(
    folder: Path,
    references: Sequence[str],
    *,
    identity: str,
    prepare: Prepare,
    encode: Encode,
    track: Track = silent,
) -> FeatureStore:
    """Features of all photos, from the cache folder where they are there already.

    Args:
        identity: names encoder weights, preprocessing and augmentation; part of every shard's name.
        prepare: turns a photo (and its position, the seed of an augmentation) into pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(references), SHARD)
    store = FeatureStore([])
    for start in track(starts, total=len(starts), what="image features"):
        chosen = references[start : start + SHARD]
        path = folder / f"{_shard_key(identity, chosen, start)}.safetensors"
        with FileLock(folder / ".lock"):  # of two runs on the same photos each takes what the other has done
            if not path.exists():
                _compute_shard(path, chosen, start, prepare, encode)
        store.shards.append(path)
        store.failed.update(_failures(path, start))
    return store


def read_batches(
    references: Sequence[str], prepare: Prepare, *, start: int = 0, size: int = _BATCH
) -> Iterator[tuple[list[int], torch.Tensor | None, dict[int, str]]]:
    """Batches of (positions read, pixels [B, 3, S, S] or None, position → error), photos decoded in threads."""

    def load(position: int) -> torch.Tensor | str:
        try:
            return prepare(read_photo(references[position]), start + position)
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(_READERS) as pool:
        for first in range(0, len(references), size):
            positions = range(first, min(first + size, len(references)))
            loaded = list(zip(positions, pool.map(load, positions), strict=True))
            good = [(position, item) for position, item in loaded if isinstance(item, torch.Tensor)]
            bad = {position: item for position, item in loaded if isinstance(item, str)}
            pixels = torch.stack([item for _, item in good]) if good else None
            yield [position for position, _ in good], pixels, bad


def _compute_shard(path: Path, references: Sequence[str], start: int, prepare: Prepare, encode: Encode) -> None:
    features: torch.Tensor | None = None
    failed: dict[int, str] = {}
    for positions, pixels, bad in read_batches(references, prepare, start=start):
        failed.update(bad)
        if pixels is None:
            continue
        with torch.inference_mode():
            batch = encode(pixels).half()
        if features is None:
            features = torch.zeros(len(references), *batch.shape[1:], dtype=torch.float16)
        features[positions] = batch
    if features is None:
        features = torch.zeros(len(references), 1, 1, dtype=torch.float16)
    unfinished = path.with_suffix(".tmp")
    save_file({"features": features}, unfinished, metadata={"failed": json.dumps(failed)})
    unfinished.replace(path)


def _failures(path: Path, start: int) -> dict[int, str]:
    with safe_open(path, framework="pt") as stream:
        failed = json.loads(stream.metadata()["failed"])
    return {start + int(position): reason for position, reason in failed.items()}


def _shard_key(identity: str, references: Sequence[str], start: int) -> str:
    content = [identity, start, [(reference, *_stamp(reference)) for reference in references]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


def _stamp(reference: str) -> tuple[int, int]:
    """Size and modification time of the file behind a reference; zeros where there is none."""
    inside = split_reference(reference)
    try:
        status = Path(inside[0] if inside else reference).stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
