"""The published augmentation: which operations, how often and how far."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ramkit.photos import Preprocess
from ramkit.ram import augmentation as room
from ramkit.ram.augmentation import OPERATIONS, augmentation, change, rand_augment

SIZE = 16


def noise(width: int = 40, height: int = 40) -> Image.Image:
    values = torch.randint(60, 200, (height, width, 3), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    return Image.fromarray(values.numpy())


def test_photos_are_cropped_flipped_and_changed_to_the_input_size() -> None:
    made = augmentation(Preprocess(SIZE))
    torch.manual_seed(0)
    found = [made(Image.new("RGB", (40, 10), (200, 30, 90)).rotate(3)) for _ in range(20)]
    assert {photo.size for photo in found} == {(SIZE, SIZE)}
    assert len({photo.tobytes() for photo in found}) > 5
    crop, flip, last = made.transforms
    assert tuple(crop.scale) == (0.2, 1.0)
    assert flip.p == 0.5
    assert last is rand_augment


def test_two_operations_of_ten_are_drawn_and_half_of_them_done(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, int]] = []
    monkeypatch.setattr(room, "change", lambda photo, operation, sign: done.append((operation, sign)) or photo)
    torch.manual_seed(0)
    draws = 4000
    for _ in range(draws):
        rand_augment(noise(2, 2))
    assert len(done) / draws == pytest.approx(1.0, abs=0.05)
    counts = Counter(operation for operation, _ in done)
    assert set(counts) == set(OPERATIONS)
    assert all(count == pytest.approx(draws / 10, rel=0.2) for count in counts.values())
    assert Counter(sign for _, sign in done)[1] == pytest.approx(draws / 2, rel=0.1)


def test_colours_change_as_pillow_does_it_or_not_at_all() -> None:
    photo = noise()
    assert change(photo, "auto_contrast", 1).tobytes() == ImageOps.autocontrast(photo).tobytes()
    assert change(photo, "equalize", 1).tobytes() == ImageOps.equalize(photo).tobytes()
    for operation in ("identity", "brightness", "sharpness"):
        assert change(photo, operation, 1).tobytes() == photo.tobytes()


@pytest.mark.parametrize("sign", [1, -1])
def test_pixels_move_as_far_as_published(sign: int) -> None:
    """By 5 pixels; by 0.15 of the distance from the edge; by 15 degrees."""
    photo = np.array(noise())
    grey = [128, 128, 128]
    right = np.array(change(noise(), "translate_x", sign))
    down = np.array(change(noise(), "translate_y", sign))
    if sign == 1:
        assert (right[:, :-5] == photo[:, 5:]).all()
        assert (right[:, -5:] == grey).all()
        assert (down[:-5] == photo[5:]).all()
    else:
        assert (right[:, 5:] == photo[:, :-5]).all()
        assert (right[:, :5] == grey).all()
        assert (down[5:] == photo[:-5]).all()


@pytest.mark.parametrize(("operation", "slope"), [("shear_x", 0.15), ("shear_y", 0.15), ("rotate", 0.268)])
def test_a_straight_line_comes_to_lie_at_the_published_slope(operation: str, slope: float) -> None:
    found = []
    for sign in (1, -1):
        line = Image.new("RGB", (101, 101))
        line.paste((255, 255, 255), (0, 49, 101, 52) if operation == "shear_y" else (49, 0, 52, 101))
        rows = np.array(change(line, operation, sign))[..., 0].astype(float)
        rows = rows.T if operation == "shear_y" else rows
        places = [np.average(np.arange(15, 86), weights=rows[y, 15:86]) for y in (30, 70)]
        found.append((places[1] - places[0]) / 40)
    assert found[0] == pytest.approx(-found[1], abs=0.02)
    assert abs(found[0]) == pytest.approx(slope, abs=0.02)
