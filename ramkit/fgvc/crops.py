"""Which part of a photo the model sees: 448-pixel crops of a 512-pixel square, as is usual in fine-grained work.

A photo is resized to a square, of which a smaller square is cut out: somewhere in training, in the middle afterwards.
Both are done at once, so a crop is told by its sides as shares of the photo's width and height.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image

from ramkit.photos import Preprocess

Augmentation = Literal["crop", "resized_crop", "none"]
_LEAST_AREA = 0.4  # of the square, of a resized crop
_SHAPE = 4 / 3  # width to height of a resized crop, at most; at least its inverse


@dataclass(frozen=True)
class Crop:
    """A part of a photo: its sides as shares of the photo's width and height, and whether it is mirrored."""

    left: float
    top: float
    right: float
    bottom: float
    flip: bool = False

    def pixels(self, photo: Image.Image, preprocess: Preprocess) -> torch.Tensor:
        """Pixels [3, S, S] of this part of a photo."""
        prepared = preprocess(photo, self.box(photo.width, photo.height))
        return prepared.flip(-1) if self.flip else prepared

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom in the pixels of a photo."""
        return self.left * width, self.top * height, self.right * width, self.bottom * height

    def cell(self, number: int, side: int, width: int, height: int) -> tuple[float, float, float, float]:
        """The box, in the pixels of a photo, of one of side × side cells of the crop, counted row by row."""
        left, top, right, bottom = self.box(width, height)
        row, column = divmod(number, side)
        column = side - 1 - column if self.flip else column
        wide, high = (right - left) / side, (bottom - top) / side
        return left + column * wide, top + row * high, left + (column + 1) * wide, top + (row + 1) * high


def middle_crop(share: float) -> Crop:
    """The middle of a photo; `share` is the crop's side to the square's."""
    rest = (1 - share) / 2
    return Crop(rest, rest, 1 - rest, 1 - rest)


def drawn_crop(kind: Augmentation, share: float, generator: torch.Generator) -> Crop:
    """A random part of a photo: `crop` of the share's size, anywhere, mirrored or not; `resized_crop` also of another
    size and shape; `none` the middle."""
    if kind == "none":
        return middle_crop(share)
    x, y, size, shape, flip = torch.rand(5, generator=generator).tolist()
    width = height = share
    if kind == "resized_crop":
        area, ratio = _LEAST_AREA + (1 - _LEAST_AREA) * size, _SHAPE ** (2 * shape - 1)
        width, height = min((area * ratio) ** 0.5, 1.0), min((area / ratio) ** 0.5, 1.0)
    left, top = x * (1 - width), y * (1 - height)
    return Crop(left, top, min(left + width, 1.0), min(top + height, 1.0), flip < 0.5)
