"""The picture of RAM++'s Figure 7: seconds an image against the number of tags, a line a paradigm."""

from collections.abc import Mapping
from typing import Any

from ramkit.pictures.style import COLOURS, DASHES, MUTED, drawing, in_figures, png, written
from ramkit.ram.paradigm_times import PARADIGMS, Times

_MARKS = {"ITC": "o", "ITTA": "s", "ITM": "^"}
_NAMES = {
    "ITC": "ITC: product of global features",
    "ITTA": "ITTA: decoder over all tags at once",
    "ITM": "ITM: one pair of image and text a pass",
}


def picture(times: Times, machine: Mapping[str, object]) -> bytes:
    """A PNG; hollow marks are extrapolated."""
    with drawing(6.6, 4.4) as figure:
        axes = figure.add_subplot()
        axes.set(xscale="log", yscale="log", xlabel="tags asked of an image", ylabel="seconds an image")
        in_figures(axes.xaxis, lambda tags: f"{tags:,.0f}")
        in_figures(axes.yaxis, lambda seconds: f"{seconds:,g}")
        for number, name in enumerate(PARADIGMS):
            style: dict[str, Any] = {"color": COLOURS[number], "marker": _MARKS[name]}
            entries = times.of(name)
            seconds = [times.encoder + entry.alignment for entry in entries]
            tags = [entry.tags for entry in entries]
            axes.plot(tags, seconds, linestyle=DASHES[number], label=_NAMES[name], **style)
            for entry, second in zip(entries, seconds, strict=True):
                if entry.extrapolated:
                    axes.plot(entry.tags, second, markerfacecolor="white", zorder=3, **style)
        axes.axhline(times.encoder, color=MUTED, linewidth=0.8, label="image encoder alone")
        if any(entry.extrapolated for entry in times.timings):
            axes.plot([], [], "o", color=MUTED, markerfacecolor="white", label="hollow: extrapolated")
        axes.margins(x=0.07)
        axes.legend()
        threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
        axes.set_title(written(f"{machine['image_encoder']} on {machine['processor']}, {threads}", 95), fontsize=9)
        return png(figure)
