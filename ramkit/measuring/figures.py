"""The figures that a report tells of a measurement, with intervals over resampled photos."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ramkit.measuring import metrics
from ramkit.measuring.measured import Measured

POINTS = {  # the thresholds that figures are told at, as people read them
    "given": "given, for all",
    "per tag": "the model's, per tag",
    "best": "best here, for all",
    "best per tag": "best here, per tag",
}
_TOP = (1, 5)


@dataclass(frozen=True)
class Sampling:
    """How intervals are made; 0 resamples make none."""

    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Figures:
    """Of one model on one set of photos."""

    values: dict[str, Any]  # by name, as JSON has them; None where there is nothing to average
    per_tag: list[dict[str, Any]]
    average_precisions: npt.NDArray[np.float64]  # [C], NaN without positives
    resampled: npt.NDArray[np.float64]  # [B, C]


def groups_of(measured: Measured) -> dict[str, npt.NDArray[np.bool_]]:
    """Names [C] whose mAP is told apart: those of the vocabulary and the others; where aliases are among the first,
    also split by the tags' own names alone."""
    known, exact = measured.known, np.array([column.known and not column.by_alias for column in measured.columns])
    groups = {"in_vocabulary": known, "open_set": ~known}
    return groups if (known == exact).all() else {**groups, "in_vocabulary_by_name": exact, "not_by_name": ~exact}


def figures(
    measured: Measured, *, threshold: float | None, groups: Mapping[str, npt.NDArray[np.bool_]], sampling: Sampling
) -> Figures:
    """All figures of a measurement; at least one label must be positive.

    Args:
        threshold: one for all tags, on the scale of the scores; None takes the best one for these photos.
        groups: names [C] that are averaged apart, as `groups_of` the first of several models has them.
    """
    scores, labels = measured.scores, measured.labels
    single = metrics.average_precisions(scores, labels)
    resampled = metrics.resampled_average_precisions(scores, labels, resamples=sampling.resamples, seed=sampling.seed)
    whole = metrics.pooled(scores, labels)
    given = whole.threshold if threshold is None else threshold
    best, _ = metrics.best_thresholds(scores, labels)
    own = np.where(np.isnan(measured.thresholds), given, measured.thresholds)
    points: dict[str, tuple[float | None, npt.ArrayLike]] = {
        "given": (given, given),
        "per tag": (None, own),
        "best": (whole.threshold, whole.threshold),
        "best per tag": (None, np.nan_to_num(best, nan=np.inf)),
    }
    at = [
        {"thresholds": name, "threshold": one, **asdict(metrics.precision_recall_f1(scores, labels, thresholds))}
        for name, (one, thresholds) in points.items()
    ]
    values: dict[str, Any] = {"mAP": _number(metrics.mean_over_tags(single))}
    for name, chosen in groups.items():
        values[f"mAP_{name}"] = _number(metrics.mean_over_tags(single[chosen]))
    values["mAP_micro"] = whole.average_precision
    values["mAP_published"] = float(metrics.published_average_precisions(scores, labels).mean())
    values |= {"threshold": given} | {key: at[0][key] for key in ("precision", "recall", "f1")}
    values |= {"best_threshold": whole.threshold, "best_f1": whole.f1}
    values |= {
        f"top_{k}_accuracy": metrics.top_k_accuracy(scores, labels, k) for k in _TOP if k < len(measured.columns)
    }
    if sampling.resamples:
        drawn_f1 = metrics.resampled_f1(scores, labels, given, resamples=sampling.resamples, seed=sampling.seed)
        values["intervals"] = {
            "mAP": _interval(_means(resampled), values["mAP"]),
            **{
                f"mAP_{name}": _interval(_means(resampled[:, chosen]), values[f"mAP_{name}"])
                for name, chosen in groups.items()
            },
            "f1": _interval(drawn_f1, values["f1"]),
        }
    values["at"] = at
    return Figures(values, _per_tag(measured, scores, own, single, resampled, best), single, resampled)


def difference(one: Figures, other: Figures) -> dict[str, Any]:
    """mAP of one less that of the other, on the same photos and resamples: the photos' own difficulty falls out."""
    value = metrics.mean_over_tags(one.average_precisions) - metrics.mean_over_tags(other.average_precisions)
    drawn = _means(one.resampled) - _means(other.resampled)
    return {"mAP": _number(value), "mAP_interval": _interval(drawn, _number(value), least=-1.0)}


def per_tag_csv(rows: list[dict[str, Any]]) -> str:
    """The rows of `Figures.per_tag` as a table; what is None stays empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [column for column in rows[0] if column != "ap_interval"]
    writer.writerow([*columns, "ap_low", "ap_high"])
    for row in rows:
        writer.writerow([*(row[column] for column in columns), *(row["ap_interval"] or (None, None))])
    return out.getvalue()


def _per_tag(
    measured: Measured,
    scores: metrics.Scores,
    own: npt.NDArray[np.floating],
    single: npt.NDArray[np.float64],
    resampled: npt.NDArray[np.float64],
    best: npt.NDArray[np.float64],
) -> list[dict[str, Any]]:
    at_own = metrics.per_tag_precision_recall_f1(scores, measured.labels, own)
    rows = []
    for number, column in enumerate(measured.columns):
        ap = _number(single[number])
        precision, recall, f1 = map(float, at_own[:, number])
        rows.append(
            {
                "tag": column.name,
                "in_vocabulary": column.known,
                "positives": int(measured.labels[:, number].sum()),
                "ap": ap,
                "ap_interval": _interval(resampled[:, number], ap),
                "threshold": float(own[number]),
                "precision": precision,
                "recall": recall,
                "f1": f1,
                "best_threshold": _number(best[number]),
            }
        )
    return rows


def _means(resampled: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean [B] over the tags [B, C] that have positives; NaN where none has."""
    there = ~np.isnan(resampled)
    counts = there.sum(axis=1)
    sums = np.where(there, resampled, 0).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(resampled), np.nan), where=counts > 0)


def _interval(drawn: npt.NDArray[np.float64], estimate: float | None, *, least: float = 0.0) -> list[float] | None:
    """Its ends, no further than the figure itself can go: from `least` to 1."""
    if estimate is None or np.isnan(drawn).all():
        return None
    return [min(max(end, least), 1.0) for end in metrics.interval(drawn, estimate)]


def _number(value: float) -> float | None:
    """None, not NaN, where there is nothing to average: JSON has no NaN."""
    return None if np.isnan(value) else float(value)
