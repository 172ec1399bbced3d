"""Where in a photo an image encoder's tokens lie, so that a map over tokens can be laid on the photo.

A token's place is the middle of what it sees. Patches of a transformer lie side by side. A convolution of stride s,
kernel k and padding p carries middles on as

    middle_out(i) = middle_in(s · i + (k − 1) / 2 − p)

so that the first token of a convolutional encoder often lies on the photo's edge, not half a field inside: with 9 × 9
tokens an even spread would be wrong by half a token there.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ramkit.errors import InputError
from ramkit.image_encoder import spatial_features

_SAMPLING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


class _Middles(NamedTuple):
    """Middles of a side's fields, start + i · step in pixels of the encoder's input, and the kernel that led here."""

    start: float
    step: float
    kernel: int = 0


def token_places(module: nn.Module, size: int) -> list[float]:
    """Middles of the n columns, and rows, of a timm model's n² tokens, in shares of the photo's side.

    Args:
        size: pixels of both sides of its input.

    Raises:
        InputError: the tokens are no square map.
    """
    sides = {size: _Middles(0.0, 1.0)}

    def follow(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        before, after = inputs[0].shape[-1], output.shape[-1]
        if after < before and before in sides:
            found = _sampled(layer, before, after, sides[before])
            if found.kernel > sides.get(after, found).kernel or after not in sides:  # not a block's 1 × 1 short cut
                sides[after] = found

    hooks = [layer.register_forward_hook(follow) for layer in module.modules() if isinstance(layer, _SAMPLING)]
    try:
        with torch.inference_mode():
            tokens = spatial_features(module, torch.zeros(1, 3, size, size)).shape[1]
    finally:
        for hook in hooks:
            hook.remove()
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise InputError(
            f"{type(module).__name__}: its {tokens} tokens are no square map.", cure="Leave --explain out."
        )
    # Merged patches (Swin's linear layers) lie side by side again.
    start, step, _ = sides.get(side) or _Middles((size / side - 1) / 2, size / side)
    return [(start + i * step + 0.5) / size for i in range(side)]


def spread_over(photo: tuple[int, int], tokens: npt.NDArray[np.floating], places: Sequence[float]) -> npt.NDArray[Any]:
    """A map over tokens [n, n] at every pixel [height, width] of a photo (width, height), linear between the tokens'
    places and level beyond the outermost. The photo was squashed into the encoder's square, so each of its sides is
    the whole of a side of the map."""
    width, height = photo
    across, down = ((np.arange(pixels) + 0.5) / pixels for pixels in (width, height))
    rows = np.stack([np.interp(across, places, row) for row in tokens])  # [n, width]
    return np.stack([np.interp(down, places, column) for column in rows.T], axis=1)


def _sampled(layer: nn.Module, before: int, after: int, middles: _Middles) -> _Middles:
    """The middles after a layer that makes `before` fields a side into `after`."""
    stride, padding = _of_one_side(layer.stride), layer.padding
    kernel = (_of_one_side(layer.kernel_size) - 1) * _of_one_side(getattr(layer, "dilation", 1)) + 1
    padded = 0 if isinstance(padding, str) else _of_one_side(padding)
    if padded == 0:  # TensorFlow's "same": as much as is needed, the odd one at the end
        padded = max((after - 1) * stride + kernel - before, 0) // 2
    shift = (kernel - 1) / 2 - padded
    return _Middles(middles.start + middles.step * shift, middles.step * stride, kernel)


def _of_one_side(value: Any) -> int:
    return int(value[-1] if isinstance(value, tuple) else value)
