"""The alignment decoder: attention against loops, and queries that do not see one another."""

import math

import pytest
import torch

from ramkit.ram.decoder import AlignmentDecoder, DecoderLayer

B, C, T, E, Q, HEADS, HIDDEN = 2, 3, 5, 6, 8, 2, 16


@pytest.fixture
def layer() -> DecoderLayer:
    torch.manual_seed(0)
    made = DecoderLayer(query_width=Q, memory_width=E, heads=HEADS, hidden=HIDDEN, dropout=0.5).double().eval()
    for norm in (made.attention_norm, made.norm):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    return made


@pytest.fixture
def decoder() -> AlignmentDecoder:
    torch.manual_seed(0)
    return AlignmentDecoder(embed_width=E, query_width=Q, heads=HEADS, hidden=HIDDEN, layers=2).double().eval()


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def linear(module: torch.nn.Linear, vector: list[float]) -> list[float]:
    rows, bias = module.weight.tolist(), module.bias.tolist()
    return [sum(w * x for w, x in zip(row, vector, strict=True)) + b for row, b in zip(rows, bias, strict=True)]


def normalised(module: torch.nn.LayerNorm, vector: list[float]) -> list[float]:
    mean = sum(vector) / len(vector)
    variance = sum((x - mean) ** 2 for x in vector) / len(vector)
    unit = [(x - mean) / math.sqrt(variance + 1e-12) for x in vector]
    return [w * x + b for w, x, b in zip(module.weight.tolist(), unit, module.bias.tolist(), strict=True)]


def gelu(x: float) -> float:
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def slow_attention(layer: DecoderLayer, query: list[float], memory: list[list[float]]) -> list[list[float]]:
    """Weights [heads][T] of one query."""
    wide, size = linear(layer.query, query), Q // HEADS
    found = []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        powers = []
        for token in memory:
            key = linear(layer.key, token)[part]
            powers.append(math.exp(sum(a * b for a, b in zip(wide[part], key, strict=True)) / math.sqrt(size)))
        found.append([power / sum(powers) for power in powers])
    return found


def slow_layer(layer: DecoderLayer, query: list[float], memory: list[list[float]]) -> list[float]:
    size, attended = Q // HEADS, []
    values = [linear(layer.value, token) for token in memory]
    for head, weights in enumerate(slow_attention(layer, query, memory)):
        attended += [
            sum(w * value[place] for w, value in zip(weights, values, strict=True))
            for place in range(head * size, (head + 1) * size)
        ]
    looked = [q + x for q, x in zip(query, linear(layer.output, attended), strict=True)]
    state = normalised(layer.attention_norm, looked)
    changed = linear(layer.contract, [gelu(x) for x in linear(layer.expand, state)])
    return normalised(layer.norm, [s + x for s, x in zip(state, changed, strict=True)])


def test_a_layer_is_the_equation_in_its_docstring(layer: DecoderLayer) -> None:
    queries, memory = drawn(B, C, Q), drawn(B, T, E, seed=1)
    found = layer(queries, memory)
    for b in range(B):
        for i in range(C):
            wanted = slow_layer(layer, queries[b, i].tolist(), memory[b].tolist())
            torch.testing.assert_close(found[b, i], torch.tensor(wanted, dtype=torch.float64))


def test_layernorm_has_berts_epsilon(layer: DecoderLayer) -> None:
    assert (layer.attention_norm.eps, layer.norm.eps) == (1e-12, 1e-12)


def test_attention_tells_where_forward_looked(layer: DecoderLayer) -> None:
    queries, memory = drawn(B, C, Q), drawn(B, T, E, seed=1)
    found = layer.attention(queries, memory)
    torch.testing.assert_close(found.sum(-1), torch.ones(B, C, dtype=torch.float64))
    for b in range(B):
        for i in range(C):
            heads = slow_attention(layer, queries[b, i].tolist(), memory[b].tolist())
            wanted = torch.tensor(heads, dtype=torch.float64).mean(0)
            torch.testing.assert_close(found[b, i], wanted)


def test_dropout_works_in_training_only(layer: DecoderLayer) -> None:
    queries, memory = drawn(B, C, Q), drawn(B, T, E, seed=1)
    still = layer(queries, memory)
    torch.testing.assert_close(layer(queries, memory), still)
    torch.manual_seed(0)
    assert not torch.allclose(layer.train()(queries, memory), still)


def test_the_decoder_projects_rectifies_and_stacks(decoder: AlignmentDecoder) -> None:
    queries, tokens = drawn(B, C, E), drawn(B, T, E, seed=1)
    states = (queries @ decoder.input.weight.T + decoder.input.bias).clamp_min(0)
    for layer in decoder.layers:
        states = layer(states, tokens)
    torch.testing.assert_close(decoder(queries, tokens), states)
    assert decoder.readout(states).shape == (B, C, 1)


def test_attentions_are_those_of_each_layer_on_the_states_before_it(decoder: AlignmentDecoder) -> None:
    queries, tokens = drawn(B, C, E), drawn(B, T, E, seed=1)
    first, second = decoder.layers
    states = decoder.input(queries).clamp_min(0)
    wanted = [first.attention(states, tokens), second.attention(first(states, tokens), tokens)]
    torch.testing.assert_close(decoder.attentions(queries, tokens), torch.stack(wanted))
    bare = AlignmentDecoder(embed_width=E, query_width=Q, heads=HEADS, hidden=HIDDEN, layers=0).double()
    assert bare.attentions(queries, tokens).shape == (0, B, C, T)


def test_queries_for_all_images_are_those_of_each(decoder: AlignmentDecoder) -> None:
    queries, tokens = drawn(C, E), drawn(B, T, E, seed=1)
    torch.testing.assert_close(decoder(queries, tokens), decoder(queries.expand(B, -1, -1), tokens))


@pytest.mark.parametrize("asked", [[0], [2, 0], [6, 5, 4, 3, 2, 1, 0], [1, 1]])
def test_a_state_does_not_depend_on_what_else_is_asked_nor_in_which_order(
    decoder: AlignmentDecoder, asked: list[int]
) -> None:
    queries, tokens = drawn(B, 7, E), drawn(B, T, E, seed=1)
    torch.testing.assert_close(decoder(queries[:, asked], tokens), decoder(queries, tokens)[:, asked])


def test_the_order_of_image_tokens_does_not_matter(decoder: AlignmentDecoder) -> None:
    queries, tokens = drawn(B, C, E), drawn(B, T, E, seed=1)
    torch.testing.assert_close(decoder(queries, tokens.flip(1)), decoder(queries, tokens))


def test_images_do_not_see_one_another(decoder: AlignmentDecoder) -> None:
    queries, tokens = drawn(B, C, E), drawn(B, T, E, seed=1)
    torch.testing.assert_close(decoder(queries[1:], tokens[1:]), decoder(queries, tokens)[1:])
