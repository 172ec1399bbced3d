"""The images of each training step: cached features of a frozen encoder, or photos, augmented anew each time.

Where a second encoder is distilled from, it has to see the same: its features come from a second cache, or its pixels
are prepared from the same crop.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from PIL import Image
from torch.utils.data import Dataset

from ramkit.errors import InputError
from ramkit.features import FeatureStore
from ramkit.photo_workers import in_workers
from ramkit.photos import Preprocess, read_photo
from ramkit.ram.augmentation import augmentation

_WORKERS = 2


class ImageBatch(NamedTuple):
    """The images of a step, those that could be read; maybe none."""

    positions: list[int]
    images: torch.Tensor  # pixels [B, 3, S, S] or features [B, T, V]
    guide: torch.Tensor | None = None  # for `Distillation.target`: pixels [B, 3, S', S'] or features [B, E]


class ImageSource(Protocol):
    """Gives the images of each step; `failed` grows as photos turn out unreadable."""

    failed: dict[int, str]  # position → why

    def batches(self, positions: Iterable[list[int]], epoch: int) -> Iterator[ImageBatch]:
        """The images of an epoch, or of its rest, batch by batch; positions are taken as they are needed."""
        ...


class CachedFeatures:
    """Spatial features [B, T, V] of a frozen encoder; beside them CLIP's [B, E], where it is distilled from."""

    def __init__(self, store: FeatureStore, guide: FeatureStore | None = None) -> None:
        self.store, self._guide = store, guide
        self.failed = store.failed

    def batches(self, positions: Iterable[list[int]], epoch: int) -> Iterator[ImageBatch]:
        del epoch  # the same every time
        for batch in positions:
            guide = None if self._guide is None else self._guide[batch].squeeze(1)
            yield ImageBatch(batch, self.store[batch], guide)


class AugmentedPhotos:
    """Pixels [B, 3, S, S]: random crop, flip and RandAugment as published, seeded by photo and epoch.

    Args:
        guide: how the same photo is prepared for CLIP, where it is distilled from.
        same_crop: whether CLIP sees the crop that the image encoder sees, or another of the same photo.
    """

    def __init__(
        self,
        references: Sequence[str],
        preprocess: Preprocess,
        seed: int,
        *,
        guide: Preprocess | None = None,
        same_crop: bool = True,
    ) -> None:
        self._references, self._seed = references, seed
        self._view = _View(preprocess, guide, same_crop)
        self.failed: dict[int, str] = {}

    def batches(self, positions: Iterable[list[int]], epoch: int) -> Iterator[ImageBatch]:
        photos = _Photos(self._view, self._seed * 10_007 + epoch)
        asked = ([(position, self._references[position]) for position in batch] for batch in positions)
        for batch in in_workers(photos, asked, _WORKERS):
            self.failed.update({position: item for position, item in batch if isinstance(item, str)})
            good = [(position, item) for position, item in batch if not isinstance(item, str)]
            images, guides = zip(*(item for _, item in good), strict=True) if good else ((), ())
            own, theirs = self._view.preprocess, self._view.guide
            yield ImageBatch(
                [position for position, _ in good],
                _stacked(images, own.size),
                None if theirs is None else _stacked(guides, theirs.size),
            )


def _stacked(images: Sequence[torch.Tensor], size: int) -> torch.Tensor:
    return torch.stack(tuple(images)) if images else torch.empty(0, 3, size, size)


@dataclass(frozen=True)
class _View:
    """What is made of a photo: pixels for the image encoder and, where there is a guide, for CLIP."""

    preprocess: Preprocess
    guide: Preprocess | None
    same_crop: bool

    def __call__(self, photo: Image.Image) -> tuple[torch.Tensor, torch.Tensor | None]:
        crop = augmentation(self.preprocess)(photo)
        pixels = self.preprocess(crop)
        if self.guide is None:
            return pixels, None
        return pixels, self.guide(crop if self.same_crop else augmentation(self.guide)(photo))


class _Photos(Dataset[tuple[int, Any]]):
    """(position, augmented pixels and CLIP's, or the reason why there are none) of (position, reference): the list of
    all photos stays with the process that trains."""

    def __init__(self, view: _View, seed: int) -> None:
        self._view, self._seed = view, seed

    def __getitem__(self, asked: tuple[int, str]) -> tuple[int, tuple[torch.Tensor, torch.Tensor | None] | str]:
        position, reference = asked
        try:
            photo = read_photo(reference)
        except InputError as error:
            return position, str(error)
        torch.manual_seed(self._seed * 1_000_003 + position)
        return position, self._view(photo)
