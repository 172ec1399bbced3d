"""Names taken for others and photos for a gallery, against loops over photos."""

import math

import numpy as np
import pytest

from ramkit.measuring.measured import Measured, Name
from ramkit.measuring.surprises import choose, confusions, least_logits, margins, told


def measured(logits: np.ndarray, labels: np.ndarray, thresholds: list[float | None], **options: str) -> Measured:
    names = [f"n{number}" for number in range(labels.shape[1])]
    columns = [Name(name, None, threshold) for name, threshold in zip(names, thresholds, strict=True)]
    true = [[names[i] for i in np.flatnonzero(row)] for row in labels]
    photos = [f"{number}.jpg" for number in range(len(labels))]
    return Measured(photos, true, columns, logits.astype(np.float32), labels, **options)


@pytest.fixture
def drawn() -> Measured:
    rng = np.random.default_rng(0)
    labels = rng.random((120, 6)) < 0.3
    logits = rng.normal(0, 1, (120, 6)) + 2.0 * labels
    logits[labels[:, 0], 1] += 2.0  # n0 is taken for n1
    return measured(logits, labels, [0.5, 0.6, 0.7, 1.0, 0.8, 0.55])


def test_what_is_told_reaches_its_threshold(drawn: Measured) -> None:
    for photo in range(120):
        for name in range(6):
            score = 1 / (1 + math.exp(-drawn.logits[photo, name]))
            at = drawn.columns[name].threshold
            assert told(drawn)[photo, name] == (at < 1 and score >= at)
            if at < 1:
                wanted = drawn.logits[photo, name] - math.log(at / (1 - at))
                assert margins(drawn)[photo, name] == pytest.approx(wanted, abs=1e-5)
    assert np.isfinite(margins(drawn)).all()
    assert least_logits(drawn)[3] == np.inf


def test_confusions_against_loops(drawn: Measured) -> None:
    shown, wanted = told(drawn), []
    for i in range(6):
        for j in range(6):
            inside = [n for n in range(120) if drawn.labels[n, i] and not drawn.labels[n, j]]
            outside = [n for n in range(120) if not drawn.labels[n, i] and not drawn.labels[n, j]]
            photos = sum(shown[n, j] for n in inside)
            if i == j or photos < 3:
                continue
            at_large = sum(shown[n, j] for n in outside) / len(outside)
            usual = sum(shown[n, j] for n in [*inside, *outside]) / (len(inside) + len(outside))
            expected = usual * len(inside)
            surprise = (photos - expected) / math.sqrt(expected + 1)
            if surprise > 0:
                wanted.append((surprise, f"n{i}", f"n{j}", photos, photos / len(inside), at_large))
    wanted.sort(key=lambda entry: -entry[0])
    found = confusions(drawn, most=99)
    assert [(entry.true, entry.told, entry.photos) for entry in found] == [entry[1:4] for entry in wanted]
    assert [(entry.share, entry.at_large) for entry in found] == [pytest.approx(entry[4:]) for entry in wanted]
    assert (found[0].true, found[0].told) == ("n0", "n1")
    assert len(confusions(drawn, most=2)) == 2


def test_a_name_that_is_true_of_all_photos_is_taken_for_none() -> None:
    labels = np.zeros((40, 3), dtype=bool)
    labels[:, 0] = labels[:10, 1] = True
    logits = np.where(np.arange(40)[:, None] % 4 == 0, 1.0, -1.0) * np.ones(3)
    logits[:10, 2] = 1.0  # told wrongly where the second is true
    found = confusions(measured(logits, labels, [0.5, 0.5, 0.5]))
    assert [(entry.true, entry.told) for entry in found] == [("n1", "n2")]


def test_the_gallery_takes_the_clearest_photos() -> None:
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 1]], dtype=bool)
    logits = np.array(
        [[3.0, 2.0, -1.0], [2.0, -1.0, -1.0], [0.5, -0.4, -1.0], [1.0, 0.3, -2.0], [-1.0, 5.0, -1.0], [1.0, 2.0, 3.0]]
    )
    chosen = choose(measured(logits, labels, [0.5, 0.5, 0.5]), each=2)
    assert chosen.surprising == [4, 3] or chosen.surprising == [4, 5]
    assert chosen.best[0] == 0, "ranked without a slip, and two names"
    assert not {*chosen.best} & {*chosen.worst, *chosen.surprising}
    assert 2 in chosen.worst
    assert 0 not in chosen.worst


def test_a_model_without_thresholds_has_a_gallery_and_no_confusions() -> None:
    rng = np.random.default_rng(1)
    found = measured(rng.random((9, 4)), rng.random((9, 4)) < 0.4, [None] * 4, scale="cosine")
    assert confusions(found) == []
    assert not told(found).any()
    assert np.isfinite(margins(found)).all()
    assert choose(found).best
