"""The picture of an explanation: a row a tag, with its heat maps and the descriptions that re-weighting chose."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from ramkit.explanation import Explanation, Map
from ramkit.pictures.heat import COLOUR_MAP, overlay, thumbnail
from ramkit.pictures.style import COLOURS, MUTED, drawing, png, written

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXTS = 4  # descriptions shown of a tag
NO_TEXTS = "The texts of the descriptions are not with this model."
_PIXELS = 360


def span(maps: Sequence[Map]) -> tuple[float, float]:
    """(lowest, highest) value of all maps, so that one scale holds for all tags of a photo."""
    return min(float(tokens.min()) for tokens in maps), max(float(tokens.max()) for tokens in maps)


def picture(
    photo: Image.Image, name: str, scores: Sequence[float], explained: Sequence[Explanation], places: Sequence[float]
) -> bytes:
    """A PNG of one photo's explanations, as many rows as there are, `scores` as they were told of each."""
    small = thumbnail(photo, _PIXELS)
    columns = [(title, kind) for title, kind in _MAPS if getattr(explained[0], kind) is not None]
    with drawing(2.3 * (1 + len(columns)) + 5.2, 0.5 + 1.95 * len(explained)) as figure:
        figure.suptitle(written(name, 110), fontsize=10)
        grid = figure.add_gridspec(len(explained), 2 + len(columns), width_ratios=[1, *[1] * len(columns), 2.0])
        shown = [_photo_axes(figure.add_subplot(grid[row, 0]), small) for row in range(len(explained))]
        for axes, entry, score in zip(shown, explained, scores, strict=True):
            axes.set_title(f"{written(entry.tag)}  {score:.3f}", fontweight="bold", loc="left")
        for number, (title, kind) in enumerate(columns, start=1):
            maps = [getattr(entry, kind) for entry in explained]
            low, high = span(maps)
            drawn = [figure.add_subplot(grid[row, number]) for row in range(len(maps))]
            for axes, tokens in zip(drawn, maps, strict=True):
                _photo_axes(axes, overlay(small, tokens, places, low, high))
            drawn[0].set_title(title, fontsize=8, loc="left")
            _scale(figure, drawn, low, high)
        for row, entry in enumerate(explained):
            _descriptions(figure.add_subplot(grid[row, -1]), entry, last=row == len(explained) - 1)
        return png(figure)


_MAPS = (("where the decoder looked\n(share of attention)", "attention"), ("what is like the tag\n(logit)", "likeness"))


def _photo_axes(axes: "Axes", photo: Image.Image) -> "Axes":
    axes.imshow(photo)
    axes.set_axis_off()
    return axes


def _scale(figure: "Figure", drawn: Sequence["Axes"], low: float, high: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(ScalarMappable(Normalize(low, high), COLOUR_MAP), ax=list(drawn), fraction=0.05, aspect=30)
    bar.ax.tick_params(labelsize=7)


def _descriptions(axes: "Axes", entry: Explanation, *, last: bool) -> None:
    """Bars of the highest weights, each under its text; a line where all would be equal."""
    chosen = entry.chosen(TEXTS)
    parts = f"logit {entry.logit:+.2f} = decoder {entry.decoder:+.2f}, direct similarity {entry.direct:+.2f}"
    used = f"{entry.in_use:.1f} of {len(entry.weights)} descriptions in use"
    axes.set_title(f"{parts}\n{used}", fontsize=8, loc="left")
    axes.set_xlim(0, 1)
    axes.set_ylim(TEXTS - 0.5, -0.75)
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=7, labelbottom=last)
    if last:
        axes.set_xlabel("weight of a description (dashed: all equal)", fontsize=7.5)
    axes.spines["left"].set_visible(False)
    if not chosen:
        axes.text(0, 1, NO_TEXTS, fontsize=8, color=MUTED)
        return
    axes.axvline(1 / len(entry.weights), color=MUTED, linewidth=0.9, linestyle="--", zorder=1)
    axes.barh(range(len(chosen)), [weight for weight, _ in chosen], height=0.3, color=COLOURS[0], zorder=2)
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    for number, (weight, text) in enumerate(chosen):
        line = f"{weight:.2f}  {written(textwrap.shorten(text, 74, placeholder=' …'), 80)}"
        axes.text(0, number - 0.24, line, fontsize=7.5, va="bottom", bbox=ground, zorder=3)
