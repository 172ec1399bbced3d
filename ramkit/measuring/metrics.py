"""Multi-label metrics: pure functions over scikit-learn. N photos, C tags, B resamples.

A tag without positives has no average precision and no recall: it counts in no mean over tags. Its false alarms do
count in what is taken over all photo–tag pairs (micro).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating]
Labels = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_RESAMPLES_AT_ONCE = 128  # of 57,224 photos: 29 MB


def average_precisions(scores: Scores, labels: Labels) -> Floats:
    """AP of each tag [C] from scores and labels [N, C]; NaN for a tag without positives."""
    from sklearn.metrics import average_precision_score

    found = np.full(labels.shape[1], np.nan)
    for tag in np.flatnonzero(labels.any(axis=0)):
        found[tag] = average_precision_score(labels[:, tag], scores[:, tag])
    return found


def mean_average_precision(scores: Scores, labels: Labels) -> float:
    """Macro mAP: mean AP over the tags that have positives; NaN where none has."""
    return mean_over_tags(average_precisions(scores, labels))


def mean_over_tags(values: Floats) -> float:
    """Mean [C] without NaN; NaN where nothing is left."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def published_average_precisions(scores: Scores, labels: Labels) -> Floats:
    """AP of each tag [C] as RAM++'s published evaluation has it: 0 for a tag without positives, and photos of equal
    scores in the order in which numpy's unstable sort, reversed, leaves them."""
    found = np.zeros(labels.shape[1])
    for tag in range(labels.shape[1]):
        hits = labels[scores[:, tag].argsort()[::-1], tag]
        precisions = np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)
        found[tag] = precisions.sum() / (hits.sum() + 1e-8)
    return found


# ---- at thresholds


@dataclass(frozen=True)
class Counts:
    """Precision, recall and F1: over all photo–tag pairs (micro), and means over the tags with positives (macro).

    Macro F1 is the mean of the tags' F1, not the F1 of the means.
    """

    precision: float
    recall: float
    f1: float
    macro_precision: float
    macro_recall: float
    macro_f1: float


def precision_recall_f1(scores: Scores, labels: Labels, thresholds: float | npt.ArrayLike) -> Counts:
    """Of the tags whose scores reach a threshold, one for all or one a tag [C]; 0 where nothing is divided by 0."""
    right, wrong, missed = _counted(scores, labels, thresholds)
    micro = _ratios(right.sum(), wrong.sum(), missed.sum())
    there = labels.any(axis=0)
    macro = _ratios(right, wrong, missed)[:, there].mean(axis=1) if there.any() else np.zeros(3)
    return Counts(*map(float, micro), *map(float, macro))


def per_tag_precision_recall_f1(scores: Scores, labels: Labels, thresholds: float | npt.ArrayLike) -> Floats:
    """[3, C]; 0 where a tag was never told or has no positives."""
    return _ratios(*_counted(scores, labels, thresholds))


def _counted(scores: Scores, labels: Labels, thresholds: float | npt.ArrayLike) -> list[npt.NDArray[np.int64]]:
    """How often a tag was told rightly, told wrongly, and missed, each [C]."""
    told = scores >= np.asarray(thresholds)
    return [part.sum(axis=0) for part in (told & labels, told & ~labels, ~told & labels)]


def _ratios(right: npt.ArrayLike, wrong: npt.ArrayLike, missed: npt.ArrayLike) -> Floats:
    """Precision, recall and F1 of counts of any shape."""
    right, wrong, missed = (np.asarray(part, dtype=np.float64) for part in (right, wrong, missed))
    totals = np.stack([right + wrong, right + missed, right + (wrong + missed) / 2])
    return np.divide(right, totals, out=np.zeros_like(totals), where=totals > 0)


@dataclass(frozen=True)
class Pooled:
    """All photo–tag pairs as one ranking: its AP (micro), and the score that, as a threshold for all, gives most F1."""

    average_precision: float
    threshold: float
    f1: float


def pooled(scores: Scores, labels: Labels) -> Pooled:
    """Of scores and labels of any equal shape.

    Raises:
        ValueError: no label is positive.
    """
    from sklearn.metrics import precision_recall_curve

    if not labels.any():
        raise ValueError("no positive label")
    precision, recall, thresholds = precision_recall_curve(labels.ravel(), scores.ravel())
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1[:-1].argmax())
    area = float(-np.sum(np.diff(recall) * precision[:-1]))  # as average_precision_score forms it
    return Pooled(area, float(thresholds[best]), float(f1[best]))


def best_threshold(scores: Scores, labels: Labels) -> tuple[float, float]:
    """(threshold, F1): the one score that, as a threshold for all tags, gives the highest micro F1.

    Raises:
        ValueError: no label is positive.
    """
    found = pooled(scores, labels)
    return found.threshold, found.f1


def best_thresholds(scores: Scores, labels: Labels) -> tuple[Floats, Floats]:
    """(thresholds, F1), both [C]: each tag's own best, chosen on the photos it is measured on: what could be reached
    at most. NaN for a tag without positives."""
    found = np.full((2, labels.shape[1]), np.nan)
    for tag in np.flatnonzero(labels.any(axis=0)):
        found[:, tag] = best_threshold(scores[:, tag], labels[:, tag])
    return found[0], found[1]


def top_k_accuracy(scores: Scores, labels: Labels, k: int) -> float:
    """Share of the photos with labels of which one is among the photo's k highest scores; NaN without such photos."""
    told = labels.any(axis=1)
    if not told.any():
        return float("nan")
    highest = np.argsort(-scores[told], axis=1, kind="stable")[:, :k]
    return float(np.take_along_axis(labels[told], highest, axis=1).any(axis=1).mean())


# ---- how sure the figures are


def resampled_average_precisions(scores: Scores, labels: Labels, *, resamples: int, seed: int = 0) -> Floats:
    """AP of each tag [B, C] on photos drawn anew with replacement; NaN where a tag lost all its positives.

    Equal seeds draw equal photos, so that the figures of two models can be subtracted draw by draw. A photo drawn k
    times counts k times, as `sample_weight` in scikit-learn: only the sums of these counts over the photos between
    one positive and the next are formed, as a product with a sparse matrix of ones.
    """
    found = np.empty((resamples, labels.shape[1]))
    curves = [_Curve.of(scores[:, tag], labels[:, tag]) for tag in range(labels.shape[1])]
    for drawn, counts in _draws(len(labels), resamples, seed):
        for tag, curve in enumerate(curves):
            found[drawn, tag] = curve.average_precisions(counts)
    return found


def resampled_f1(
    scores: Scores, labels: Labels, thresholds: float | npt.ArrayLike, *, resamples: int, seed: int = 0
) -> Floats:
    """Micro F1 [B] at thresholds on photos drawn anew, the same as in `resampled_average_precisions`."""
    told = scores >= np.asarray(thresholds)
    counted = np.stack([(told & labels).sum(axis=1), told.sum(axis=1) + labels.sum(axis=1)]).astype(np.float64)
    found = np.empty(resamples)
    for drawn, counts in _draws(len(labels), resamples, seed):
        right, told_and_true = counted @ counts
        found[drawn] = 2 * right / np.maximum(told_and_true, 1)
    return found


def interval(values: Floats, estimate: float) -> tuple[float, float]:
    """The middle 95 % of resampled values [B], moved so that their mean is the estimate.

    Resampling lifts the AP of rare tags, as photos drawn twice stand together in the ranking; unmoved, intervals
    hold the mean of other test sets of the same size less often than they say (87.5 % against 92.5 %, on
    500 photos with tags down to four positives).
    """
    low, high = np.nanpercentile(values, [2.5, 97.5]) + (estimate - np.nanmean(values))
    return float(low), float(high)


def _draws(photos: int, resamples: int, seed: int) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """(which resamples, how often each photo is in each [N, b])."""
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        stop = min(start + _RESAMPLES_AT_ONCE, resamples)
        counts = np.empty((photos, stop - start), dtype=np.float32)
        for number in range(start, stop):
            chosen = np.random.default_rng([seed, number]).integers(0, photos, photos)
            counts[:, number - start] = np.bincount(chosen, minlength=photos)
        yield slice(start, stop), counts


@dataclass(frozen=True)
class _Curve:
    """A tag's precision–recall curve with G points at which recall grows, for any counts of the photos."""

    positives: object  # [G, N] sparse: the positives that come in at each point
    photos: object  # [G, N] sparse: all photos that come in since the point before

    @classmethod
    def of(cls, scores: Scores, labels: Labels) -> "_Curve":
        from scipy.sparse import csr_array

        order = np.argsort(-scores, kind="stable")
        descending, hits = scores[order], labels[order]
        last = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))  # of each group of equal scores
        ends = last[np.diff(np.cumsum(hits)[last], prepend=0) > 0] + 1  # of those with positives
        starts = np.append(0, ends)
        reached = order[: starts[-1]]
        where = np.flatnonzero(hits)
        shape = (len(ends), len(scores))
        per_point = np.append(0, np.searchsorted(where, ends))
        ones = np.ones(len(reached), dtype=np.float32)
        positives = csr_array((ones[: len(where)], order[where], per_point), shape=shape)
        return cls(positives, csr_array((ones, reached, starts), shape=shape))

    def average_precisions(self, counts: npt.NDArray[np.float32]) -> Floats:
        """AP [b] for counts [N, b]; NaN without positives."""
        gained = np.asarray(self.positives @ counts, dtype=np.float64)  # type: ignore[operator]
        right = gained.cumsum(axis=0)
        above = np.asarray(self.photos @ counts, dtype=np.float64).cumsum(axis=0)  # type: ignore[operator]
        area = (gained * right / np.maximum(above, 1)).sum(axis=0)
        total = gained.sum(axis=0)
        return np.divide(area, total, out=np.full(counts.shape[1], np.nan), where=total > 0)


# ---- one kind a photo


def recalls(scores: Scores, kinds: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Share of each kind's photos [C] for which it comes first; NaN for a kind without photos."""
    right = scores.argmax(axis=1) == kinds
    photos = np.bincount(kinds, minlength=scores.shape[1])
    hits = np.bincount(kinds[right], minlength=scores.shape[1])
    return np.divide(hits, photos, out=np.full(len(photos), np.nan), where=photos > 0)


def confusions(scores: Scores, kinds: npt.NDArray[np.integer]) -> list[tuple[int, int, int]]:
    """(kind, the kind it was taken for, times), the most frequent first."""
    found: dict[tuple[int, int], int] = {}
    for kind, taken in zip(kinds.tolist(), scores.argmax(axis=1).tolist(), strict=True):
        if kind != taken:
            found[kind, taken] = found.get((kind, taken), 0) + 1
    return sorted(((kind, taken, times) for (kind, taken), times in found.items()), key=lambda row: (-row[2], row))
