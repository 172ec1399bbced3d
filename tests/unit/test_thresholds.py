"""Cuts against trying every cut there is; scores and thresholds on their relative scale."""

import math

import numpy as np
import pytest

from ramkit.measuring.thresholds import (
    NEVER,
    chances,
    common_cut_for_f,
    common_cut_for_tags,
    own_cuts_for_f,
    own_cuts_for_precision,
    relative,
    scores_at,
)

RNG = np.random.default_rng(0)
TIED = np.round(RNG.random((12, 3)), 1)
FREE = RNG.random((12, 3))
LABELS = RNG.random((12, 3)) < 0.4


def f_of(shown: np.ndarray, true: np.ndarray, beta: float) -> float:
    """From counts of labels, or of chances that stand for them."""
    hits = float(true[shown].sum())
    return (1 + beta**2) * hits / (beta**2 * float(true.sum()) + float(shown.sum()))


@pytest.mark.parametrize("p", [TIED, FREE], ids=["ties", "no ties"])
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_no_common_cut_has_a_higher_f(p: np.ndarray, beta: float) -> None:
    best = max(f_of(p >= cut, LABELS, beta) for cut in np.unique(p))
    assert f_of(p >= common_cut_for_f(p, LABELS, beta), LABELS, beta) == pytest.approx(best)


@pytest.mark.parametrize("p", [TIED, FREE], ids=["ties", "no ties"])
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_no_cut_of_a_tag_has_a_higher_expected_f(p: np.ndarray, beta: float) -> None:
    for column, cut in zip(p.T, own_cuts_for_f(p, beta), strict=True):
        best = max(f_of(column >= other, column, beta) for other in np.unique(column))
        assert f_of(column >= cut, column, beta) == pytest.approx(best, abs=0.02 if p is TIED else 1e-9)


@pytest.mark.parametrize("target", [0.3, 0.6, 0.8, 0.97])
def test_the_cut_for_a_precision_is_the_lowest_that_lets_expect_it(target: float) -> None:
    for column, cut in zip(FREE.T, own_cuts_for_precision(FREE, target), strict=True):
        enough = [other for other in column if column[column >= other].mean() >= target]
        assert cut == pytest.approx(min(enough) if enough else target)


@pytest.mark.parametrize("tags", [0.5, 1.0, 2.0, 2.5, 99.0])
def test_the_cut_for_tags_shows_that_many(tags: float) -> None:
    cut = common_cut_for_tags(FREE, tags)
    assert (cut <= FREE).sum() / 12 == pytest.approx(min(tags, 3.0))


def test_a_score_at_a_cut_has_that_chance() -> None:
    slopes, offsets, cuts = np.array([2.0, 0.5, 3.0]), np.array([-1.0, 0.3, 2.0]), np.array([0.1, 0.5, 0.9])
    found = scores_at(cuts, slopes, offsets)
    assert chances(found, slopes, offsets).tolist() == pytest.approx(cuts.tolist())
    z = [math.log(s / (1 - s)) for s in found]
    assert [1 / (1 + math.exp(-(a * x + b))) for a, x, b in zip(slopes, z, offsets, strict=True)] == pytest.approx(cuts)
    assert scores_at(np.array([0.9]), np.array([1.0]), np.array([-30.0]))[0] == NEVER


def test_relative_scores_are_the_formula() -> None:
    scores, thresholds = RNG.random(20), RNG.random(20)
    for s, t, found in zip(scores, thresholds, relative(scores, thresholds), strict=True):
        wanted = 1 / (1 + math.exp(-(math.log(s / (1 - s)) - math.log(t / (1 - t)))))
        assert found == pytest.approx(wanted)
        assert (found >= 0.5) == (s >= t)


def test_a_score_at_its_threshold_is_exactly_a_half() -> None:
    at = RNG.random(100).astype(np.float32)
    assert set(relative(at, at.astype(np.float64)).tolist()) == {0.5}


def test_tags_that_are_never_or_always_found() -> None:
    assert relative(np.array([0.3, 1.0, 0.0, 0.7]), np.array([1.0, 1.0, 0.0, 0.0])).tolist() == [0.0, 0.0, 1.0, 1.0]
    assert relative(np.array([0.0, 1.0]), np.array([0.5, 0.5])).tolist() == [0.0, 1.0]
