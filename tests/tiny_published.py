"""A checkpoint in the layout of the published ones: Swin-T, a narrow decoder, six tags; random weights."""

import math
from pathlib import Path

import torch

TAGS, DESCRIPTIONS, EMBED, QUERY, HIDDEN = 6, 3, 16, 32, 48
WIDTH, BLOCKS, HEADS, WINDOW = 96, (2, 2, 6, 2), 3, 7
NAMES = ["cat", "Dog", "3D glasses", "red car", "sea", "tree"]


def shapes() -> dict[str, list[int]]:
    """Names and shapes of the parameters, as published."""
    found: dict[str, list[int]] = {}

    def layer(name: str, out: int, into: int) -> None:
        found.update({f"{name}.weight": [out, into], f"{name}.bias": [out]})

    def norm(name: str, width: int) -> None:
        found.update({f"{name}.weight": [width], f"{name}.bias": [width]})

    swin, width = "visual_encoder", WIDTH
    found.update({f"{swin}.patch_embed.proj.weight": [width, 3, 4, 4], f"{swin}.patch_embed.proj.bias": [width]})
    norm(f"{swin}.patch_embed.norm", width)
    for stage, blocks in enumerate(BLOCKS):
        for block in range(blocks):
            name = f"{swin}.layers.{stage}.blocks.{block}"
            norm(f"{name}.norm1", width)
            norm(f"{name}.norm2", width)
            found[f"{name}.attn.relative_position_bias_table"] = [(2 * WINDOW - 1) ** 2, HEADS << stage]
            layer(f"{name}.attn.qkv", 3 * width, width)
            layer(f"{name}.attn.proj", width, width)
            layer(f"{name}.mlp.fc1", 4 * width, width)
            layer(f"{name}.mlp.fc2", width, 4 * width)
        if stage < 3:
            found[f"{swin}.layers.{stage}.downsample.reduction.weight"] = [2 * width, 4 * width]
            norm(f"{swin}.layers.{stage}.downsample.norm", 4 * width)
            width *= 2
    norm(f"{swin}.norm", width)
    layer("image_proj", EMBED, width)
    layer("wordvec_proj", QUERY, EMBED)
    layer("fc", 1, QUERY)
    found["label_embed"] = [TAGS * DESCRIPTIONS, EMBED]
    for number in range(2):
        name = f"tagging_head.encoder.layer.{number}"
        for part, into in (("query", QUERY), ("key", EMBED), ("value", EMBED)):
            layer(f"{name}.crossattention.self.{part}", QUERY, into)
        layer(f"{name}.crossattention.output.dense", QUERY, QUERY)
        norm(f"{name}.crossattention.output.LayerNorm", QUERY)
        layer(f"{name}.intermediate.dense", HIDDEN, QUERY)
        layer(f"{name}.output.dense", QUERY, HIDDEN)
        norm(f"{name}.output.LayerNorm", QUERY)
    return found


def state_dict(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random tensors under the published names; the buffers that loaders pass over are there, `reweight_scale` not."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes().items():
        x = torch.randn(shape, generator=generator)
        if name == "label_embed":
            state[name] = x / x.norm(dim=-1, keepdim=True)
        elif "norm" in name.lower() and name.endswith("weight"):
            state[name] = 1 + 0.1 * x
        elif len(shape) == 1:
            state[name] = 0.1 * x
        else:
            # Logits within ±3, so that scores tell them apart; queries that matter beside what all of them add.
            gain = {"fc.weight": 1, "wordvec_proj.weight": 100}.get(name, 2)
            state[name] = x if name.endswith("table") else gain * x / math.sqrt(math.prod(shape[1:]))
    name = "visual_encoder.layers.0.blocks"
    state[f"{name}.0.attn.relative_position_index"] = torch.zeros(WINDOW**2, WINDOW**2, dtype=torch.long)
    state[f"{name}.1.attn_mask"] = torch.zeros(64, WINDOW**2, WINDOW**2)
    return state


def texts_of(tag: str) -> list[str]:
    return [f"a photo of a {tag}.", f"{tag} on the red", f"the {tag}"]


def write_checkpoint(path: Path, label_embed: torch.Tensor | None = None) -> Path:
    """With an optimiser's state beside the weights, as training writes it."""
    state = state_dict()
    if label_embed is not None:
        state["label_embed"] = label_embed
    moments = {0: {"step": torch.tensor(9.0), "exp_avg": torch.ones(1000, 1000)}}
    torch.save({"model": state, "optimizer": {"state": moments, "param_groups": [{"lr": 1e-4}]}, "epoch": 4}, path)
    return path
