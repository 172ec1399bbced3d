"""Photos augmented anew each epoch, the same in every run; unreadable ones told."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from ramkit.photos import Preprocess
from ramkit.ram.photo_batches import AugmentedPhotos, ImageBatch, augmentation

SIZE = 16
PREPROCESS = Preprocess(SIZE)
BATCHES = [[2, 0], [1, 3]]


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    names = []
    for number in range(4):
        noise = torch.randint(256, (20, 30, 3), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(tmp_path / f"{number}.png")
        names.append(str(tmp_path / f"{number}.png"))
    return names


def taken(source: AugmentedPhotos, epoch: int, skip: int = 0) -> list[ImageBatch]:
    return list(source.batches(iter(BATCHES[skip:]), epoch))


def test_a_photo_and_epoch_always_give_the_same_crop(photos: list[str]) -> None:
    source = AugmentedPhotos(photos, PREPROCESS, seed=5)
    first = taken(source, 0)
    assert [batch.positions for batch in first] == BATCHES
    assert first[0].images.shape == (2, 3, SIZE, SIZE)
    again = taken(AugmentedPhotos(photos, PREPROCESS, seed=5), 0)
    assert all(torch.equal(one, other) for (_, one, _), (_, other, _) in zip(first, again, strict=True))
    ((_, second, _),) = taken(source, 0, skip=1)
    assert torch.equal(second, first[1].images)
    for other in (taken(source, 1), taken(AugmentedPhotos(photos, PREPROCESS, seed=6), 0)):
        assert not torch.equal(other[0].images, first[0].images)


def test_this_process_which_has_threads_is_not_forked(photos: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    assert [batch.positions for batch in taken(AugmentedPhotos(photos, PREPROCESS, seed=5), 0)] == BATCHES


def test_unreadable_photos_are_told_and_a_batch_of_them_is_empty(photos: list[str]) -> None:
    for number in (1, 2, 3):
        Path(photos[number]).write_text("no photo")
    source = AugmentedPhotos(photos, PREPROCESS, seed=0)
    found = taken(source, 0)
    assert [batch.positions for batch in found] == [[0], []]
    assert [len(batch.images) for batch in found] == [1, 0]
    assert sorted(source.failed) == [1, 2, 3]
    assert photos[1] in source.failed[1]


def test_augmentation_crops_flips_and_recolours_to_the_input_size() -> None:
    change = augmentation(PREPROCESS)
    photo = Image.new("RGB", (40, 10), (200, 30, 90))
    torch.manual_seed(0)
    changed = [change(photo) for _ in range(20)]
    assert {found.size for found in changed} == {(SIZE, SIZE)}
    assert len({found.tobytes() for found in changed}) > 5
    names = [type(part).__name__ for part in change.transforms]
    assert names == ["RandomResizedCrop", "RandomHorizontalFlip", "RandAugment"]
    assert tuple(change.transforms[0].scale) == (0.2, 1.0)
    assert (change.transforms[2].num_ops, change.transforms[2].magnitude) == (2, 5)
