"""Re-weighting of descriptions, against loops over image, tag and description."""

import math

import pytest
import torch
import torch.nn.functional as F

from ramkit.embeddings import Embedded
from ramkit.ram.model import LOG_TEMPERATURE
from ramkit.ram.reweight import average, description_weights, reweight

B, C, D, E = 3, 4, 5, 8
COUNTS = torch.tensor([5, 1, 3, 2])  # descriptions a tag
TEMPERATURE = math.exp(LOG_TEMPERATURE)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(B, E, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def tags() -> Embedded:
    descriptions = F.normalize(torch.randn(C, D, E, generator=torch.Generator().manual_seed(2)), dim=-1)
    return Embedded(torch.where((torch.arange(D) < COUNTS[:, None])[..., None], descriptions, 0.0), COUNTS)


def slow_weights(images: torch.Tensor, tags: Embedded) -> torch.Tensor:
    found = torch.zeros(B, C, D, dtype=torch.float64)
    for b in range(B):
        length = math.sqrt(sum(float(value) ** 2 for value in images[b]))
        for i in range(C):
            powers = []
            for j in range(int(tags.counts[i])):
                dot = sum(float(images[b, e]) / length * float(tags.descriptions[i, j, e]) for e in range(E))
                powers.append(math.exp(TEMPERATURE * dot))
            for j, power in enumerate(powers):
                found[b, i, j] = power / sum(powers)
    return found


def test_weights_are_the_softmax_of_the_paper(images: torch.Tensor, tags: Embedded) -> None:
    found = description_weights(images, tags.descriptions, TEMPERATURE, tags.present)
    torch.testing.assert_close(found.double(), slow_weights(images, tags), atol=1e-5, rtol=0)


def test_weights_of_a_tag_sum_to_one_and_absent_descriptions_have_none(images: torch.Tensor, tags: Embedded) -> None:
    found = description_weights(images, tags.descriptions, TEMPERATURE, tags.present)
    torch.testing.assert_close(found.sum(-1), torch.ones(B, C))
    assert not found[:, ~tags.present].any()
    assert (found[:, tags.present] > 0).all()


def test_queries_are_the_weighted_sum(images: torch.Tensor, tags: Embedded) -> None:
    found = reweight(images, tags.descriptions, TEMPERATURE, tags.present)
    weights = slow_weights(images, tags)
    for b in range(B):
        for i in range(C):
            wanted = sum(weights[b, i, j] * tags.descriptions[i, j].double() for j in range(D))
            torch.testing.assert_close(found[b, i].double(), wanted, atol=1e-5, rtol=0)
    assert (found.norm(dim=-1) < 0.999).any(), "a query is not normalised again"


def test_the_length_of_the_image_feature_does_not_matter(images: torch.Tensor, tags: Embedded) -> None:
    scaled = images * torch.tensor([0.01, 1.0, 300.0])[:, None]
    torch.testing.assert_close(
        reweight(scaled, tags.descriptions, TEMPERATURE, tags.present),
        reweight(images, tags.descriptions, TEMPERATURE, tags.present),
    )


def test_tags_chosen_image_by_image_give_what_all_tags_give(images: torch.Tensor, tags: Embedded) -> None:
    chosen = torch.tensor([[3, 0], [1, 1], [2, 3]])  # [B, S]
    every = reweight(images, tags.descriptions, TEMPERATURE, tags.present)
    some = reweight(images, tags.descriptions[chosen], TEMPERATURE, tags.present[chosen])
    torch.testing.assert_close(some, every[torch.arange(B)[:, None], chosen])


def test_without_a_mask_all_descriptions_count(images: torch.Tensor, tags: Embedded) -> None:
    full = tags.descriptions[:1]
    torch.testing.assert_close(reweight(images, full, 5.0), reweight(images, full, 5.0, torch.ones(1, D).bool()))
    torch.testing.assert_close(average(full), full.mean(1))


def test_the_average_is_over_the_descriptions_that_are_there(tags: Embedded) -> None:
    found = average(tags.descriptions, tags.present)
    for i, count in enumerate(COUNTS.tolist()):
        torch.testing.assert_close(found[i], sum(tags.descriptions[i, j] for j in range(count)) / count)
    chosen = torch.tensor([[3, 0], [1, 2]])
    torch.testing.assert_close(average(tags.descriptions[chosen], tags.present[chosen]), found[chosen])


def test_a_zero_temperature_is_the_average(images: torch.Tensor, tags: Embedded) -> None:
    found = reweight(images, tags.descriptions, 0.0, tags.present)
    torch.testing.assert_close(found, average(tags.descriptions, tags.present).expand(B, -1, -1))
