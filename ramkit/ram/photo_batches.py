"""The images of each training step: cached features of a frozen encoder, or photos, augmented anew each time."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from ramkit.errors import InputError
from ramkit.features import FeatureStore
from ramkit.photos import Preprocess, read_photo

_WORKERS = 2


class ImageSource(Protocol):
    """Gives the images of each step; `failed` grows as photos turn out unreadable."""

    failed: dict[int, str]  # position → why

    def batches(
        self, positions: Sequence[list[int]], epoch: int, *, skip: int = 0
    ) -> Iterator[tuple[list[int], torch.Tensor]]:
        """(positions that could be read, maybe none; images [B, …]) of an epoch's batches, without the first `skip`."""
        ...


class CachedFeatures:
    """Spatial features [B, T, V] of a frozen encoder."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.failed = store.failed

    def batches(
        self, positions: Sequence[list[int]], epoch: int, *, skip: int = 0
    ) -> Iterator[tuple[list[int], torch.Tensor]]:
        del epoch  # the same every time
        for batch in positions[skip:]:
            yield batch, self.store[batch]


class AugmentedPhotos:
    """Pixels [B, 3, S, S]: random crop, flip and RandAugment as published, seeded by photo and epoch."""

    def __init__(self, references: Sequence[str], preprocess: Preprocess, seed: int) -> None:
        self._references, self._preprocess, self._seed = references, preprocess, seed
        self.failed: dict[int, str] = {}

    def batches(
        self, positions: Sequence[list[int]], epoch: int, *, skip: int = 0
    ) -> Iterator[tuple[list[int], torch.Tensor]]:
        photos = _Photos(self._references, self._preprocess, self._seed * 10_007 + epoch)
        loader: DataLoader[Any] = DataLoader(
            photos, batch_sampler=positions[skip:], num_workers=_WORKERS, collate_fn=list
        )
        for batch in loader:
            self.failed.update({position: item for position, item in batch if isinstance(item, str)})
            good = [(position, item) for position, item in batch if isinstance(item, torch.Tensor)]
            images = torch.stack([item for _, item in good]) if good else torch.empty(0)
            yield [position for position, _ in good], images


class _Photos(Dataset[tuple[int, torch.Tensor | str]]):
    """(position, augmented pixels or the reason why there are none)."""

    def __init__(self, references: Sequence[str], preprocess: Preprocess, seed: int) -> None:
        self._references, self._preprocess, self._seed = references, preprocess, seed

    def __getitem__(self, position: int) -> tuple[int, torch.Tensor | str]:
        try:
            photo = read_photo(self._references[position])
        except InputError as error:
            return position, str(error)
        torch.manual_seed(self._seed * 1_000_003 + position)
        return position, self._preprocess(augmentation(self._preprocess)(photo))


def augmentation(preprocess: Preprocess) -> Any:
    """RandomResizedCrop(0.2–1), horizontal flip, RandAugment(2, 5): photo → photo of the input size."""
    from torchvision.transforms import v2

    mode = v2.InterpolationMode(preprocess.interpolation)
    size = (preprocess.size, preprocess.size)
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.2, 1.0), interpolation=mode),
            v2.RandomHorizontalFlip(),
            v2.RandAugment(num_ops=2, magnitude=5),
        ]
    )
