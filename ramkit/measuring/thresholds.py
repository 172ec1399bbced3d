"""Where a tag begins to count as found: cuts of its chance, chosen for an aim, and the scores they stand for.

All take chances p [N, C], as `ramkit.measuring.calibration` fits them. A cut is the least chance at which a tag is
shown; a tag that is shown by no photo at hand gets the cut at which it would be, so that it may be shown on others.
"""

import numpy as np
import numpy.typing as npt

from ramkit.measuring.calibration import Floats, Labels, logit, sigmoid

NEVER = 1.0  # a threshold that no score reaches
_HIGHEST = 1 - 1e-6  # scores above are rounded to 1 by the model's arithmetic


def common_cut_for_f(chances: Floats, labels: Labels, beta: float) -> float:
    """The cut for all tags with the highest micro F_β = (1 + β²) TP / (β² positives + shown) on the labels."""
    order = np.argsort(-chances, axis=None, kind="stable")
    values, hits = chances.ravel()[order], np.cumsum(labels.ravel()[order])
    shown = np.arange(1, len(values) + 1)
    f = (1 + beta**2) * hits / (beta**2 * labels.sum() + shown)
    f[:-1][values[:-1] == values[1:]] = -1.0  # a cut takes all that are as high or none
    return float(values[f.argmax()])


def common_cut_for_tags(chances: Floats, tags: float) -> float:
    """The cut for all tags at which a photo shows so many on average, or just more where chances are equal."""
    wanted = min(max(round(tags * len(chances)), 1), chances.size)
    return float(np.partition(chances, -wanted, axis=None)[-wanted])


def own_cuts_for_f(chances: Floats, beta: float) -> Floats:
    """[C]: each tag's cut with the highest F_β that its chances let expect; so their mean over tags is highest, too."""
    ordered = -np.sort(-chances, axis=0)
    shown = np.arange(1, len(ordered) + 1)[:, None]
    f = (1 + beta**2) * np.cumsum(ordered, axis=0) / (beta**2 * ordered.sum(axis=0) + shown)
    return ordered[f.argmax(axis=0), np.arange(ordered.shape[1])]


def own_cuts_for_precision(chances: Floats, target: float) -> Floats:
    """[C]: each tag's lowest cut at which its chances let expect that a share `target` of what is shown is right."""
    ordered = -np.sort(-chances, axis=0)
    expected = np.cumsum(ordered, axis=0) / np.arange(1, len(ordered) + 1)[:, None]
    enough = (expected >= target).sum(axis=0)  # the mean falls as more are shown
    lowest = ordered[np.maximum(enough - 1, 0), np.arange(ordered.shape[1])]
    return np.where(enough > 0, lowest, target)


def scores_at(cuts: Floats | float, slopes: Floats | float, offsets: Floats | float) -> Floats:
    """σ(z) at which σ(a z + b) is the cut; NEVER where no score that can be told from 1 gets there."""
    scores = sigmoid((logit(np.clip(cuts, 1e-12, 1 - 1e-12)) - offsets) / slopes)
    return np.where(scores > _HIGHEST, NEVER, scores)


def chances(scores: npt.NDArray[np.floating], slopes: Floats, offsets: Floats) -> Floats:
    """The chances σ(slope · logit s + offset) that scores s = σ(logit) stand for."""
    with np.errstate(divide="ignore"):  # 0 and 1 stay what they are
        return sigmoid(slopes * logit(scores.astype(np.float64)) + offsets)


def relative(scores: npt.NDArray[np.floating], thresholds: npt.NDArray[np.floating]) -> Floats:
    """σ(logit s − logit t): 0.5 exactly at the threshold; 0 for a tag that is never found, 1 for one that always is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = sigmoid(logit(scores.astype(np.float64)) - logit(thresholds.astype(np.float64)))
    return np.where(thresholds >= NEVER, 0.0, np.where(thresholds <= 0.0, 1.0, found))
