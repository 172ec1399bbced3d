"""Heat maps laid over photos: bright where the value is high, the photo in grey beneath."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from ramkit.token_places import spread_over

COLOUR_MAP = "inferno"  # even steps of lightness: read without colours, too
_STRENGTH = 0.62  # of the colours over the photo


def overlay(
    photo: Image.Image, tokens: npt.NDArray[np.floating], places: Sequence[float], low: float, high: float
) -> Image.Image:
    """The photo under a map of tokens [n, n]; what is at `low` or below is darkest, at `high` or above brightest."""
    from matplotlib import colormaps

    share = np.clip((spread_over(photo.size, tokens, places) - low) / max(high - low, 1e-12), 0, 1)
    colours = colormaps[COLOUR_MAP](share)[..., :3] * 255
    grey = np.asarray(photo.convert("L"), dtype=np.float64)[..., None]
    mixed = (1 - _STRENGTH) * grey + _STRENGTH * colours
    return Image.fromarray(mixed.round().astype(np.uint8))


def thumbnail(photo: Image.Image, most: int) -> Image.Image:
    """A copy of at most so many pixels a side."""
    small = photo.convert("RGB")
    small.thumbnail((most, most), Image.Resampling.LANCZOS)
    return small


def in_characters(tokens: npt.NDArray[np.floating], places: Sequence[float], low: float, high: float) -> list[str]:
    """A coarse map for terminals, 12 characters wide and 6 high: ' ░▒▓█' from low to high."""
    shades = " ░▒▓█"
    share = np.clip((spread_over((12, 6), tokens, places) - low) / max(high - low, 1e-12), 0, 1)
    return ["".join(shades[min(int(value * len(shades)), len(shades) - 1)] for value in row) for row in share]
