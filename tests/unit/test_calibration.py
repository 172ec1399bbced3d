"""Platt's lines and their shrinkage, against loops that follow the formulas of the module's docstring."""

import math

import numpy as np
import pytest

from ramkit.measuring.calibration import Lines, fit_lines, logit, sigmoid
from ramkit.measuring.reliability import reliability


def drawn(positives: list[float], photos: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of tags whose true lines are slope 2 and such offsets."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1.0, 1.0, (photos, len(positives)))
    return z, rng.random(z.shape) < sigmoid(2.0 * z + np.array(positives))


def slow_fit(z: np.ndarray, y: np.ndarray, rounds: int = 60) -> tuple[list[list[float]], list[float], np.ndarray]:
    """(lines (log a, b) of each tag, μ, Σ) by one Newton step a round, tag by tag and photo by photo."""
    tags = z.shape[1]
    mean = y.mean()
    theta = [[0.0, math.log(mean / (1 - mean))] for _ in range(tags)]
    centre, spread = list(theta[0]), np.diag([0.5, 4.0])
    for _ in range(rounds):
        precision = np.linalg.inv(spread)
        variances = []
        moved = []
        for i in range(tags):
            information, gradient = np.zeros((2, 2)), np.zeros(2)
            for score, true in zip(z[:, i], y[:, i], strict=True):
                x = math.exp(theta[i][0]) * score
                p = 1 / (1 + math.exp(-(x + theta[i][1])))
                direction = np.array([x, 1.0])
                information += p * (1 - p) * np.outer(direction, direction)
                gradient += (true - p) * direction
            variance = np.linalg.inv(information + precision)
            step = variance @ (gradient - precision @ (np.array(theta[i]) - centre))
            step *= min(1.0, 1.0 / max(abs(step).max(), 1e-12))
            variances.append(variance)
            moved.append((np.array(theta[i]) + step).tolist())
        theta = moved
        centre = np.mean(theta, axis=0).tolist()
        around = [np.array(line) - centre for line in theta]
        spread = np.mean([np.outer(a, a) + v for a, v in zip(around, variances, strict=True)], axis=0)
    return theta, centre, spread


def test_the_fit_is_that_of_a_slow_loop() -> None:
    z, y = drawn([-3.0, -1.0, 0.5, -4.0], photos=60)
    found = fit_lines(z, y)
    lines, centre, spread = slow_fit(z, y)
    assert np.log(found.slopes) == pytest.approx([line[0] for line in lines], abs=0.01)
    assert found.offsets == pytest.approx([line[1] for line in lines], abs=0.02)
    assert (math.log(found.common[0]), found.common[1]) == pytest.approx(tuple(centre), abs=0.02)
    assert found.spread == pytest.approx((math.sqrt(spread[0, 0]), math.sqrt(spread[1, 1])), abs=0.02)


def test_one_tag_alone_is_plain_platt_scaling() -> None:
    from sklearn.linear_model import LogisticRegression

    z, y = drawn([-2.0], photos=2000)
    plain = LogisticRegression(C=np.inf).fit(z, y[:, 0])
    found = fit_lines(z, y)
    assert float(found.slopes[0]) == pytest.approx(float(plain.coef_[0, 0]), rel=0.02)
    assert float(found.offsets[0]) == pytest.approx(float(plain.intercept_[0]), rel=0.02)


def test_a_rare_tag_is_drawn_to_the_others_and_a_common_one_is_not() -> None:
    from sklearn.linear_model import LogisticRegression

    z, y = drawn([-2.0] * 12 + [1.0], photos=1500)
    y[:, 0] = False
    y[z[:, 0].argmax(), 0] = True  # a single photo
    found = fit_lines(z, y)
    assert found.shrinkage[0] == found.shrinkage.max()
    assert found.shrinkage[0] > 0.1
    assert found.shrinkage[1:].max() < 0.1
    alone = LogisticRegression(C=np.inf).fit(z[:, -1:], y[:, -1])
    assert float(found.offsets[-1]) == pytest.approx(float(alone.intercept_[0]), abs=0.15)
    assert found.slopes[0] == pytest.approx(found.common[0], rel=0.5)


def test_tags_that_separate_or_have_no_positives_stay_finite() -> None:
    z, y = drawn([-2.0] * 5, photos=200)
    y[:, 0], y[:, 1] = z[:, 0] > 0, False
    found = fit_lines(z, y)
    assert np.isfinite(found.slopes).all()
    assert np.isfinite(found.offsets).all()
    assert (found.slopes > 0).all()
    assert found.offsets[1] < found.offsets[2:].min()
    alone = fit_lines(z[:, :1], y[:, :1])
    assert np.isfinite([*alone.common, *alone.spread]).all()


def test_chances_are_better_than_scores_on_other_photos() -> None:
    z, y = drawn([-3.0, -2.0, -1.0, 0.0] * 4, photos=1000)
    found = fit_lines(z[:500], y[:500])
    before, after = reliability(sigmoid(z[500:]), y[500:]), reliability(found.chances(z[500:]), y[500:])
    assert after.ece < 0.02 < before.ece
    assert after.brier < before.brier


@pytest.mark.parametrize("value", [True, False])
def test_labels_that_are_all_alike_cannot_be_fitted(value: bool) -> None:
    with pytest.raises(ValueError, match="all alike"):
        fit_lines(np.zeros((3, 2)), np.full((3, 2), value))


def test_chances_follow_the_line() -> None:
    lines = Lines(np.array([2.0, 0.5]), np.array([-1.0, 3.0]), (1.0, 0.0), (0.0, 0.0), np.zeros(2))
    found = lines.chances(np.array([[0.5, -1.0]], dtype=np.float32))
    assert found[0].tolist() == pytest.approx([1 / (1 + math.exp(0.0)), 1 / (1 + math.exp(-2.5))])


def test_the_sigmoid_and_its_inverse_do_not_overflow() -> None:
    x = np.array([-800.0, -5.0, 0.0, 5.0, 800.0])
    assert sigmoid(x).tolist() == pytest.approx([0.0, 1 / (1 + math.exp(5)), 0.5, 1 / (1 + math.exp(-5)), 1.0])
    assert logit(sigmoid(x[1:4])).tolist() == pytest.approx(x[1:4].tolist())


def test_reliability_against_a_loop_over_pairs() -> None:
    rng = np.random.default_rng(1)
    p, y = rng.random((50, 4)), rng.random((50, 4)) < 0.3
    p[0, 0] = 1.0
    inside: dict[int, list[tuple[float, bool]]] = {}
    for score, true in zip(p.ravel(), y.ravel(), strict=True):
        inside.setdefault(min(int(score * 10), 9), []).append((score, true))
    ece = sum(abs(sum(s - t for s, t in pairs)) for pairs in inside.values()) / 200
    found = reliability(p, y, bins=10)
    assert found.ece == pytest.approx(ece)
    assert found.brier == pytest.approx(sum((s - t) ** 2 for s, t in zip(p.ravel(), y.ravel(), strict=True)) / 200)
    assert found.pairs == [len(inside[number]) for number in sorted(inside)]
    assert found.claimed == pytest.approx([np.mean([s for s, _ in inside[number]]) for number in sorted(inside)])
    assert found.true == pytest.approx([np.mean([t for _, t in inside[number]]) for number in sorted(inside)])
    assert reliability(y.astype(float), y).ece == 0.0
