"""Scores of several models in one pass: nothing computed twice, nothing lost to an interruption."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ramkit.features import Encoding, content_digests
from ramkit.measuring import scoring
from ramkit.measuring.scoring import score_photos
from ramkit.photos import Preprocess
from ramkit.tensors import write_file

prepare = Preprocess(4, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Counting:
    """Logits [B, 2]: a photo's redness, times a factor, and its blueness; counts the photos it is given."""

    def __init__(self, encoder: str = "e", factor: float = 1.0, stop_after: int = 1_000) -> None:
        self.identity = f"{encoder} {factor}"
        self.factor, self.stop_after = factor, stop_after
        self.read = self.encoded = self.scored = 0
        self.encoding = Encoding(encoder, lambda photo, _: self._prepare(photo), self._encode)

    def _prepare(self, photo: Image.Image) -> torch.Tensor:
        self.read += 1
        return prepare(photo)

    def _encode(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.encoded >= self.stop_after:
            raise KeyboardInterrupt
        self.encoded += len(pixels)
        return pixels.mean((2, 3)).unsqueeze(1)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        self.scored += len(features)
        return torch.stack([self.factor * features[:, 0, 0], features[:, 0, 2]], dim=1)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "SHARD", 4)


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Ten, the n-th of redness n / 10."""
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(paths):
        Image.new("RGB", (5, 6), (round(number / 10 * 255), 0, 51)).save(path)
    return list(map(str, paths))


def test_each_model_scores_each_photo_in_order(tmp_path: Path, photos: list[str]) -> None:
    (one, other), failed = score_photos(tmp_path / "c", photos, [Counting(), Counting("f", 2.0)])
    np.testing.assert_allclose(one, [[number / 10, 0.2] for number in range(10)], atol=2e-3)
    np.testing.assert_allclose(other[:, 0], 2 * one[:, 0], atol=1e-3)
    assert (one.dtype, failed) == (np.float32, {})


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_there_is_not_computed_again(tmp_path: Path, photos: list[str], keep: bool) -> None:
    first, again, other_head, other_encoder = Counting(), Counting(), Counting("e", 3.0), Counting("f")
    for scorer in (first, again, other_head, other_encoder):
        score_photos(tmp_path / "c", photos, [scorer], keep_features=keep)
    assert [(scorer.encoded, scorer.scored) for scorer in (first, again, other_head, other_encoder)] == [
        (10, 10), (0, 0), (0 if keep else 10, 10), (10, 10)
    ]  # fmt: skip
    assert bool(list((tmp_path / "c").glob("[!l]*.safetensors"))) == keep


def test_models_with_one_encoder_share_its_features_and_all_share_the_photos(
    tmp_path: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr("ramkit.features.read_photo", lambda path: read.append(path) or Image.open(path))
    scorers = [Counting(), Counting("e", 2.0), Counting("f")]
    score_photos(tmp_path / "c", photos, scorers)
    assert [scorer.encoded for scorer in scorers] in ([10, 0, 10], [0, 10, 10])
    assert sorted(read) == photos, "each photo is decoded once"


def test_moved_photos_are_known_by_their_content(tmp_path: Path, photos: list[str]) -> None:
    score_photos(tmp_path / "c", photos, [Counting()])
    moved = [shutil.copy(photo, tmp_path / f"other-{Path(photo).name}") for photo in photos]
    scorer = Counting()
    score_photos(tmp_path / "c", list(map(str, moved)), [scorer])
    assert scorer.encoded == 0
    Image.new("RGB", (5, 6), (255, 0, 51)).save(moved[5])
    (found,), _ = score_photos(tmp_path / "c", list(map(str, moved)), [scorer])
    assert scorer.encoded == 4, "the shard of the changed photo"
    assert found[5, 0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("stop_after", [0, 4, 8])
def test_an_interrupted_run_goes_on(tmp_path: Path, photos: list[str], stop_after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        score_photos(tmp_path / "c", photos, [Counting(stop_after=stop_after)])
    scorer = Counting()
    (found,), _ = score_photos(tmp_path / "c", photos, [scorer])
    assert scorer.encoded == 10 - stop_after
    np.testing.assert_allclose(found[:, 0], np.arange(10) / 10, atol=2e-3)


def test_a_kill_in_the_middle_of_a_write_loses_that_shard_alone(
    tmp_path: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def killed(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        written.append(path)
        if len(written) == 4:  # features and logits of the first shard, features of the second
            path.write_bytes(b"half a fi")
            raise KeyboardInterrupt
        write_file(path, tensors, metadata)

    monkeypatch.setattr("ramkit.features.write_file", killed)
    with pytest.raises(KeyboardInterrupt):
        score_photos(tmp_path / "c", photos, [Counting()])
    scorer = Counting()
    (found,), _ = score_photos(tmp_path / "c", photos, [scorer])
    assert (scorer.encoded, scorer.scored) == (2, 6)
    np.testing.assert_allclose(found[:, 0], np.arange(10) / 10, atol=2e-3)


@pytest.mark.parametrize("keep", [True, False])
def test_photos_that_cannot_be_read_are_told_by_their_present_names(
    tmp_path: Path, photos: list[str], keep: bool
) -> None:
    Path(photos[2]).write_text("no photo")
    for number in (4, 5, 6, 7):  # a whole shard
        Path(photos[number]).unlink()
    renamed = [*photos[:2], str(tmp_path / "renamed.png"), *photos[3:]]
    shutil.copy(photos[2], renamed[2])
    for names in (photos, renamed):
        (found,), failed = score_photos(tmp_path / "c", names, [Counting()], keep_features=keep)
        assert sorted(failed) == [2, 4, 5, 6, 7]
        assert failed[2].startswith(f"{names[2]}: not an image")
        assert failed[4] == f"{names[4]}: no such file. Check the path."
        np.testing.assert_allclose(found[[0, 1, 3, 8, 9], 0], [0, 0.1, 0.3, 0.8, 0.9], atol=2e-3)
        assert found.shape == (10, 2)


def test_the_digest_is_of_the_bytes(tmp_path: Path, photos: list[str]) -> None:
    shutil.copy(photos[1], tmp_path / "copy.png")
    one, same, other, gone = content_digests([photos[1], str(tmp_path / "copy.png"), photos[2], "/gone.png"])
    assert one == same != other
    assert gone == ""
