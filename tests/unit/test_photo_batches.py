"""Photos augmented anew each epoch, the same in every run; unreadable ones told."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from ramkit.photos import Preprocess
from ramkit.ram.photo_batches import AugmentedPhotos, ImageBatch

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


def test_clip_sees_the_same_crop_or_another_as_it_was_trained_to(photos: list[str]) -> None:
    clip = Preprocess(8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), interpolation="bicubic")
    plain = taken(AugmentedPhotos(photos, PREPROCESS, seed=5), 0)
    same = taken(AugmentedPhotos(photos, PREPROCESS, seed=5, guide=clip), 0)
    other = taken(AugmentedPhotos(photos, PREPROCESS, seed=5, guide=clip, same_crop=False), 0)
    for one, two, three in zip(plain, same, other, strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.images, three.images), "what CLIP sees changes nothing of what the encoder sees"
        assert one.guide is None
        assert two.guide is not None
        assert three.guide is not None
        assert two.guide.shape == three.guide.shape == (2, 3, 8, 8)
        for pixels, seen, elsewhere in zip(one.images, two.guide, three.guide, strict=True):
            mean, std = (torch.tensor(values)[:, None, None] for values in (PREPROCESS.mean, PREPROCESS.std))
            crop = Image.fromarray(((pixels * std + mean) * 255).round().byte().permute(1, 2, 0).numpy())
            torch.testing.assert_close(seen, clip(crop))
            assert not torch.equal(seen, elsewhere)


def test_a_batch_without_a_photo_has_nothing_for_clip_either(photos: list[str]) -> None:
    for photo in photos:
        Path(photo).unlink()
    found = taken(AugmentedPhotos(photos, PREPROCESS, seed=0, guide=Preprocess(8)), 0)
    assert found[0].images.shape == (0, 3, SIZE, SIZE)
    assert found[0].guide is not None
    assert found[0].guide.shape == (0, 3, 8, 8)


KILLED = """
import multiprocessing, os, signal, sys
from ramkit.photos import Preprocess
from ramkit.ram.photo_batches import AugmentedPhotos

if __name__ == "__main__":
    source = AugmentedPhotos(sys.argv[1:] * 50, Preprocess(32), 0)
    for batch in source.batches([[number] for number in range(50)], 0):
        print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_do_not_outlive_a_training_that_is_killed(photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    done = subprocess.run([sys.executable, tmp_path / "killed.py", photos[0]], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    workers = [int(number) for number in done.stdout.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "workers stay"
        time.sleep(0.1)
