"""The published augmentation: RandomResizedCrop(0.2–1), horizontal flip, RandAugment(2, 5).

RandAugment there is not torchvision's: ten operations, two of them drawn, each then done at odds of one half, at level
5 of 10. At that level brightness and sharpness come out as they were: their factor is 0.1 + 1.8 · 5 / 10 = 1.
"""

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image, ImageOps

from ramkit.photos import Preprocess

LEVEL = 5 / 10
SHEAR, SHIFT, ANGLE = 0.3 * LEVEL, 10 * LEVEL, 30 * LEVEL  # a factor; pixels, whatever the photo's size; degrees
OPERATIONS = (
    "identity", "auto_contrast", "equalize", "brightness", "sharpness",
    "shear_x", "shear_y", "translate_x", "translate_y", "rotate",
)  # fmt: skip
_AT_ONCE = 2
_GREY = (128, 128, 128)

Change = Callable[[Image.Image], Image.Image]


def augmentation(preprocess: Preprocess) -> Change:
    """Photo → photo of the input size; draws from torch's global generator."""
    from torchvision.transforms import v2

    mode = v2.InterpolationMode(preprocess.interpolation)
    size = (preprocess.size, preprocess.size)
    crop: Any = v2.RandomResizedCrop(size, scale=(0.2, 1.0), interpolation=mode)
    return v2.Compose([crop, v2.RandomHorizontalFlip(), rand_augment])


def rand_augment(photo: Image.Image) -> Image.Image:
    """Two operations, drawn with replacement, each done at odds of one half."""
    for number in torch.randint(len(OPERATIONS), (_AT_ONCE,)).tolist():
        if torch.rand(()) < 0.5:
            photo = change(photo, OPERATIONS[number], sign=1 if torch.rand(()) < 0.5 else -1)
    return photo


def change(photo: Image.Image, operation: str, sign: int) -> Image.Image:
    """One operation at the published level; `sign` is the direction of those that have one."""
    if operation == "auto_contrast":
        return ImageOps.autocontrast(photo)
    if operation == "equalize":
        return ImageOps.equalize(photo)
    if operation == "rotate":
        return photo.rotate(sign * ANGLE, Image.Resampling.BILINEAR, fillcolor=_GREY)
    # (a, b, c, d, e, f): a pixel at x, y is taken from a x + b y + c, d x + e y + f
    moved = {
        "shear_x": (1, sign * SHEAR, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, sign * SHEAR, 1, 0),
        "translate_x": (1, 0, sign * SHIFT, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, sign * SHIFT),
    }
    if operation not in moved:
        return photo
    return photo.transform(
        photo.size, Image.Transform.AFFINE, moved[operation], Image.Resampling.BILINEAR, fillcolor=_GREY
    )
