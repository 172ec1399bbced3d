"""Cached features: computed once for each photo as it is, and never lost to an interruption."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ramkit import features
from ramkit.features import FeatureStore, compute_features, read_batches
from ramkit.photos import Preprocess

prepare = Preprocess(4, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Encoder:
    """Features [B, 2, 3] that tell a photo's colour; counts what it was given."""

    def __init__(self, stop_after: int = 1_000_000) -> None:
        self.seen = 0
        self.stop_after = stop_after

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.seen >= self.stop_after:
            raise KeyboardInterrupt
        self.seen += len(pixels)
        colours = pixels.mean((2, 3))
        return torch.stack([colours, 2 * colours], dim=1)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "SHARD", 4)


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Ten, the n-th of redness n / 10."""
    return [paint(tmp_path / f"{number}.png", number) for number in range(10)]


def paint(path: Path, number: int) -> str:
    Image.new("RGB", (5, 6), (round(number / 10 * 255), 0, 0)).save(path)
    return str(path)


def compute(folder: Path, photos: list[str], encoder: Encoder, identity: str = "one", **given: Any) -> FeatureStore:
    given = {"prepare": lambda photo, _: prepare(photo), **given}
    return compute_features(folder, photos, identity=identity, encode=encoder, **given)


def redness(store: FeatureStore, positions: list[int]) -> list[float]:
    return [round(value, 2) for value in store[positions][:, 0, 0].tolist()]


def test_each_photo_has_its_features_in_any_order(tmp_path: Path, photos: list[str]) -> None:
    store = compute(tmp_path / "cache", photos, Encoder())
    assert store[[7, 0, 9, 7]].shape == (4, 2, 3)
    assert store[[0]].dtype == torch.float32
    assert redness(store, [7, 0, 9, 4, 7]) == [0.7, 0.0, 0.9, 0.4, 0.7]
    torch.testing.assert_close(store[[5]][:, 1], 2 * store[[5]][:, 0], atol=1e-3, rtol=0)
    assert store.failed == {}


def test_what_is_there_is_not_computed_again(tmp_path: Path, photos: list[str]) -> None:
    first, second = Encoder(), Encoder()
    compute(tmp_path / "cache", photos, first)
    store = compute(tmp_path / "cache", photos, second)
    assert (first.seen, second.seen) == (10, 0)
    assert redness(store, [9]) == [0.9]


def test_more_photos_do_not_disturb_whole_shards(tmp_path: Path, photos: list[str]) -> None:
    compute(tmp_path / "cache", photos[:8], Encoder())
    more = Encoder()
    compute(tmp_path / "cache", photos, more)
    assert more.seen == 2


def test_a_changed_photo_is_computed_again_with_its_shard(tmp_path: Path, photos: list[str]) -> None:
    compute(tmp_path / "cache", photos, Encoder())
    before = os.stat(photos[5])
    paint(Path(photos[5]), 1)
    os.utime(photos[5], ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    encoder = Encoder()
    store = compute(tmp_path / "cache", photos, encoder)
    assert encoder.seen == 4
    assert redness(store, [4, 5, 6]) == [0.4, 0.1, 0.6]


def test_another_identity_computes_anew_and_keeps_the_old(tmp_path: Path, photos: list[str]) -> None:
    for identity, expected in (("one", 10), ("two", 10), ("one", 0)):
        encoder = Encoder()
        compute(tmp_path / "cache", photos, encoder, identity)
        assert encoder.seen == expected


def test_photos_that_cannot_be_read_are_listed_and_left_out(tmp_path: Path, photos: list[str]) -> None:
    Path(photos[2]).write_text("no photo")
    for number in (4, 5, 6, 7):  # a whole shard
        Path(photos[number]).unlink()
    for _ in range(2):  # the second time from the cache
        store = compute(tmp_path / "cache", photos, Encoder())
        assert sorted(store.failed) == [2, 4, 5, 6, 7]
        assert photos[2] in store.failed[2]
        assert store.failed[4] == f"{photos[4]}: no such file. Check the path."
        assert redness(store, [1, 3, 8]) == [0.1, 0.3, 0.8]


def test_a_photo_that_turns_up_is_computed(tmp_path: Path, photos: list[str]) -> None:
    Path(photos[9]).unlink()
    compute(tmp_path / "cache", photos, Encoder())
    paint(Path(photos[9]), 9)
    store = compute(tmp_path / "cache", photos, Encoder())
    assert store.failed == {}
    assert redness(store, [9]) == [0.9]


@pytest.mark.parametrize(("stop_after", "left"), [(0, 10), (4, 6), (8, 2)])
def test_an_interrupted_run_goes_on(tmp_path: Path, photos: list[str], stop_after: int, left: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path / "cache", photos, Encoder(stop_after))
    encoder = Encoder()
    store = compute(tmp_path / "cache", photos, encoder)
    assert encoder.seen == left
    assert redness(store, list(range(10))) == [number / 10 for number in range(10)]


def test_two_runs_at_once_share_the_work(tmp_path: Path, photos: list[str]) -> None:
    together, encoders = threading.Barrier(2), [Encoder(), Encoder()]

    def run(encoder: Encoder) -> list[float]:
        together.wait(timeout=10)
        return redness(compute(tmp_path / "cache", photos, encoder), list(range(10)))

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(run, encoders))
    assert found == [[number / 10 for number in range(10)]] * 2
    assert sum(encoder.seen for encoder in encoders) == 10


def test_the_position_of_a_photo_is_told_to_prepare(tmp_path: Path, photos: list[str]) -> None:
    told: dict[int, float] = {}

    def note(photo: Image.Image, position: int) -> torch.Tensor:
        told[position] = photo.getpixel((0, 0))[0] / 255
        return prepare(photo)

    compute(tmp_path / "cache", photos, Encoder(), prepare=note)
    assert {position: round(red, 1) for position, red in told.items()} == {n: n / 10 for n in range(10)}


def test_batches_name_what_was_read_and_what_was_not(photos: list[str]) -> None:
    for number in (3, 4, 5):
        Path(photos[number]).unlink()
    found = list(read_batches(photos, lambda photo, _: prepare(photo), size=2))
    assert [positions for positions, _, _ in found] == [[0, 1], [2], [], [6, 7], [8, 9]]
    assert [None if pixels is None else len(pixels) for _, pixels, _ in found] == [2, 1, None, 2, 2]
    assert [sorted(bad) for _, _, bad in found] == [[], [3], [4, 5], [], []]
    assert list(read_batches([], lambda photo, _: prepare(photo))) == []
