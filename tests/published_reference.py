"""RAM++'s forward pass straight from the published tensors' names, token by token where that is the obvious way.

Written from the paper and the facts about the published code, without a look at ramkit's or timm's modules: what both
agree on is right.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import torch
import torch.nn.functional as F

State = Mapping[str, torch.Tensor]


def swin(state: State, pixels: torch.Tensor, *, heads: int, window: int) -> Iterator[tuple[str, torch.Tensor]]:
    """(published name, output [H, W, C]) of the patches, each block, each merging and the last norm, for [3, S, S].

    Args:
        heads: of the first stage; they double from stage to stage.
    """
    state = {name.removeprefix("visual_encoder."): tensor for name, tensor in state.items()}
    grid = _norm(state, "patch_embed.norm", _patches(state, pixels))
    yield "patch_embed", grid
    for stage in range(4):
        for block in range(_blocks(state, stage)):
            name = f"layers.{stage}.blocks.{block}"
            shift = window // 2 if block % 2 and len(grid) > window else 0
            grid = grid + _attend(state, f"{name}.attn", _norm(state, f"{name}.norm1", grid), heads, window, shift)
            wide = F.gelu(_linear(state, f"{name}.mlp.fc1", _norm(state, f"{name}.norm2", grid)))
            grid = grid + _linear(state, f"{name}.mlp.fc2", wide)
            yield name, grid
        if stage < 3:
            grid = _merge(state, f"layers.{stage}.downsample", grid)
            yield f"layers.{stage}.downsample", grid
        heads *= 2
    yield "norm", _norm(state, "norm", grid)


def compare_blocks(module: torch.nn.Module, state: State, pixels: torch.Tensor, *, heads: int, window: int) -> None:
    """Assert that timm's Swin computes the same, block by block: its largest deviation, of the largest value."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda _, __, output: found.update({name: output[0]})

    parts = r"layers\.\d\.blocks\.\d+|layers\.[123]\.downsample|patch_embed|norm"
    hooks = [
        part.register_forward_hook(keep(re.sub(r"(\d)(?=\.downsample)", lambda match: str(int(match[1]) - 1), name)))
        for name, part in module.named_modules()
        if re.fullmatch(parts, name)
    ]
    names = []
    with torch.inference_mode():
        module.forward_features(pixels[None])  # type: ignore[operator]
        for name, wanted in swin(state, pixels, heads=heads, window=window):
            deviation = (found[name] - wanted).abs().max() / wanted.abs().max()
            assert deviation < 1e-4, f"{name}: {deviation}"
            names.append(name)
    assert sorted(names) == sorted(found)
    for hook in hooks:
        hook.remove()


def tokens(state: State, grid: torch.Tensor) -> torch.Tensor:
    """[1 + T, E]: the mean first, all projected."""
    flat = grid.flatten(0, 1)
    return _linear(state, "image_proj", torch.cat([flat.mean(0, keepdim=True), flat]))


def queries(state: State, seen: torch.Tensor, tags: int) -> torch.Tensor:
    """[C, E]: each tag's descriptions, weighed by how much they are like the image."""
    described = state["label_embed"].reshape(tags, -1, seen.shape[-1])
    scale = state["reweight_scale"].exp() if "reweight_scale" in state else torch.tensor(1 / 0.07, dtype=seen.dtype)
    image = seen[0] / seen[0].norm()
    return torch.stack([(scale * own @ image).softmax(0) @ own for own in described])


def logits(state: State, asked: torch.Tensor, seen: torch.Tensor, heads: int = 4) -> torch.Tensor:
    """[C] of queries [C, E] that look at tokens [1 + T, E]."""
    found = []
    for query in F.relu(_linear(state, "wordvec_proj", asked)):
        for layer in range(2):
            name = f"tagging_head.encoder.layer.{layer}"
            own = _linear(state, f"{name}.crossattention.self.query", query)
            keys, values = (_linear(state, f"{name}.crossattention.self.{part}", seen) for part in ("key", "value"))
            width = len(own) // heads
            looked = torch.cat(
                [
                    (keys[:, at : at + width] @ own[at : at + width] / width**0.5).softmax(0)
                    @ values[:, at : at + width]
                    for at in range(0, len(own), width)
                ]
            )
            looked = _linear(state, f"{name}.crossattention.output.dense", looked)
            query = _norm(state, f"{name}.crossattention.output.LayerNorm", query + looked, eps=1e-12)
            wide = F.gelu(_linear(state, f"{name}.intermediate.dense", query))
            query = _norm(
                state, f"{name}.output.LayerNorm", query + _linear(state, f"{name}.output.dense", wide), 1e-12
            )
        found.append(_linear(state, "fc", query))
    return torch.cat(found)


def _patches(state: State, pixels: torch.Tensor) -> torch.Tensor:
    weight, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    side = pixels.shape[-1] // 4
    return torch.stack(
        [
            torch.stack(
                [(weight * pixels[:, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]).sum((1, 2, 3)) + bias for x in range(side)]
            )
            for y in range(side)
        ]
    )


def _attend(state: State, name: str, grid: torch.Tensor, heads: int, window: int, shift: int) -> torch.Tensor:
    """Attention within windows of a grid that was shifted round; what the shift brought together does not mix."""
    side, width = len(grid), grid.shape[-1]
    query, key, value = _linear(state, f"{name}.qkv", grid).unflatten(-1, (3, heads, width // heads)).unbind(2)
    table, out = state[f"{name}.relative_position_bias_table"], torch.zeros_like(grid)
    inside = [(y, x) for y in range(window) for x in range(window)]
    bias = table[_offsets(window)]  # [N, N, heads], of a token that looks and one that is looked at
    for top in range(0, side, window):
        for left in range(0, side, window):
            ys, xs = (
                torch.tensor([(at[k] + start + shift) % side for at in inside]) for k, start in ((0, top), (1, left))
            )
            came_round = 2 * (ys < shift) * (top + window == side) + (xs < shift) * (left + window == side)
            apart = came_round[:, None] != came_round[None]
            for head in range(heads):
                q, k, v = (part[ys, xs, head] for part in (query, key, value))
                scores = q @ k.T * (width // heads) ** -0.5 + bias[..., head] - 100.0 * apart
                at = slice(head * (width // heads), (head + 1) * (width // heads))
                out[ys, xs, at] = scores.softmax(-1) @ v
    return _linear(state, f"{name}.proj", out)


@cache
def _offsets(window: int) -> torch.Tensor:
    """Row of the table for each pair of a window's tokens: how far below and right of the second the first is."""
    inside = [(y, x) for y in range(window) for x in range(window)]
    span = 2 * window - 1
    return torch.tensor([[(y - v + window - 1) * span + x - u + window - 1 for v, u in inside] for y, x in inside])


def _merge(state: State, name: str, grid: torch.Tensor) -> torch.Tensor:
    """Four neighbours become one: upper left, lower left, upper right, lower right."""
    side = len(grid) // 2
    four = torch.stack(
        [
            torch.stack(
                [
                    torch.cat(
                        [grid[2 * y, 2 * x], grid[2 * y + 1, 2 * x], grid[2 * y, 2 * x + 1], grid[2 * y + 1, 2 * x + 1]]
                    )
                    for x in range(side)
                ]
            )
            for y in range(side)
        ]
    )
    return _norm(state, f"{name}.norm", four) @ state[f"{name}.reduction.weight"].T


def _blocks(state: State, stage: int) -> int:
    return 1 + max(int(name.split(".")[3]) for name in state if name.startswith(f"layers.{stage}.blocks."))


def _linear(state: State, name: str, vectors: torch.Tensor) -> torch.Tensor:
    return vectors @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _norm(state: State, name: str, vectors: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    centred = vectors - vectors.mean(-1, keepdim=True)
    unit = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return unit * state[f"{name}.weight"] + state[f"{name}.bias"]
