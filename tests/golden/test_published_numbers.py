"""Numbers of the published RAM++ implementation, on weights of its own layout: ours must be the same.

The data stay outside the repository (see `shared` in conftest.py); where they are absent the tests are skipped.
"""

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ramkit.image_encoder import build_timm, spatial_features
from ramkit.photos import Preprocess, read_photo
from ramkit.ram.model import LOG_TEMPERATURE, AlignmentHead, ModelConfig
from ramkit.ram.reweight import reweight

SWIN = "swin_large_patch4_window12_384"
CONFIG = ModelConfig(image_encoder=SWIN, image_size=384, image_width=1536, embed_width=512)  # the rest as published
TAGS, DESCRIPTIONS = 4585, 51

# Published decoder key → ours; the order matters: the attention's `output` before the layer's own.
DECODER_NAMES = (
    (r"^tagging_head\.encoder\.layer\.(\d)\.", r"decoder.layers.\1."),
    (r"crossattention\.self\.", ""),
    (r"crossattention\.output\.dense", "output"),
    (r"crossattention\.output\.LayerNorm", "attention_norm"),
    (r"intermediate\.dense", "expand"),
    (r"output\.dense", "contract"),
    (r"output\.LayerNorm", "norm"),
    (r"^wordvec_proj", "decoder.input"),
    (r"^fc\.", "decoder.readout."),
)


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    with np.load(shared / "golden" / "swin_l_384.seed0.npz") as stored:
        return {name: stored[name] for name in stored}


@pytest.fixture(scope="module")
def generator(shared: Path) -> Any:
    """The module that makes the weights."""
    spec = importlib.util.spec_from_file_location("ram_plus_weights", shared / "golden" / "ram_plus_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def published_keys(shared: Path) -> dict[str, list[int]]:
    keys = json.loads((shared / "golden" / "swin_l_384.keys.json").read_text())["parameters"]
    return {name: shape for name, shape in keys.items() if name != "reweight_scale"}


@pytest.fixture(scope="module")
def label_embed(generator: Any, published_keys: dict[str, list[int]]) -> torch.Tensor:
    """d [C, D, E]."""
    flat: torch.Tensor = generator.tensor("label_embed", published_keys["label_embed"], 0)
    return flat.unflatten(0, (TAGS, DESCRIPTIONS))


def head_name(theirs: str) -> str:
    for pattern, ours in DECODER_NAMES:
        theirs = re.sub(pattern, ours, theirs)
    return theirs


def swin_name(theirs: str) -> str:
    """timm builds a downsampling into the stage after it, the published code into the stage before."""
    name = theirs.removeprefix("visual_encoder.")
    return re.sub(r"^layers\.(\d)\.downsample", lambda match: f"layers.{int(match[1]) + 1}.downsample", name)


def names_of(keys: dict[str, list[int]], *, swin: bool) -> dict[str, str]:
    """Published key → ours, of the image encoder or of all above it."""
    chosen = [key for key in keys if key.startswith("visual_encoder.") == swin and key != "label_embed"]
    rename: Callable[[str], str] = swin_name if swin else head_name
    return {key: rename(key) for key in chosen}


def test_the_pattern_is_prepared_as_published(shared: Path, golden: dict[str, Any]) -> None:
    pixels = Preprocess(384)(read_photo(str(shared / "golden" / "pattern.png")))
    assert pixels.double().sum().item() == pytest.approx(golden["pixel_sum"][0], rel=1e-6)


def test_every_published_decoder_weight_has_its_place(published_keys: dict[str, list[int]]) -> None:
    with torch.device("meta"):
        ours = {name: list(tensor.shape) for name, tensor in AlignmentHead(CONFIG).state_dict().items()}
    theirs = {own: published_keys[key] for key, own in names_of(published_keys, swin=False).items()}
    assert theirs == {name: shape for name, shape in ours.items() if name != "log_temperature"}


def test_the_queries_are_re_weighted_as_published(golden: dict[str, Any], label_embed: torch.Tensor) -> None:
    wanted = torch.from_numpy(golden["reweighted_tags"])
    global_feature = torch.from_numpy(golden["image_embeds"])[:, 0]
    temperature = torch.tensor(LOG_TEMPERATURE).exp()
    found = reweight(global_feature, label_embed[: wanted.shape[1]], temperature)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_photo_to_tags_is_as_published(
    shared: Path,
    golden: dict[str, Any],
    generator: Any,
    published_keys: dict[str, list[int]],
    label_embed: torch.Tensor,
) -> None:
    def weights(names: dict[str, str]) -> dict[str, torch.Tensor]:
        return {own: generator.tensor(key, published_keys[key], 0) for key, own in names.items()}

    swin = build_timm(SWIN, size=384).eval()
    swin.load_state_dict(weights(names_of(published_keys, swin=True)))
    head = AlignmentHead(CONFIG).eval()
    missing, left_over = head.load_state_dict(weights(names_of(published_keys, swin=False)), strict=False)
    assert (missing, left_over) == (["log_temperature"], [])

    pixels = Preprocess(384)(read_photo(str(shared / "golden" / "pattern.png")))[None]
    with torch.inference_mode():
        tokens = head.project(spatial_features(swin, pixels))
        queries = head.tag_queries(tokens, label_embed)
        logits = head.align(queries, tokens)

    assert tokens.shape == (1, 145, 512)
    torch.testing.assert_close(tokens[:, :8], torch.from_numpy(golden["image_embeds"]), atol=2e-4, rtol=0)
    torch.testing.assert_close(queries[:, :16], torch.from_numpy(golden["reweighted_tags"]), atol=1e-5, rtol=0)
    torch.testing.assert_close(logits, torch.from_numpy(golden["logits"]), atol=2e-3, rtol=0)
    upstream = shared / "data" / "upstream"
    tags = (upstream / "ram_tag_list.txt").read_text(encoding="utf-8").splitlines()
    thresholds = torch.tensor([float(line) for line in (upstream / "ram_tag_list_threshold.txt").read_text().split()])
    found = [tag for tag, over in zip(tags, logits[0].sigmoid() > thresholds, strict=True) if over]
    assert " | ".join(found) == golden["tags"][0]
