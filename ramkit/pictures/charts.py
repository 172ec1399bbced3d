"""The charts of a report, each a PNG: how far scores part true from wrong, and where they do not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ramkit.measuring.figures import Figures
from ramkit.measuring.measured import Measured
from ramkit.measuring.reliability import reliability
from ramkit.measuring.surprises import Confusion, least_logits
from ramkit.pictures.style import COLOURS, DASHES, HATCHES, INK, MUTED, drawing, in_figures, png, written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 40  # tags that a chart names one by one; of more, the best and the worst half as many
_NONE_TRUE = "none is true of a photo"
_MODELS = 4  # rows of score distributions


@dataclass(frozen=True)
class Shown:
    """What a model told, with the figures of it."""

    measured: Measured
    figures: Figures

    @property
    def name(self) -> str:
        """As charts call it: of a model outside an artefact root the last part of its path."""
        return self.measured.model if self.measured.scale == "cosine" else Path(self.measured.model).name


def score_distributions(models: Sequence[Shown]) -> bytes:
    """Logits of true and of wrong photo–tag pairs: a row a model, names of the vocabulary and open-set ones apart."""
    from matplotlib.ticker import MaxNLocator

    groups = _groups(models[0].measured)
    rows = models[:_MODELS]
    with drawing(4.6 * len(groups), 0.4 + 2.5 * len(rows)) as figure:
        axes = figure.subplots(len(rows), len(groups), squeeze=False)
        for row, model in zip(axes, rows, strict=True):
            for cell, (title, columns) in zip(row, groups.items(), strict=True):
                _distribution(cell, model.measured.logits[:, columns], model.measured.labels[:, columns])
                cell.set_title(f"{written(model.name, 34)}: {title}", loc="left", fontsize=9)
                cell.set_xlabel(model.measured.scale)
                cell.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
                if np.isfinite(limit := np.median(least_logits(model.measured)[columns])):
                    cell.axvline(limit, color=INK, linewidth=1, linestyle=":")
                    cell.set_xlabel(f"{model.measured.scale} (dotted: threshold, median of the names)")
        for row in axes:
            row[0].set_ylabel("share of pairs")
        return png(figure)


def _distribution(axes: "Axes", logits: npt.NDArray[np.float32], labels: npt.NDArray[np.bool_]) -> None:
    """Shares of the pairs that are wrong and of those that are true."""
    edges = np.linspace(*_span(logits), 61)
    for colour, hatch, what, values in (
        (COLOURS[1], "////", "wrong", logits[~labels]),
        (COLOURS[0], "", "true", logits[labels]),
    ):
        if values.size:
            heights, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
            share = heights / values.size
            axes.stairs(
                share, edges, fill=True, alpha=0.35, color=colour, hatch=hatch, label=f"{what} ({values.size:,})"
            )
            axes.stairs(share, edges, color=colour, linewidth=1.4)
    axes.legend(fontsize=7)


def _span(logits: npt.NDArray[np.float32]) -> tuple[float, float]:
    low, high = np.quantile(logits, (0.0005, 0.9999))
    spare = max(0.03 * float(high - low), 1e-6)
    return float(low) - spare, float(high) + spare


def side_by_side(models: Sequence[Shown]) -> bytes:
    """mAP of all models on names of the vocabulary and on open-set ones, with 95 % intervals where there are any."""
    groups = _groups(models[0].measured)
    keys = {"in the vocabulary": "mAP_in_vocabulary", "open-set": "mAP_open_set"}
    width = min(0.8 / len(models), 0.35)
    with drawing(max(4.6, 1.4 + 1.1 * len(models) * len(groups)), 3.2) as figure:
        axes = figure.add_subplot()
        for number, model in enumerate(models):
            for place, group in enumerate(groups):
                value = model.figures.values[keys[group]]
                if value is None:
                    continue
                interval = (model.figures.values.get("intervals") or {}).get(keys[group])
                at = place + (number - (len(models) - 1) / 2) * width
                error = None if interval is None else [[max(value - interval[0], 0)], [max(interval[1] - value, 0)]]
                axes.bar(
                    at, value, width * 0.92, yerr=error, capsize=3, color=COLOURS[number % len(COLOURS)],
                    hatch=HATCHES[number % len(HATCHES)], edgecolor="white",
                    label=written(model.name, 34) if place == 0 else None,
                )  # fmt: skip
                top = value if interval is None else interval[1]
                axes.annotate(f"{value:.3f}", (at, top), (0, 2), textcoords="offset points", ha="center", fontsize=8)
        for place, columns in enumerate(groups.values()):
            if not models[0].measured.labels[:, columns].any():
                axes.annotate(_NONE_TRUE, (place, 0), (0, 6), textcoords="offset points", ha="center", color=MUTED)
        counts = [f"{group}\n({len(columns):,} names)" for group, columns in groups.items()]
        axes.set_xlim(-0.5, len(groups) - 0.5)
        axes.set_xticks(range(len(groups)), counts)
        axes.set_ylabel("mAP (lines: 95 % intervals)")
        axes.set_ylim(0, 1.08)
        axes.grid(visible=False, axis="x")
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
        return png(figure)


def precision_recall(models: Sequence[Shown]) -> bytes:
    """Precision over recall, all photo–tag pairs of a group of names together; a panel a group, a line a model."""
    from sklearn.metrics import precision_recall_curve

    groups = _groups(models[0].measured)
    with drawing(4.2 * len(groups), 3.7 + 0.2 * math.ceil(len(models) / 2)) as figure:
        panels = figure.subplots(1, len(groups), squeeze=False)[0]
        for axes, (title, columns) in zip(panels, groups.items(), strict=True):
            _equal_f1(axes)
            if not models[0].measured.labels[:, columns].any():
                axes.annotate(_NONE_TRUE, (0.5, 0.5), ha="center", color=MUTED)
            for number, model in enumerate(models):
                labels = model.measured.labels[:, columns].ravel()
                if not labels.any():
                    continue
                precision, recall, _ = precision_recall_curve(labels, model.measured.logits[:, columns].ravel())
                kept = _thinned(recall)
                axes.plot(
                    recall[kept], precision[kept], color=COLOURS[number % len(COLOURS)], linewidth=1.6,
                    linestyle=DASHES[number % len(DASHES)], label=written(model.name, 30),
                )  # fmt: skip
            axes.set(title=title, xlabel="recall", xlim=(0, 1), ylim=(0, 1.02))
            axes.set_aspect("equal")
        panels[0].set_ylabel("precision (grey: equal F1)")
        handles, names = next(told for panel in panels if (told := panel.get_legend_handles_labels())[0])
        figure.legend(handles, names, fontsize=8, loc="outside lower center", ncols=2)
        return png(figure)


def _equal_f1(axes: "Axes") -> None:
    for f1 in (0.2, 0.4, 0.6, 0.8):
        end = f1 / (2 - f1)  # precision where recall is 1, and the other way round
        recall = np.geomspace(end, 1, 200)
        axes.plot(recall, f1 * recall / (2 * recall - f1), color="#bbbbbb", linewidth=0.7)
        axes.annotate(
            f"{f1}", (1.0, end), (3, 0), textcoords="offset points", color=MUTED, fontsize=7, va="center",
            annotation_clip=False,
        )  # fmt: skip


def _thinned(values: npt.NDArray[np.float64], most: int = 1500) -> npt.NDArray[np.int64]:
    """Positions of at most so many points of a curve, evenly along it."""
    return np.unique(np.linspace(0, len(values) - 1, min(len(values), most)).astype(np.int64))


def per_tag(model: Shown) -> bytes:
    """AP of the names that are true of a photo, sorted: one by one, or all as a curve beside the best and the worst."""
    rows = [row for row in model.figures.per_tag if row["ap"] is not None]
    rows.sort(key=lambda row: (-row["ap"], -row["positives"]))  # of equal ones those that say more come first
    if len(rows) <= NAMED:
        with drawing(6.4, 0.9 + 0.2 * len(rows)) as figure:
            _named(figure.add_subplot(), rows)
            return png(figure)
    half = NAMED // 2
    with drawing(10.4, 0.9 + 0.2 * NAMED) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
        counts = np.array([row["positives"] for row in rows])
        dots = left.scatter(
            range(1, len(rows) + 1), [row["ap"] for row in rows], c=np.log10(counts), cmap="cividis", s=9, linewidths=0
        )
        bar = figure.colorbar(dots, ax=left, location="bottom", aspect=40)
        ticks = np.arange(0, np.log10(counts.max()) + 1e-9)
        bar.set_ticks(ticks.tolist(), labels=[f"{10**tick:,.0f}" for tick in ticks])
        bar.set_label("photos that a name is true of")
        left.set(xlabel=f"rank of {len(rows):,} names", ylabel="average precision", ylim=(0, 1.02))
        _named(right, [*rows[:half], *rows[-half:]], gap=half)
        right.set_title(f"the best and the worst {half}", fontsize=9, loc="left")
        return png(figure)


def _named(axes: "Axes", rows: Sequence[dict[str, object]], gap: int | None = None) -> None:
    """A bar a name with its interval and count; after `gap` of them a line."""
    places = np.arange(len(rows)) + (0.0 if gap is None else (np.arange(len(rows)) >= gap) * 0.8)
    for place, row in zip(places, rows, strict=True):
        known, value, interval = bool(row["in_vocabulary"]), row["ap"], row.get("ap_interval")
        assert isinstance(value, float)
        axes.barh(place, value, 0.72, color=COLOURS[0 if known else 4], hatch="" if known else "///", edgecolor="white")
        if isinstance(interval, list):
            axes.plot(interval, [place, place], color=INK, linewidth=1)
        axes.annotate(f"{row['positives']:,}", (1.03, place), fontsize=7, color=MUTED, va="center")
    axes.set_yticks(places, [written(str(row["tag"])) for row in rows], fontsize=8)
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.set_xlim(0, 1.12)
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    axes.set_xlabel("average precision (lines: 95 %; grey: photos; hatched: open-set)", fontsize=8)
    axes.grid(visible=False, axis="y")


def reliability_curve(claims: Sequence[tuple[str, npt.NDArray[np.floating]]], labels: npt.NDArray[np.bool_]) -> bytes:
    """How often what scores so is true, with the number of pairs beneath; a line a kind of score."""
    with drawing(4.8, 4.6) as figure:
        axes, counts = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        for number, (name, scores) in enumerate(claims):
            found = reliability(scores, labels)
            told = f"{name}: ECE {found.ece:.3f}, Brier {found.brier:.3f}"
            style = {"color": COLOURS[number], "marker": "os^D"[number % 4], "linestyle": DASHES[number]}
            axes.plot(found.claimed, found.true, label=told, markersize=4, **style)
            counts.plot(found.claimed, found.pairs, markersize=3, **style)
        axes.set(ylabel="share that is true", xlim=(0, 1), ylim=(-0.02, 1.02))
        axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
        counts.set_yscale("log")
        in_figures(counts.yaxis, lambda pairs: f"{pairs:,.0f}")
        counts.set(xlabel="score (dotted: if it were the chance)", ylabel="pairs")
        return png(figure)


def confusions(found: Sequence[Confusion]) -> bytes:
    """Pairs of names: one true, another told wrongly beside it more often than it is told wrongly at large."""
    with drawing(6.4, 0.9 + 0.24 * max(len(found), 2)) as figure:
        axes = figure.add_subplot()
        for place, pair in enumerate(found):
            axes.barh(place, pair.share, 0.72, color=COLOURS[0], edgecolor="white")
            axes.plot([pair.at_large] * 2, [place - 0.36, place + 0.36], color=INK, linewidth=1.6)
            axes.annotate(
                f"{pair.photos:,}", (pair.share, place), (3, 0), textcoords="offset points", va="center", fontsize=7
            )
        names = [f"{written(pair.true, 20)} → {written(pair.told, 20)}" for pair in found]
        axes.set_yticks(range(len(found)), names, fontsize=8)
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.margins(x=0.1)
        axes.set_xlabel(
            "share of the first's photos that are told the second wrongly\n(black: of other photos; numbers: photos)",
            fontsize=8,
        )
        axes.grid(visible=False, axis="y")
        return png(figure)


def _groups(measured: Measured) -> dict[str, npt.NDArray[np.int64]]:
    """Columns of the names of the vocabulary and of the others, where there are any."""
    groups = {"in the vocabulary": np.flatnonzero(measured.known), "open-set": np.flatnonzero(~measured.known)}
    return {title: columns for title, columns in groups.items() if len(columns)}
