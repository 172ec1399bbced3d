"""ITC and ITM against the slowest obvious versions, asked as the alignment head is."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ramkit.ram.paradigms import ITC, ITM

B, C, T, E, Q = 3, 7, 5, 8, 16


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def itm(**changed: int | float) -> ITM:
    return ITM(**{"embed_width": E, "query_width": Q, "heads": 4, "hidden": 24, "layers": 2, **changed})


def slow_layer(layer: nn.TransformerEncoderLayer, states: torch.Tensor) -> torch.Tensor:
    """Post-norm self-attention and feed-forward of one sequence [N, Q], head by head and token by token."""
    query, key, value = (states @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).split(Q, dim=-1)
    width = Q // layer.self_attn.num_heads
    attended = torch.zeros_like(states)
    for start in range(0, Q, width):
        part = slice(start, start + width)
        for i in range(len(states)):
            weights = torch.stack([query[i, part] @ key[j, part] / width**0.5 for j in range(len(states))]).softmax(0)
            attended[i, part] = sum(weights[j] * value[j, part] for j in range(len(states)))
    states = layer.norm1(states + layer.self_attn.out_proj(attended))
    return layer.norm2(states + layer.linear2(F.gelu(layer.linear1(states))))


@pytest.mark.parametrize("shared", [True, False])
def test_itc_is_the_scaled_cosine_of_global_features(shared: bool) -> None:
    align = ITC()
    queries, tokens = torch.randn(*(() if shared else (B,)), C, E), torch.randn(B, 1 + T, E)
    found = align(queries, tokens)
    assert found.shape == (B, C)
    for b in range(B):
        for c in range(C):
            q = queries[c] if shared else queries[b, c]
            cosine = (tokens[b, 0] @ q) / tokens[b, 0].norm() / q.norm()
            assert found[b, c].item() == pytest.approx((cosine / 0.07 - 4).item(), abs=1e-5)
    tokens[:, 1:] = 0
    assert torch.equal(align(queries, tokens), found), "looks at the global token alone"


@pytest.mark.parametrize("shared", [True, False])
def test_itm_fuses_each_pair_on_its_own(shared: bool) -> None:
    align = itm().eval()
    queries, tokens = torch.randn(*(() if shared else (B,)), C, E), torch.randn(B, 1 + T, E)
    with torch.no_grad():
        found = align(queries, tokens)
        assert found.shape == (B, C)
        for b in range(B):
            for c in range(C):
                q = queries[c] if shared else queries[b, c]
                states = torch.cat([align.text(q)[None], align.image(tokens[b])])
                for layer in align.layers:
                    states = slow_layer(layer, states)
                assert found[b, c].item() == pytest.approx(align.readout(states[0]).item(), abs=1e-5)


@pytest.mark.parametrize("pairs", [1, 4, 1000])
def test_parts_change_neither_logits_nor_gradients(pairs: int) -> None:
    align, queries, tokens = itm(), torch.randn(B, C, E), torch.randn(B, 1 + T, E, requires_grad=True)
    found = {}
    for size in (B * C, pairs):
        align.pairs = size
        logits = align(queries, tokens)
        found[size] = [logits, *torch.autograd.grad(logits.square().sum(), [tokens, *align.parameters()])]
    for one, other in zip(found[B * C], found[pairs], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("paradigm", "steps"), [("itc", 400), ("itm", 80)])
def test_both_learn_which_texts_are_true_of_which_images(paradigm: str, steps: int) -> None:
    align = ITC() if paradigm == "itc" else itm(dropout=0.1)
    queries, tokens, true = torch.randn(C, E), torch.randn(B, 1 + T, E, requires_grad=True), torch.rand(B, C) < 0.3
    optimizer = torch.optim.AdamW([tokens, *align.parameters()], lr=0.02)
    for _ in range(steps):
        loss = F.binary_cross_entropy_with_logits(align(queries, tokens), true.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(align.eval()(queries, tokens) > 0, true)
