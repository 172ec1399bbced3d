"""Multi-label metrics: pure functions over scikit-learn. N photos, C tags."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating]
Labels = npt.NDArray[np.bool_]


def average_precisions(scores: Scores, labels: Labels) -> npt.NDArray[np.float64]:
    """AP of each tag [C] from scores and labels [N, C]; NaN for a tag without positives."""
    from sklearn.metrics import average_precision_score

    found = np.full(labels.shape[1], np.nan)
    for tag in np.flatnonzero(labels.any(axis=0)):
        found[tag] = average_precision_score(labels[:, tag], scores[:, tag])
    return found


def mean_average_precision(scores: Scores, labels: Labels) -> float:
    """Macro mAP: mean AP over the tags that have positives; NaN where none has."""
    found = average_precisions(scores, labels)
    return float(found[~np.isnan(found)].mean()) if not np.isnan(found).all() else float("nan")


@dataclass(frozen=True)
class Counts:
    """Precision, recall and F1 over all photo–tag pairs (micro)."""

    precision: float
    recall: float
    f1: float


def precision_recall_f1(scores: Scores, labels: Labels, threshold: float) -> Counts:
    """Micro precision, recall and F1 of the tags whose scores reach a threshold."""
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(
        labels.ravel(), scores.ravel() >= threshold, average="binary", zero_division=0.0
    )
    return Counts(float(precision), float(recall), float(f1))


def best_threshold(scores: Scores, labels: Labels) -> tuple[float, float]:
    """(threshold, F1): the one score that, as a threshold for all tags, gives the highest micro F1.

    Raises:
        ValueError: no label is positive.
    """
    from sklearn.metrics import precision_recall_curve

    if not labels.any():
        raise ValueError("no positive label")
    precision, recall, thresholds = precision_recall_curve(labels.ravel(), scores.ravel())
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1[:-1].argmax())
    return float(thresholds[best]), float(f1[best])
