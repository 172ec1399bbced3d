"""How far scores are from chances: reliability in bins, ECE and the Brier score."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Of scores that claim to be chances; bins without a score are left out."""

    ece: float  # expected calibration error: mean over pairs of |share that is true − mean score| in their bin
    brier: float  # mean squared distance of score and truth
    claimed: list[float]  # mean score of each bin
    true: list[float]  # share that is true
    pairs: list[int]  # photo–tag pairs


def reliability(scores: npt.NDArray[np.floating], labels: npt.NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Reliability of scores in [0, 1] in bins of equal width, all photo–tag pairs together."""
    p, y = scores.ravel().astype(np.float64), labels.ravel()
    place = np.minimum((p * bins).astype(int), bins - 1)
    pairs = np.bincount(place, minlength=bins)
    used = pairs > 0
    claimed = np.bincount(place, p, bins)[used] / pairs[used]
    true = np.bincount(place, y, bins)[used] / pairs[used]
    ece = float((pairs[used] * np.abs(claimed - true)).sum() / len(p))
    return Reliability(ece, float(np.mean((p - y) ** 2)), claimed.tolist(), true.tolist(), pairs[used].tolist())
