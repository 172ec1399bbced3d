"""Nearest tags and the spread of descriptions, against pair by pair."""

from itertools import combinations
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ramkit import nearest as room
from ramkit.embeddings import Embedded, save_embeddings
from ramkit.nearest import mean_vectors, nearest, spread_of, vectors_of


def drawn(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(0)) + 0.7, dim=-1)


def test_spread_is_that_of_all_pairs() -> None:
    vectors = drawn(7, 5)
    found = spread_of(vectors)
    pairs = [float(vectors[i] @ vectors[j]) for i, j in combinations(range(7), 2)]
    assert found.mean_cosine == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    for place, typical in enumerate(found.typical):
        mean = torch.stack([vector for other, vector in enumerate(vectors) if other != place]).mean(0)
        assert typical == pytest.approx(float(F.cosine_similarity(vectors[place], mean, dim=0)), abs=1e-6)


def test_one_description_is_like_itself() -> None:
    assert spread_of(drawn(1, 5)) == room.Spread(1.0, [1.0])
    assert spread_of(drawn(3, 5)[[0, 0, 0]]).mean_cosine == pytest.approx(1.0)


def test_means_are_read_some_tags_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_STEP", 2)
    counts = torch.tensor([3, 1, 2, 3, 1])
    given = Embedded(drawn(5, 3, 4), counts)
    given = Embedded(given.descriptions * given.present[..., None], counts)
    save_embeddings(tmp_path / "e", given, "float32")
    wanted = [F.normalize(own[:count].mean(0), dim=0) for own, count in zip(given.descriptions, counts, strict=True)]
    torch.testing.assert_close(mean_vectors(tmp_path / "e"), torch.stack(wanted))
    assert torch.equal(vectors_of(tmp_path / "e", 2), given.descriptions[2, :2])


def test_the_nearest_come_first_and_some_are_left_out() -> None:
    means = drawn(6, 4)
    cosines = (means @ means[2]).tolist()
    order = sorted((number for number in range(6) if number != 2), key=lambda number: -cosines[number])
    found = nearest(3 * means[2], means, but=[2], most=4)
    assert [number for number, _ in found] == order[:4]
    assert [cosine for _, cosine in found] == pytest.approx([cosines[number] for number in order[:4]])
    assert len(nearest(means[0], means, most=99)) == 6
