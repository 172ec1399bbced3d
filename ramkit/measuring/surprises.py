"""What one looks at by eye: names that are taken for others, and photos that are told well, badly or surprisingly."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ramkit.measuring.measured import Measured

_FEWEST = 3  # photos of a confusion


@dataclass(frozen=True)
class Confusion:
    """Where `true` is true, `told` is told wrongly."""

    true: str
    told: str
    photos: int  # in so many
    share: float  # of the photos of `true` that are not of `told`
    at_large: float  # share among all photos that are of neither, 0 where there are none


@dataclass(frozen=True)
class Choice:
    """Photos by their positions in a measurement, the clearest first."""

    best: list[int]
    worst: list[int]
    surprising: list[int]


def confusions(measured: Measured, most: int = 20) -> list[Confusion]:
    """Pairs told most surprisingly often, k times where e are expected if the first did not matter: (k - e) / √(e + 1).

    e is formed with all photos that are not of the second: where the first is true of nearly all, the others are too
    few to tell what is usual.
    """
    from scipy.sparse import csr_matrix

    wrong = _wrong(measured)
    true = csr_matrix(measured.labels.astype(np.float32))
    together = (true.T @ csr_matrix(wrong.astype(np.float32))).tocoo()  # [C, C]: photos where i is true, j told wrongly
    kept = together.data >= _FEWEST
    if not kept.any():
        return []
    i, j, photos = together.row[kept], together.col[kept], together.data[kept].astype(np.int64)
    both = np.asarray((true.T @ true).tocsr()[i, j]).ravel().astype(np.int64)
    counts, wrongly = measured.labels.sum(axis=0), wrong.sum(axis=0)
    of_true = counts[i] - both  # only where j is not true can it be told wrongly
    others = len(measured.photos) - counts[i] - counts[j] + both
    at_large = (wrongly[j] - photos) / np.maximum(others, 1)
    expected = of_true * wrongly[j] / (len(measured.photos) - counts[j])
    surprise = (photos - expected) / np.sqrt(expected + 1)
    order = [n for n in np.argsort(-surprise, kind="stable")[:most] if surprise[n] > 0]
    return [
        Confusion(measured.names[i[n]], measured.names[j[n]], int(photos[n]), photos[n] / of_true[n], at_large[n])
        for n in order
    ]


def choose(measured: Measured, each: int = 3) -> Choice:
    """Photos for a gallery, none twice.

    Surprising: a name is told wrongly, or missed, by the widest margin of logits. Best and worst: by the average
    precision of the photo's own ranking of names, ties by how many names are true of it.
    """
    ranked = _photo_precision(measured)
    labelled = np.flatnonzero(~np.isnan(ranked))
    wrongness = np.where(measured.labels, -1, 1) * margins(measured)  # above 0 on the wrong side
    furthest = wrongness.max(axis=1)
    surprising = [int(n) for n in np.argsort(-furthest, kind="stable") if furthest[n] > 0][:each]
    many = measured.labels.sum(axis=1)
    order = [int(n) for n in labelled[np.lexsort((-many[labelled], -ranked[labelled]))] if n not in surprising]
    best = order[: min(each, len(order) // 2)]
    worst = [n for n in reversed(order) if n not in best and ranked[n] < 1.0][:each]
    return Choice(best, worst, surprising)


def _wrong(measured: Measured) -> npt.NDArray[np.bool_]:
    """[N, C], told and not true."""
    found: npt.NDArray[np.bool_] = told(measured) & ~measured.labels
    return found


def least_logits(measured: Measured) -> npt.NDArray[np.float64]:
    """[C], the thresholds on the scale of the logits; infinite where a name is never told, NaN without a threshold."""
    least = measured.thresholds.astype(np.float64)
    if measured.scale == "cosine":
        return least
    with np.errstate(divide="ignore"):
        found: npt.NDArray[np.float64] = np.log(least) - np.log1p(-least)
    return found


def told(measured: Measured) -> npt.NDArray[np.bool_]:
    """[N, C], where a name's score reaches its threshold."""
    found: npt.NDArray[np.bool_] = (measured.scores >= measured.thresholds) & ~np.isposinf(least_logits(measured))
    return found


def margins(measured: Measured) -> npt.NDArray[np.float64]:
    """[N, C], logit of a score less that of its threshold; of names that are never told, less the highest there is."""
    least = least_logits(measured)
    finite = least[np.isfinite(least)]
    highest, lowest = (finite.max(), finite.min()) if finite.size else (0.0, 0.0)
    return measured.logits.astype(np.float64) - np.nan_to_num(least, nan=highest, posinf=highest, neginf=lowest)


def _photo_precision(measured: Measured) -> npt.NDArray[np.float64]:
    """[N], average precision of each photo's names by margin over their thresholds; NaN where none is true."""
    order = np.argsort(-margins(measured), axis=1, kind="stable")
    hits = np.take_along_axis(measured.labels, order, axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    counts = hits.sum(axis=1)
    return np.where(counts > 0, (precision * hits).sum(axis=1) / np.maximum(counts, 1), np.nan)
