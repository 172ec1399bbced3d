"""Crops of photos: where they lie, and that they lie where they are said to."""

import numpy as np
import pytest
import torch
from PIL import Image

from ramkit.fgvc.crops import Crop, drawn_crop, middle_crop
from ramkit.photos import Preprocess

PREPROCESS = Preprocess(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear")


def photo(width: int = 40, height: int = 20) -> Image.Image:
    """Red grows to the right, green downwards."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, np.zeros_like(down)], axis=-1).round().astype(np.uint8))


def test_the_whole_photo_is_what_preparing_it_gives() -> None:
    assert torch.equal(middle_crop(1.0).pixels(photo(), PREPROCESS), PREPROCESS(photo()))
    assert torch.equal(Crop(0, 0, 1, 1, flip=True).pixels(photo(), PREPROCESS), PREPROCESS(photo()).flip(-1))


def test_the_middle_is_that_of_the_resized_square() -> None:
    large = Preprocess(16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear")(photo(64, 32))
    wanted = large[:, 4:12, 4:12]
    torch.testing.assert_close(middle_crop(0.5).pixels(photo(64, 32), PREPROCESS), wanted, atol=0.01, rtol=0)


@pytest.mark.parametrize("kind", ["crop", "resized_crop"])
def test_drawn_crops_lie_inside_and_everywhere(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    crops = [drawn_crop(kind, 0.75, generator) for _ in range(300)]  # type: ignore[arg-type]
    assert all(0 <= crop.left < crop.right <= 1 and 0 <= crop.top < crop.bottom <= 1 for crop in crops)
    assert 100 < sum(crop.flip for crop in crops) < 200
    assert min(crop.left for crop in crops) < 0.02
    assert max(crop.right for crop in crops) > 0.98
    areas = [(crop.right - crop.left) * (crop.bottom - crop.top) for crop in crops]
    if kind == "crop":
        assert areas == pytest.approx([0.75**2] * 300)
    else:
        assert 0.39 < min(areas) < 0.5
        assert 0.8 < max(areas) <= 1.0
        shapes = [(crop.right - crop.left) / (crop.bottom - crop.top) for crop in crops]
        assert 0.74 < min(shapes) < 0.85 < 1.2 < max(shapes) < 1.34


def test_without_augmentation_it_is_the_middle() -> None:
    assert drawn_crop("none", 0.75, torch.Generator()) == middle_crop(0.75)


@pytest.mark.parametrize("flip", [False, True])
def test_a_cell_lies_where_its_pixels_come_from(flip: bool) -> None:
    """The mean colour of a cell of the prepared crop is that of the box in the photo that is told for it."""
    crop = Crop(0.1, 0.2, 0.8, 0.9, flip)
    source = photo(400, 200)
    prepared = crop.pixels(source, PREPROCESS)
    for number in range(16):
        row, column = divmod(number, 4)
        cell = prepared[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean(dim=(1, 2))
        left, top, right, bottom = crop.cell(number, 4, 400, 200)
        box = np.asarray(source.crop((round(left), round(top), round(right), round(bottom)))) / 255
        assert cell.tolist() == pytest.approx(box.mean(axis=(0, 1)).tolist(), abs=0.02)
        assert right - left == pytest.approx(0.7 * 400 / 4)
        assert bottom - top == pytest.approx(0.7 * 200 / 4)
