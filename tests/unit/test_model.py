"""The alignment head: projection, queries and logits put together."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ramkit.embeddings import Embedded
from ramkit.ram.model import LOG_TEMPERATURE, AlignmentHead, ModelConfig
from ramkit.ram.paradigms import ITC, ITM
from ramkit.ram.reweight import reweight

B, C, D, T, V, E = 2, 7, 3, 4, 10, 8
CONFIG = ModelConfig(
    image_encoder="any", image_size=32, image_width=V, embed_width=E, query_width=8, heads=2, hidden=16
)


def made(**changes: Any) -> AlignmentHead:
    torch.manual_seed(0)
    return AlignmentHead(replace(CONFIG, **changes)).eval()


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def tags() -> Embedded:
    return Embedded(F.normalize(drawn(C, D, E), dim=-1), torch.tensor([3, 1, 2, 3, 3, 1, 2]))


def test_the_defaults_are_the_published_ones() -> None:
    published = ModelConfig(image_encoder="any", image_size=384, image_width=1536, embed_width=512)
    assert (published.query_width, published.heads, published.hidden, published.layers) == (768, 4, 3072, 2)
    assert math.exp(LOG_TEMPERATURE) == pytest.approx(14.2857, abs=1e-4)
    assert made().log_temperature.item() == pytest.approx(LOG_TEMPERATURE)


def test_the_first_token_is_the_projected_mean() -> None:
    head, features = made(), drawn(B, T, V)
    tokens = head.project(features)
    assert tokens.shape == (B, 1 + T, E)
    torch.testing.assert_close(tokens[:, 0], head.image_proj(features.mean(1)))
    torch.testing.assert_close(tokens[:, 1:], head.image_proj(features))


def test_queries_are_re_weighted_by_the_first_token(tags: Embedded) -> None:
    head = made()
    tokens = head.project(drawn(B, T, V))
    found = head.tag_queries(tokens, tags.descriptions, tags.present)
    wanted = reweight(tokens[:, 0], tags.descriptions, 1 / 0.07, tags.present)
    torch.testing.assert_close(found, wanted)


def test_without_re_weighting_every_image_has_the_same_queries(tags: Embedded) -> None:
    head = made(reweighting=False)
    found = head.tag_queries(head.project(drawn(B, T, V)), tags.descriptions, tags.present)
    assert found.shape == (C, E)
    torch.testing.assert_close(found[0], tags.descriptions[0].mean(0))


def test_a_single_description_is_the_query() -> None:
    head, alone = made(), F.normalize(drawn(C, 1, E), dim=-1)
    tokens = head.project(drawn(B, T, V))
    torch.testing.assert_close(head.tag_queries(tokens, alone), alone[:, 0])
    torch.testing.assert_close(reweight(tokens[:, 0], alone, 14.0), alone[:, 0].expand(B, -1, -1))


@pytest.mark.parametrize("similarity", [False, True])
@pytest.mark.parametrize("reweighting", [False, True])
def test_chunks_and_order_of_the_tags_change_nothing(tags: Embedded, similarity: bool, reweighting: bool) -> None:
    head, features = made(similarity=similarity, reweighting=reweighting), drawn(B, T, V)
    every = head(features, tags.descriptions, tags.present)
    assert every.shape == (B, C)
    parts = [head(features, part.descriptions, part.present) for part in tags.split(3)]
    torch.testing.assert_close(torch.cat(parts, dim=1), every)
    order = [4, 0, 6, 2]
    some = tags.choose(order)
    torch.testing.assert_close(head(features, some.descriptions, some.present), every[:, order])


def test_logits_are_the_readout_plus_the_similarity(tags: Embedded) -> None:
    head = made(similarity=True)
    assert head.similarity is not None
    tokens = head.project(drawn(B, T, V))
    queries = head.tag_queries(tokens, tags.descriptions, tags.present)
    states = head.decoder(queries, tokens)
    wanted = head.decoder.readout(states)[..., 0] + head.similarity(queries, states, tokens[:, 0])
    torch.testing.assert_close(head.align(queries, tokens), wanted)


@pytest.mark.parametrize("similarity", [False, True])
def test_it_can_begin_with_a_map_to_texts(similarity: bool) -> None:
    head, projection = made(similarity=similarity), 7 * drawn(E, V)
    size = head.image_proj.weight.norm().item()
    head.start_from(projection, torch.zeros(E))
    features = drawn(B, T, V)
    direct = F.normalize(features @ projection.T, dim=-1)
    torch.testing.assert_close(F.normalize(head.project(features)[:, 1:], dim=-1), direct)
    assert head.image_proj.weight.norm().item() == pytest.approx(size)
    assert head.image_proj.weight.requires_grad


def test_captions_are_asked_like_tags() -> None:
    head, captions = made(), F.normalize(drawn(5, E), dim=-1)
    tokens = head.project(drawn(B, T, V))
    torch.testing.assert_close(
        head.align(captions, tokens), head.align(head.tag_queries(tokens, captions[:, None]), tokens)
    )


@pytest.mark.parametrize(("alignment", "paradigm"), [("itc", ITC), ("itm", ITM)])
def test_another_paradigm_stands_where_the_decoder_does(tags: Embedded, alignment: str, paradigm: type) -> None:
    head, features = made(alignment=alignment), drawn(B, T, V)
    assert isinstance(head.decoder, paradigm)
    tokens = head.project(features)
    queries = head.tag_queries(tokens, tags.descriptions, tags.present)
    found = head(features, tags.descriptions, tags.present)
    torch.testing.assert_close(found, head.decoder(queries, tokens))
    assert found.shape == (B, C)
    assert torch.equal(found, made(alignment=alignment)(features, tags.descriptions, tags.present))
    found.sum().backward()
    assert head.image_proj.weight.grad.norm() > 0
