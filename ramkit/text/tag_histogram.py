"""How many tags occur in how many photos, as a picture: bars by powers of two, a colour a kind."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ramkit.text.caption_parser import KINDS
from ramkit.text.vocabulary import Tag

_COLOURS = {"object": "#3a6ea5", "attribute": "#d98c3f", "action": "#5a9e5f", "scene": "#8d6ab0"}
_SIZE = (960, 480)
_LEFT, _TOP, _RIGHT, _BOTTOM = 70, 50, 20, 60


def draw_histogram(tags: Sequence[Tag], path: Path) -> None:
    """Write the histogram of a vocabulary as PNG."""
    bins = bins_of(tags)
    highest = max((sum(kinds.values()) for _, kinds in bins), default=1)
    image = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(16)
    base, ceiling = _SIZE[1] - _BOTTOM, _TOP
    step = (_SIZE[0] - _LEFT - _RIGHT) / max(len(bins), 1)
    for number, (name, kinds) in enumerate(bins):
        left, foot = _LEFT + number * step, float(base)
        for kind in KINDS:
            height = kinds[kind] / highest * (base - ceiling)
            draw.rectangle((left + 3, foot - height, left + step - 3, foot), fill=_COLOURS[kind])
            foot -= height
        total = str(sum(kinds.values()))
        draw.text((left + step / 2, foot - 2), total, fill="black", font=font, anchor="mb")
        draw.text((left + step / 2, base + 6), name, fill="black", font=font, anchor="mt")
    draw.line((_LEFT, base, _SIZE[0] - _RIGHT, base), fill="black")
    draw.text((_SIZE[0] / 2, _SIZE[1] - 10), "photos a tag occurs in", fill="black", font=font, anchor="mb")
    draw.text((10, 10), f"{len(tags)} tags", fill="black", font=font)
    for number, kind in enumerate(KINDS):
        left = 200 + 150 * number
        draw.rectangle((left, 12, left + 16, 28), fill=_COLOURS[kind])
        draw.text((left + 22, 10), f"{kind} {sum(tag.kind == kind for tag in tags)}", fill="black", font=font)
    image.save(path, format="PNG")


def bins_of(tags: Sequence[Tag]) -> list[tuple[str, dict[str, int]]]:
    """(range of counts, tags by kind) for 0, 1, 2–3, 4–7, …; from the first to the last that is not empty."""
    if not tags:
        return []
    found: dict[int, dict[str, int]] = {}
    for tag in tags:
        kinds = found.setdefault(tag.count.bit_length(), dict.fromkeys(KINDS, 0))
        kinds[tag.kind or "object"] += 1
    ranges = range(min(found), max(found) + 1)
    return [(_range_of(size), found.get(size, dict.fromkeys(KINDS, 0))) for size in ranges]


def _range_of(size: int) -> str:
    first, last = (1 << size) >> 1, (1 << size) - 1
    return str(first) if first == last else f"{first}-{last}"
