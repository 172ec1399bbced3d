"""Published checkpoints: every tensor under its name, each block of Swin against loops over tokens."""

import json
import math
import re
from pathlib import Path
from typing import Any

import published_reference as reference
import pytest
import tiny_published as tiny
import torch

from ramkit.errors import InputError
from ramkit.image_encoder import build_timm
from ramkit.ram.model import LOG_TEMPERATURE, AlignmentHead
from ramkit.ram.published import Published, read_published

State = dict[str, torch.Tensor]
SOURCE = Path("some.pth")


@pytest.fixture(scope="module")
def state() -> State:
    return tiny.state_dict()


@pytest.fixture(scope="module")
def published(state: State) -> Published:
    return read_published(state, SOURCE)


def swin_of(published: Published) -> torch.nn.Module:
    swin = build_timm(published.config.image_encoder, size=published.config.image_size).eval()
    swin.load_state_dict(published.image_encoder)
    return swin


def test_the_architecture_is_told_by_the_tensors(state: State, published: Published) -> None:
    config = published.config
    assert (config.image_encoder, config.image_size, config.image_width) == ("swin_tiny_patch4_window7_224", 224, 768)
    assert (config.embed_width, config.query_width, config.hidden, config.layers, config.heads) == (16, 32, 48, 2, 4)
    assert published.descriptions(tiny.TAGS).shape == (6, 3, 16)
    assert torch.equal(published.descriptions(tiny.TAGS)[2, 1], state["label_embed"][7])
    assert published.ignored == 2
    without_mask = {name: tensor for name, tensor in state.items() if not name.endswith("attn_mask")}
    assert read_published(without_mask, SOURCE).config == config


@pytest.mark.parametrize(
    ("name", "encoder", "width"),
    [
        ("swin_l_384", "swin_large_patch4_window12_384", 1536),
        ("swin_b_384", "swin_base_patch4_window12_384", 1024),
    ],
)
def test_the_published_layouts_have_a_place_for_every_tensor(shared: Path, name: str, encoder: str, width: int) -> None:
    keys = json.loads((shared / "golden" / f"{name}.keys.json").read_text())
    state = {
        name: torch.empty(shape, device="meta")
        for name, shape in {**keys["parameters"], **keys["ignored_buffers"]}.items()
    }
    found = read_published(state, SOURCE)
    assert (found.config.image_encoder, found.config.image_size, found.config.image_width) == (encoder, 384, width)
    assert (found.config.embed_width, found.config.query_width, found.config.hidden) == (512, 768, 3072)
    assert found.descriptions(4585).shape == (4585, 51, 512)
    assert found.temperature_stored
    assert len(found.image_encoder) + len(found.head) + 1 == len(keys["parameters"])


def test_each_block_of_swin_is_as_loops_over_tokens_compute_it(state: State, published: Published) -> None:
    pixels = torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(0))
    reference.compare_blocks(swin_of(published), state, pixels, heads=tiny.HEADS, window=tiny.WINDOW)


def test_the_decoder_is_as_loops_over_tags_compute_it(state: State, published: Published) -> None:
    head = AlignmentHead(published.config).eval()
    head.load_state_dict(published.head)
    grid = torch.randn(7, 7, 768, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        seen = reference.tokens(state, grid)
        asked = reference.queries(state, seen, tiny.TAGS)
        tokens = head.project(grid.flatten(0, 1)[None])
        found = head.tag_queries(tokens, published.descriptions(tiny.TAGS))
        torch.testing.assert_close(tokens[0], seen, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found[0], asked, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            head.align(found, tokens)[0], reference.logits(state, asked, seen), atol=1e-4, rtol=0
        )


def test_a_learned_temperature_is_taken_and_a_missing_one_is_clips(state: State, published: Published) -> None:
    assert not published.temperature_stored
    assert published.head["log_temperature"].item() == pytest.approx(math.log(1 / 0.07))
    learned = read_published({**state, "reweight_scale": torch.tensor(3.0)}, SOURCE)
    assert learned.temperature_stored
    assert learned.head["log_temperature"].item() == 3.0
    assert pytest.approx(2.6593, abs=1e-4) == LOG_TEMPERATURE


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_float32(state: State, kind: torch.dtype) -> None:
    halved = {name: tensor.to(kind) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    found = read_published(halved, SOURCE)
    tensors = [*found.image_encoder.values(), *found.head.values(), found.label_embed]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    assert torch.equal(found.label_embed, state["label_embed"].to(kind).float())


SWIN_BLOCK = "visual_encoder.layers.1.blocks.0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({f"{SWIN_BLOCK}.attn.proj.bias": None}, f"some.pth: lacks {SWIN_BLOCK}.attn.proj.bias. Fetch"),
        ({"fc.bias": None, "fc.weight": None}, "some.pth: lacks fc.weight and 1 more. Fetch the checkpoint anew"),
        ({"extra.weight": torch.ones(1)}, "some.pth: extra.weight has no place in the model. Fetch"),
        (
            {"head.weight": torch.ones(1), "visual_encoder.head.bias": torch.ones(1)},
            "some.pth: head.weight and 1 more has no place in the model.",
        ),
        (
            {"visual_encoder.layers.0.downsample.norm.bias": torch.ones(3)},
            "some.pth: visual_encoder.layers.0.downsample.norm.bias is [3], the model's [384].",
        ),
        ({"image_proj.bias": torch.ones(2)}, "some.pth: image_proj.bias is [2], the model's [16]."),
        ({"label_embed": torch.ones(4, 5)}, "some.pth: label_embed is [4, 5], the model's [4, 16]."),
        ({"label_embed": None}, "some.pth: label_embed is missing. Name a checkpoint of RAM++ (ram_plus_swin_*.pth)."),
        ({"wordvec_proj.weight": torch.ones(2)}, "some.pth: wordvec_proj.weight is [2]. Name a checkpoint of RAM++"),
        ({"fc.bias": torch.ones(1).long()}, "some.pth: fc.bias holds int64. Fetch the checkpoint anew"),
        ({"fc.bias": torch.tensor([math.nan])}, "some.pth: fc.bias holds what is no finite number. Fetch the"),
        ({"reweight_scale": torch.ones(2)}, "some.pth: reweight_scale is [2], the model's []."),
        (
            {"visual_encoder.layers.3.blocks.2.norm1.bias": torch.ones(768)},
            "some.pth: its image encoder, 96 wide with (2, 2, 6, 3) blocks and (3, 6, 12, 24) heads, is no known Swin.",
        ),
        (
            {"visual_encoder.layers.0.blocks.0.attn.relative_position_bias_table": torch.ones(23**2, 3)},
            "some.pth: swin_tiny with windows of 12 patches is unknown to timm.",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_its_published_name(state: State, change: dict[str, Any], message: str) -> None:
    spoilt = {name: tensor for name, tensor in {**state, **change}.items() if tensor is not None}
    with pytest.raises(InputError, match=re.escape(message)):
        read_published(spoilt, SOURCE)


@pytest.mark.parametrize("tags", [0, 4, 5, 36])
def test_another_number_of_tags_is_refused(published: Published, tags: int) -> None:
    with pytest.raises(InputError, match=f"{tags} tags, but the checkpoint holds 18 vectors of descriptions, which is"):
        published.descriptions(tags)
