"""Metrics against their definitions, counted out."""

import numpy as np
import pytest

from ramkit.measuring.metrics import (
    average_precisions,
    best_threshold,
    best_thresholds,
    confusions,
    interval,
    mean_average_precision,
    per_tag_precision_recall_f1,
    pooled,
    precision_recall_f1,
    published_average_precisions,
    recalls,
    resampled_average_precisions,
    resampled_f1,
    top_k_accuracy,
)


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


@pytest.mark.parametrize("levels", [2, 10, 1000])
def test_pooled_figures_are_those_of_all_pairs_as_one_ranking(levels: int) -> None:
    scores, labels = drawn(12, 5, seed=levels, levels=levels)
    found = pooled(scores, labels)
    assert found.average_precision == pytest.approx(slow_average_precision(scores.ravel(), labels.ravel()))
    assert (found.threshold, found.f1) == best_threshold(scores, labels)


@pytest.mark.parametrize("tags", [1, 5])
def test_each_tag_may_have_a_threshold_of_its_own(tags: int) -> None:
    scores, labels = drawn(30, tags, seed=2, levels=10)
    labels[:, tags // 2] = tags == 1 and labels[:, 0]
    thresholds = np.linspace(0.3, 0.8, tags)
    alone = np.array([slow_f1(scores[:, tag], labels[:, tag], thresholds[tag]) for tag in range(tags)])
    np.testing.assert_allclose(per_tag_precision_recall_f1(scores, labels, thresholds), alone.T)
    found = precision_recall_f1(scores, labels, thresholds)
    there = labels.any(axis=0)
    assert (found.macro_precision, found.macro_recall, found.macro_f1) == pytest.approx(
        tuple(alone[there].mean(axis=0))
    )
    shifted = scores - thresholds
    assert (found.precision, found.recall, found.f1) == pytest.approx(slow_f1(shifted, labels, 0.0))


def test_nothing_told_and_nothing_true_are_zero_not_an_error() -> None:
    scores, labels = drawn(10, 3, seed=0)
    for given, threshold in ((labels, 2.0), (np.zeros_like(labels), 0.0)):
        found = precision_recall_f1(scores, given, threshold)
        assert (found.f1, found.macro_f1) == (0, 0)


def test_the_best_threshold_of_each_tag_is_its_own() -> None:
    scores, labels = drawn(15, 4, seed=3, levels=10)
    labels[:, 1] = False
    thresholds, f1 = best_thresholds(scores, labels)
    assert np.isnan([thresholds[1], f1[1]]).all()
    for tag in (0, 2, 3):
        assert (thresholds[tag], f1[tag]) == best_threshold(scores[:, [tag]], labels[:, [tag]])


def test_top_k_counts_photos_with_a_label_among_their_highest() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7], [0.3, 0.2, 0.1], [0.1, 0.2, 0.3]])
    labels = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [1, 1, 0]], dtype=bool)
    assert [top_k_accuracy(scores, labels, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 1, 1])
    assert np.isnan(top_k_accuracy(scores, np.zeros_like(labels), 1))


# ---- as published


def slow_published(scores: np.ndarray, labels: np.ndarray) -> float:
    """Precision at each hit, going down the ranking that numpy's default sort gives, reversed."""
    hits, found = 0, 0.0
    for place, photo in enumerate(reversed(np.argsort(scores).tolist()), start=1):
        if labels[photo]:
            hits += 1
            found += hits / place
    return found / (hits + 1e-8)


@pytest.mark.parametrize("levels", [3, 1000])
def test_the_published_metric_breaks_ties_by_chance_and_counts_tags_without_positives(levels: int) -> None:
    scores, labels = drawn(200, 6, seed=1, levels=levels)
    labels[:, 4] = False
    found = published_average_precisions(scores, labels)
    np.testing.assert_allclose(found, [slow_published(scores[:, tag], labels[:, tag]) for tag in range(6)])
    assert found[4] == 0
    own = average_precisions(scores, labels)
    with_positives = [0, 1, 2, 3, 5]
    agree = np.allclose(found[with_positives], own[with_positives], atol=1e-6)
    distinct = all(len(set(scores[:, tag])) == 200 for tag in range(6))
    assert agree == distinct


def test_without_ties_the_published_metric_is_average_precision() -> None:
    scores = np.random.default_rng(0).permuted(np.tile(np.arange(50.0), (4, 1)), axis=1).T
    labels = drawn(50, 4, seed=2)[1]
    np.testing.assert_allclose(published_average_precisions(scores, labels), average_precisions(scores, labels))


# ---- resampling


def photos_drawn(photos: int, seed: int, number: int) -> np.ndarray:
    return np.random.default_rng([seed, number]).integers(0, photos, photos)


@pytest.mark.parametrize("levels", [3, 10, 1000])
def test_resampling_is_the_metric_on_photos_drawn_anew(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ramkit.measuring.metrics._RESAMPLES_AT_ONCE", 3)
    scores, labels = drawn(40, 5, seed=levels, levels=levels)
    labels[:, 1] = False
    labels[:, 2] = np.arange(40) == 7  # one positive, which many resamples lose
    found = resampled_average_precisions(scores, labels, resamples=8, seed=5)
    f1 = resampled_f1(scores, labels, 0.4, resamples=8, seed=5)
    for number in range(8):
        chosen = photos_drawn(40, 5, number)
        wanted = average_precisions(scores[chosen], labels[chosen])
        np.testing.assert_allclose(found[number], wanted)
        assert f1[number] == pytest.approx(precision_recall_f1(scores[chosen], labels[chosen], 0.4).f1)
    assert np.isnan(found[:, 1]).all()
    assert 0 < np.isnan(found[:, 2]).sum() < 8


def test_equal_seeds_draw_equal_photos() -> None:
    scores, labels = drawn(40, 3, seed=0)
    one, same, other = (resampled_average_precisions(scores, labels, resamples=4, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)
    longer = resampled_average_precisions(scores, labels, resamples=200, seed=1)
    np.testing.assert_array_equal(longer[:4], one)


def test_an_interval_lies_around_the_estimate() -> None:
    values = np.append(np.linspace(0, 1, 1001), np.nan)
    assert interval(values, 0.5) == pytest.approx((0.025, 0.975))
    assert interval(values, 0.4) == pytest.approx((-0.075, 0.875))


def test_intervals_hold_the_mean_of_other_photos_as_often_as_they_say() -> None:
    random = np.random.default_rng(3)

    def photos() -> tuple[np.ndarray, np.ndarray]:
        labels = random.random((200, 4)) < [0.05, 0.1, 0.2, 0.3]
        return random.normal(size=(200, 4)) + 1.5 * labels, labels

    wanted = np.mean([mean_average_precision(*photos()) for _ in range(150)])
    held = 0
    for _ in range(60):
        scores, labels = photos()
        values = np.nanmean(resampled_average_precisions(scores, labels, resamples=100), axis=1)
        low, high = interval(values, mean_average_precision(scores, labels))
        held += low <= wanted <= high
    assert 50 <= held <= 60


def test_recalls_and_confusions_of_one_kind_a_photo() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    kinds = np.array([0, 1, 0, 0, 1])
    found = recalls(scores, kinds)
    assert found[:2].tolist() == [1 / 3, 1 / 2]
    assert np.isnan(found[2]), "no photo"
    assert confusions(scores, kinds) == [(0, 1, 2), (1, 0, 1)]
