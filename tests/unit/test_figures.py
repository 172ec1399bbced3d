"""The figures of a report: each that of the metric it is named for, and fit for JSON."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from ramkit.measuring import metrics
from ramkit.measuring.figures import Sampling, difference, figures, groups_of, per_tag_csv
from ramkit.measuring.measured import Measured, Name


def measured(seed: int = 0, noise: float = 1.0) -> Measured:
    """Sixty photos; of five tags the last two are unknown, the third is true of none."""
    random = np.random.default_rng(0)
    labels = random.random((60, 5)) < [0.3, 0.5, 0.0, 0.2, 0.4]
    logits = 2.0 * labels - 1 + noise * np.random.default_rng(seed).normal(size=labels.shape)
    columns = [Name(f"tag, {number}", number if number < 3 else None, 0.3 + 0.1 * number) for number in range(5)]
    photos = [f"{number}.jpg" for number in range(60)]
    return Measured(photos, [[] for _ in photos], columns, logits.astype(np.float32), labels)


def test_each_figure_is_that_of_its_metric() -> None:
    given = measured()
    scores, labels = given.scores, given.labels
    found = figures(given, threshold=0.6, groups=groups_of(given), sampling=Sampling(50, 7))
    single = metrics.average_precisions(scores, labels)
    drawn = metrics.resampled_average_precisions(scores, labels, resamples=50, seed=7)
    best = metrics.pooled(scores, labels)
    wanted = {
        "mAP": np.nanmean(single),
        "mAP_in_vocabulary": single[:2].mean(),
        "mAP_open_set": single[3:].mean(),
        "mAP_micro": best.average_precision,
        "mAP_published": metrics.published_average_precisions(scores, labels).mean(),
        "top_1_accuracy": metrics.top_k_accuracy(scores, labels, 1),
        "threshold": 0.6,
        "f1": metrics.precision_recall_f1(scores, labels, 0.6).f1,
        "best_threshold": best.threshold,
        "best_f1": best.f1,
    }
    assert {name: found.values[name] for name in wanted} == pytest.approx(wanted)
    assert "top_5_accuracy" not in found.values, "one of five tags is always among five"
    assert found.values["intervals"]["mAP_open_set"] == pytest.approx(
        metrics.interval(drawn[:, 3:].mean(axis=1), float(single[3:].mean()))
    )
    at = {row["thresholds"]: row for row in found.values["at"]}
    own = metrics.precision_recall_f1(scores, labels, given.thresholds)
    assert (at["per tag"]["f1"], at["per tag"]["macro_recall"]) == pytest.approx((own.f1, own.macro_recall))
    assert at["best"]["f1"] == pytest.approx(max(row["f1"] for name, row in at.items() if name in ("given", "best")))
    assert at["best per tag"]["macro_f1"] == pytest.approx(max(row["macro_f1"] for row in at.values()))
    row = found.per_tag[3]
    assert (row["tag"], row["in_vocabulary"], row["positives"]) == ("tag, 3", False, labels[:, 3].sum())
    assert row["recall"] == pytest.approx(float((scores[labels[:, 3], 3] >= np.float32(0.6)).mean()))
    json.dumps([found.values, found.per_tag], allow_nan=False)


def test_without_a_threshold_the_best_is_given() -> None:
    given = measured()
    found = figures(given, threshold=None, groups=groups_of(given), sampling=Sampling(0)).values
    assert found["threshold"] == found["best_threshold"]
    assert found["f1"] == pytest.approx(found["best_f1"])
    assert "intervals" not in found


def test_what_cannot_be_averaged_is_none() -> None:
    given = measured()
    found = figures(
        given,
        threshold=0.5,
        groups={"in_vocabulary": np.zeros(5, dtype=bool), "open_set": np.ones(5, dtype=bool)},
        sampling=Sampling(20),
    )
    assert found.values["mAP_in_vocabulary"] is None
    assert found.values["intervals"]["mAP_in_vocabulary"] is None
    assert found.values["mAP_open_set"] == found.values["mAP"]
    assert (found.per_tag[2]["ap"], found.per_tag[2]["ap_interval"], found.per_tag[2]["best_threshold"]) == (
        None, None, None
    )  # fmt: skip


def test_the_difference_of_two_models_is_surer_than_each() -> None:
    one, other = (
        figures(given, threshold=0.5, groups=groups_of(given), sampling=Sampling(300))
        for given in (measured(noise=1.0), measured(noise=1.2))
    )
    found = difference(one, other)
    assert found["mAP"] == pytest.approx(one.values["mAP"] - other.values["mAP"])
    low, high = found["mAP_interval"]
    assert low < found["mAP"] < high
    ends = one.values["intervals"]["mAP"]
    assert high - low < ends[1] - ends[0]
    same = difference(one, one)
    assert (same["mAP"], same["mAP_interval"]) == (0, [0, 0])


def test_no_interval_leaves_what_a_figure_can_be() -> None:
    labels = np.zeros((40, 2), dtype=bool)
    labels[:2, 0] = labels[:39, 1] = True
    logits = np.linspace(2, -2, 80, dtype=np.float32).reshape(40, 2)
    logits[1, 0] = -1.5  # the second of two positives comes late
    columns = [Name("rare", 0, 0.5), Name("common", 1, 0.5)]
    given = Measured(["1.jpg"] * 40, [[]] * 40, columns, logits, labels)
    found = figures(given, threshold=0.5, groups=groups_of(given), sampling=Sampling(500))
    free = metrics.interval(found.resampled[:, 0], float(found.average_precisions[0]))
    assert max(free) > 1, "moved as it is, it would"
    for row in found.per_tag:
        low, high = row["ap_interval"]
        assert 0 <= low <= row["ap"] <= high <= 1
    worse = figures(replace(given, logits=-logits), threshold=0.5, groups=groups_of(given), sampling=Sampling(500))
    assert difference(worse, found)["mAP_interval"][0] < 0


def test_the_table_has_a_row_a_tag() -> None:
    given = measured()
    rows = figures(given, threshold=0.5, groups=groups_of(given), sampling=Sampling(20)).per_tag
    read = list(csv.DictReader(io.StringIO(per_tag_csv(rows))))
    assert [row["tag"] for row in read] == given.names
    assert (read[2]["ap"], read[2]["ap_low"]) == ("", "")
    assert float(read[0]["ap_low"]) < float(read[0]["ap"]) < float(read[0]["ap_high"])


def test_names_known_by_an_alias_are_told_apart_both_ways() -> None:
    given = measured()
    columns = [replace(column, by_alias=column.name == "tag, 1") for column in given.columns]
    found = figures(
        replace(given, columns=columns), threshold=0.5, groups=groups_of(replace(given, columns=columns)),
        sampling=Sampling(20),
    )  # fmt: skip
    single = metrics.average_precisions(given.scores, given.labels)
    assert found.values["mAP_in_vocabulary"] == pytest.approx(single[:2].mean())
    assert found.values["mAP_in_vocabulary_by_name"] == pytest.approx(single[0])
    assert found.values["mAP_not_by_name"] == pytest.approx(single[[1, 3, 4]].mean())
    assert len(found.values["intervals"]["mAP_not_by_name"]) == 2
