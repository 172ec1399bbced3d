"""What training sees of its photos: random crops, drawn anew each epoch, or a few of each, drawn once and kept.

Kept ones need the frozen part of the image encoder only once. Which crop is drawn follows from seed, photo and variant
alone, so that a run that goes on from a checkpoint sees what it would have seen.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from torch.utils.data import Dataset

from ramkit.errors import InputError
from ramkit.features import FeatureStore, compute_features
from ramkit.fgvc.crops import Augmentation, Crop, drawn_crop
from ramkit.photo_workers import in_workers
from ramkit.photos import Preprocess, read_photo
from ramkit.progress import Track, silent


@dataclass(frozen=True)
class Views:
    """How crops are drawn; `count` variants of each photo, 0 for a new one each epoch."""

    preprocess: Preprocess
    augmentation: Augmentation
    share: float
    count: int
    seed: int

    def variant(self, epoch: int) -> int:
        return epoch % self.count if self.count else epoch

    def crop(self, position: int, variant: int) -> Crop:
        """The variant of the photo at a position."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + position) * 10_007 + variant)
        return drawn_crop(self.augmentation, self.share, generator)

    def pixels(self, photo: Image.Image, position: int, variant: int) -> torch.Tensor:
        return self.crop(position, variant).pixels(photo, self.preprocess)


class ViewSource(Protocol):
    """Gives what the image encoder is fed in each step; `failed` grows as photos turn out unreadable."""

    failed: dict[int, str]  # position → why
    frozen_done: bool  # whether the encoder's frozen part has run already

    def batches(self, positions: Sequence[list[int]], variant: int) -> Iterator[tuple[list[int], torch.Tensor]]:
        """(positions that could be read, maybe none; inputs [B, …]) of each batch."""
        ...


class DrawnViews:
    """Pixels [B, 3, S, S], decoded by processes of their own."""

    frozen_done = False

    def __init__(self, references: Sequence[str], views: Views, workers: int) -> None:
        self._references, self._views, self._workers = references, views, workers
        self.failed: dict[int, str] = {}

    def batches(self, positions: Sequence[list[int]], variant: int) -> Iterator[tuple[list[int], torch.Tensor]]:
        photos = _Photos(self._references, self._views, variant)
        for batch in in_workers(photos, positions, self._workers):
            self.failed.update({position: item for position, item in batch if isinstance(item, str)})
            good = [(position, item) for position, item in batch if isinstance(item, torch.Tensor)]
            pixels = torch.stack([item for _, item in good]) if good else torch.empty(0)
            yield [position for position, _ in good], pixels


class KeptViews:
    """What the encoder's frozen part gives, of every variant of every photo."""

    frozen_done = True

    def __init__(self, store: FeatureStore, photos: int) -> None:
        self._store, self._photos = store, photos
        self.failed = {position % photos: reason for position, reason in store.failed.items()}

    def batches(self, positions: Sequence[list[int]], variant: int) -> Iterator[tuple[list[int], torch.Tensor]]:
        for batch in positions:
            good = [position for position in batch if position not in self.failed]
            yield (
                good,
                self._store[[variant * self._photos + position for position in good]] if good else torch.empty(0),
            )


class _Photos(Dataset[tuple[int, torch.Tensor | str]]):
    """(position, pixels of a variant or the reason why there are none)."""

    def __init__(self, references: Sequence[str], views: Views, variant: int) -> None:
        self._references, self._views, self._variant = references, views, variant

    def __getitem__(self, position: int) -> tuple[int, torch.Tensor | str]:
        try:
            photo = read_photo(self._references[position])
        except InputError as error:
            return position, str(error)
        return position, self._views.pixels(photo, position, self._variant)


def keep_views(
    folder: Path,
    references: Sequence[str],
    views: Views,
    frozen: Callable[[torch.Tensor], torch.Tensor],
    identity: str,
    track: Track = silent,
) -> KeptViews:
    """Run the frozen part over every variant of every photo, or read from the cache folder what it gave before.

    Args:
        frozen: pixels [B, 3, S, S] → what is kept of them.
        identity: names the frozen part.
    """
    photos = len(references)
    store = compute_features(
        folder,
        list(references) * views.count,
        identity=f"{identity} {views} {photos} photos",
        prepare=lambda photo, number: views.pixels(photo, number % photos, number // photos),
        encode=frozen,
        track=track,
    )
    return KeptViews(store, photos)
