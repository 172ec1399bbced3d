"""What training sees: crops that follow from seed, photo and variant, drawn by other processes or kept."""

import shutil
from pathlib import Path

import pytest
import torch

from ramkit.fgvc.crops import drawn_crop
from ramkit.fgvc.photo_views import DrawnViews, Views, keep_views
from ramkit.photos import Preprocess, read_photo

EXAMPLES = Path(__file__).parents[2] / "examples" / "photos"
PREPROCESS = Preprocess(16)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Five photos, the third unreadable."""
    folder = tmp_path_factory.mktemp("views")
    (folder / "bad.jpg").write_text("no photo")
    for name in ("cat", "coffee", "rocket", "astronaut"):
        read_photo(str(EXAMPLES / f"{name}.jpg")).resize((60, 40)).save(folder / f"{name}.jpg")
    return [str(folder / f"{name}.jpg") for name in ("cat", "coffee", "bad", "rocket", "astronaut")]


def views(count: int = 0, seed: int = 0) -> Views:
    return Views(PREPROCESS, "resized_crop", 0.8, count, seed)


def test_a_crop_follows_from_seed_photo_and_variant() -> None:
    crops = [views(seed=seed).crop(p, v) for seed in (0, 1) for p in (0, 1, 2) for v in (0, 1)]
    assert len(set(crops)) == len(crops)
    assert views().crop(7, 3) == views().crop(7, 3)
    assert [views(3).variant(epoch) for epoch in range(5)] == [0, 1, 2, 0, 1]
    assert views(0).variant(5) == 5
    assert views().crop(0, 0) == drawn_crop("resized_crop", 0.8, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("workers", [0, 2])
def test_drawn_views_are_the_crops_and_name_what_cannot_be_read(references: list[str], workers: int) -> None:
    source = DrawnViews(references, views(), workers)
    found = list(source.batches([[4, 2], [2], [0, 1, 3]], variant=6))
    assert [positions for positions, _ in found] == [[4], [], [0, 1, 3]]
    assert list(source.failed) == [2]
    assert "bad.jpg: not an image" in source.failed[2]
    for positions, pixels in found:
        for position, made in zip(positions, pixels, strict=True):
            crop = views().crop(position, 6)
            assert torch.equal(made, crop.pixels(read_photo(references[position]), PREPROCESS))


def test_kept_views_are_the_frozen_parts_of_the_same_crops(references: list[str], tmp_path: Path) -> None:
    runs: list[int] = []

    def frozen(pixels: torch.Tensor) -> torch.Tensor:
        runs.append(len(pixels))
        return pixels.mean(dim=(2, 3))

    drawn = DrawnViews(references, views(3), 0)
    for _ in range(2):
        kept = keep_views(tmp_path, references, views(3), frozen, "encoder")
        for variant in range(3):
            wanted, found = (list(source.batches([[3, 2, 0], [1, 4]], variant)) for source in (drawn, kept))
            for (positions, pixels), (same, made) in zip(wanted, found, strict=True):
                assert positions == same
                torch.testing.assert_close(made, pixels.mean(dim=(2, 3)), atol=2e-3, rtol=0)
        assert list(kept.failed) == [2]
    assert sum(runs) == 12, "once"
    keep_views(tmp_path, references, views(3), frozen, "another encoder")
    keep_views(tmp_path, references, views(3, seed=1), frozen, "encoder")
    assert sum(runs) == 36


def test_kept_views_follow_the_photos(references: list[str], tmp_path: Path) -> None:
    copies = [str(shutil.copy(reference, tmp_path / Path(reference).name)) for reference in references]
    runs: list[int] = []

    def frozen(pixels: torch.Tensor) -> torch.Tensor:
        runs.append(len(pixels))
        return pixels.mean(dim=(2, 3))

    keep_views(tmp_path / "kept", copies, views(1), frozen, "encoder")
    shutil.copy(references[1], copies[0])
    kept = keep_views(tmp_path / "kept", copies, views(1), frozen, "encoder")
    ((_, made),) = kept.batches([[0]], 0)
    wanted = views(1).pixels(read_photo(references[1]), 0, 0).mean(dim=(1, 2))
    torch.testing.assert_close(made[0], wanted, atol=2e-3, rtol=0)
