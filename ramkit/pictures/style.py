"""How all pictures look: one set of colours, one way to write text, PNG bytes at the end.

Colours are Okabe and Ito's, told apart by colour-blind people; where colours meet, line styles or hatches differ, too,
for print in grey. Figures are drawn without pyplot, so nothing is shared with other users of matplotlib.
"""

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1)), (0, (1, 3)), "-")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")
INK, MUTED = "#222222", "#666666"
_DOTS_PER_INCH = 110
_SETTINGS: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # a tag may hold dollar signs
    "axes.formatter.use_mathtext": False,
    "legend.frameon": False,
    "hatch.linewidth": 0.5,
}
# Beside DejaVu Sans, which comes with matplotlib: fonts for other scripts, where they are installed.
_OTHER_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Noto Sans JP", "Noto Sans SC", "Noto Sans KR",
    "Hiragino Sans", "PingFang SC", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "WenQuanYi Zen Hei",
    "Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Hebrew", "Noto Sans Bengali", "Arial Unicode MS",
)  # fmt: skip
_NO_GLYPH = "□"


@contextmanager
def drawing(width: float, height: float) -> Iterator["Figure"]:
    """A figure of some inches, in ramkit's style as long as the block lasts; `png` within it."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS | {"font.family": [name for name, _ in _fonts()]}):
        yield Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained")


def in_figures(axis: "Axis", text: Callable[[float], str]) -> None:
    """Write the ticks of a logarithmic axis as plain numbers; where it spans few decades 2 and 5 of each, too.

    matplotlib's own between the decades are formulas, which are not drawn here.
    """

    def between(value: float, _: object) -> str:
        low, high = sorted(axis.get_view_interval())
        first = round(value / 10 ** math.floor(math.log10(value) + 1e-9))
        return text(value) if high < 100 * low and first in (2, 5) else ""

    axis.set_major_formatter(lambda value, _: text(value))
    axis.set_minor_formatter(between)


def png(figure: "Figure") -> bytes:
    """The figure as a PNG file's bytes: the same for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def written(text: str, most: int = 28) -> str:
    """A text that fits and can be drawn: shortened in its middle, a box for what no font has."""
    text = " ".join(text.split())
    if len(text) > most:
        text = f"{text[: most - most // 3 - 1]}…{text[-(most // 3) :]}"
    return "".join(char if _has_glyph(char) else _NO_GLYPH for char in text)


def _has_glyph(char: str) -> bool:
    return any(ord(char) in glyphs for _, glyphs in _fonts())


@cache
def _fonts() -> list[tuple[str, frozenset[int]]]:
    """(name, code points it has) of DejaVu Sans and of the installed fonts for other scripts."""
    from matplotlib.font_manager import findfont, fontManager
    from matplotlib.ft2font import FT2Font

    installed = {entry.name for entry in fontManager.ttflist}
    names = ["DejaVu Sans", *(name for name in _OTHER_FONTS if name in installed)]
    return [(name, frozenset(FT2Font(findfont(name)).get_charmap())) for name in names]
