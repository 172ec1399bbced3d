"""Metrics against their definitions, counted out."""

import numpy as np
import pytest

from ramkit.metrics import average_precisions, best_threshold, mean_average_precision, precision_recall_f1


def drawn(photos: int, tags: int, seed: int, levels: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """(scores, labels); few levels make ties."""
    random = np.random.default_rng(seed)
    scores = random.integers(0, levels, (photos, tags)) / levels
    return scores, random.random((photos, tags)) < 0.3


def slow_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Σ (recall gained) · precision, score by score from above; photos of one score come in together."""
    found, total = 0.0, int(labels.sum())
    for score in sorted(set(scores.tolist()), reverse=True):
        above = [bool(label) for value, label in zip(scores, labels, strict=True) if value >= score]
        gained = sum(bool(label) for value, label in zip(scores, labels, strict=True) if value == score)
        found += gained / total * sum(above) / len(above)
    return found


def slow_f1(scores: np.ndarray, labels: np.ndarray, threshold: float) -> tuple[float, float, float]:
    right = wrong = missed = 0
    for score, label in zip(scores.ravel(), labels.ravel(), strict=True):
        right += score >= threshold and bool(label)
        wrong += score >= threshold and not label
        missed += score < threshold and bool(label)
    precision = right / (right + wrong) if right + wrong else 0.0
    recall = right / (right + missed) if right + missed else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0


@pytest.mark.parametrize("levels", [3, 10, 1000])
def test_average_precision_is_the_area_even_with_ties(levels: int) -> None:
    scores, labels = drawn(30, 6, seed=levels, levels=levels)
    wanted = [slow_average_precision(scores[:, tag], labels[:, tag]) for tag in range(6)]
    np.testing.assert_allclose(average_precisions(scores, labels), wanted)


def test_a_tag_without_positives_has_no_average_precision_and_does_not_count() -> None:
    scores, labels = drawn(20, 4, seed=0)
    labels[:, 2] = False
    labels[:, 3] = True
    found = average_precisions(scores, labels)
    assert np.isnan(found).tolist() == [False, False, True, False]
    assert found[3] == pytest.approx(1)
    assert mean_average_precision(scores, labels) == pytest.approx(found[[0, 1, 3]].mean())
    assert np.isnan(mean_average_precision(scores, np.zeros_like(labels)))


def test_scores_in_perfect_order_have_a_map_of_one() -> None:
    labels = drawn(20, 4, seed=0)[1]
    assert mean_average_precision(labels + 0.5, labels) == pytest.approx(1)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.999, 2.0])
def test_precision_recall_and_f1_are_counted_over_all_pairs(threshold: float) -> None:
    scores, labels = drawn(30, 6, seed=1, levels=10)
    found = precision_recall_f1(scores, labels, threshold)
    assert (found.precision, found.recall, found.f1) == pytest.approx(slow_f1(scores, labels, threshold))


@pytest.mark.parametrize("levels", [2, 10, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_is_better_than_the_best(levels: int, seed: int) -> None:
    scores, labels = drawn(12, 5, seed=seed, levels=levels)
    threshold, f1 = best_threshold(scores, labels)
    assert f1 == pytest.approx(max(slow_f1(scores, labels, score)[2] for score in scores.ravel()))
    assert f1 == pytest.approx(precision_recall_f1(scores, labels, threshold).f1), "what reaches it is told"
    assert threshold in scores


def test_the_best_threshold_of_single_precision_scores_selects_the_same_tags() -> None:
    scores = np.array([[0.1, 0.7], [0.3, 0.2]], dtype=np.float32)
    labels = np.array([[False, True], [True, False]])
    threshold, f1 = best_threshold(scores, labels)
    assert f1 == 1
    assert threshold == float(np.float32(0.3))
    assert precision_recall_f1(scores, labels, threshold).f1 == 1


def test_without_positives_there_is_no_best_threshold() -> None:
    with pytest.raises(ValueError, match="no positive label"):
        best_threshold(np.ones((2, 2)), np.zeros((2, 2), dtype=bool))
