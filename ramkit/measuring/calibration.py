"""From scores to chances: Platt's line a tag, rare tags drawn towards all others by empirical Bayes.

    p_i(z) = σ(a_i z + b_i)        the chance that tag i is true of a photo where its logit is z
    (log a_i, b_i) ~ N(μ, Σ)       what tags have in common

μ and Σ are fitted to all tags together by expectation maximisation with Laplace's approximation: each tag's line θ_i is
the maximum of its likelihood times the prior, V_i the inverse of its Fisher information with the prior's, and

    μ = mean_i θ_i,    Σ = mean_i ((θ_i − μ)(θ_i − μ)ᵀ + V_i)

So a tag with many positives keeps its own line, θ_i ≈ V_i (I_i θ̂_i + Σ⁻¹ μ) with its own maximum θ̂_i and information
I_i, and one with few takes that of all, μ, which also stands for words without any data. Platt (1999), "Probabilistic
outputs for support vector machines"; for the prior see Gelman et al., "Bayesian Data Analysis", chapter 5.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]

_ROUNDS = 60
_STILL = 1e-4  # largest change of a line in a round at which the fit has settled
_LARGEST_STEP = 1.0
_BOUNDS = np.array([[-3.0, 3.0], [-30.0, 30.0]])  # of log a and b: reached only where positives and negatives separate
_LEAST_SPREAD = 1e-3  # of Σ's diagonal: with one tag there is none


@dataclass(frozen=True)
class Lines:
    """Fitted lines of C tags, and that of words without data."""

    slopes: Floats  # a [C], above 0
    offsets: Floats  # b [C]
    common: tuple[float, float]  # (exp μ_a, μ_b)
    spread: tuple[float, float]  # standard deviations of log a and b among tags
    shrinkage: Floats  # [C], share of the prior in the offset: 0 a tag's own data, 1 all others'

    def chances(self, logits: npt.NDArray[np.floating]) -> Floats:
        """p [N, C] of logits [N, C]."""
        return sigmoid(logits.astype(np.float64) * self.slopes + self.offsets)


def fit_lines(logits: npt.NDArray[np.floating], labels: Labels) -> Lines:
    """Lines of C tags from logits and labels [N, C].

    Raises:
        ValueError: no label is positive, or all are.
    """
    if all_alike(labels):
        raise ValueError("labels are all alike")
    z, y = logits.astype(np.float64), labels.astype(np.float64)
    tags = z.shape[1]
    theta = np.tile([0.0, logit(np.array(y.mean()))], (tags, 1))  # [C, 2]: log a, b
    centre, spread = theta.mean(axis=0), np.diag([0.5, 4.0])
    for _ in range(_ROUNDS):
        information, gradient = _curvature(z, y, theta)
        precision = np.linalg.inv(spread)
        variance = np.linalg.inv(information + precision)  # V [C, 2, 2]
        step = np.einsum("cij,cj->ci", variance, gradient - (theta - centre) @ precision)
        step *= np.minimum(1.0, _LARGEST_STEP / np.abs(step).max(axis=1, keepdims=True).clip(1e-12))
        moved = np.clip(theta + step, *_BOUNDS.T)
        change = float(np.abs(moved - theta).max())
        theta = moved
        centre = theta.mean(axis=0)
        around = theta - centre
        spread = (np.einsum("ci,cj->cij", around, around) + variance).mean(axis=0)
        spread += np.diag(np.maximum(_LEAST_SPREAD - np.diag(spread), 0.0))
        if change < _STILL:
            break
    return Lines(
        np.exp(theta[:, 0]),
        theta[:, 1],
        (float(np.exp(centre[0])), float(centre[1])),
        (float(np.sqrt(spread[0, 0])), float(np.sqrt(spread[1, 1]))),
        np.clip(np.einsum("cij,jk->cik", variance, precision)[:, 1, 1], 0.0, 1.0),
    )


def all_alike(labels: Labels) -> bool:
    """Whether no label is positive, or every one: nothing can be fitted to them."""
    return bool(not labels.any() or labels.all())


def sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))  # does not overflow


def logit(p: Floats) -> Floats:
    return np.log(p) - np.log1p(-p)


def _curvature(z: Floats, y: Floats, theta: Floats) -> tuple[Floats, Floats]:
    """Fisher information [C, 2, 2] and gradient [C, 2] of each tag's log-likelihood in (log a, b)."""
    x = z * np.exp(theta[:, 0])
    p = sigmoid(x + theta[:, 1])
    weight, miss = p * (1 - p), y - p
    cross = (weight * x).sum(axis=0)
    rows = [(weight * x * x).sum(axis=0), cross, cross, weight.sum(axis=0)]
    return np.stack(rows, axis=-1).reshape(-1, 2, 2), np.stack([(miss * x).sum(axis=0), miss.sum(axis=0)], axis=-1)
