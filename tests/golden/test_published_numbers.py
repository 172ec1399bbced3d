"""Numbers of the published RAM++ implementation, on weights of its own layout: ours must be the same.

The data stay outside the repository (see `shared` in conftest.py); where they are absent the tests are skipped.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import published_reference as reference
import pytest
import torch

from ramkit.artifact import Artifact
from ramkit.config import ImportConfig
from ramkit.photos import Preprocess, read_photo
from ramkit.ram.model import LOG_TEMPERATURE
from ramkit.ram.reweight import reweight
from ramkit.stages.import_published import import_published
from ramkit.stages.tag import tag
from ramkit.tagger import Tagger

TAGS, DESCRIPTIONS = 4585, 51


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


def import_generated(shared: Path, generator: Any, folder: Path, architecture: str, seed: int) -> Artifact:
    """What `ramkit import` makes of generated weights, which are removed again: they are large."""
    checkpoint, upstream = folder / f"{architecture}.pth", shared / "data" / "upstream"
    torch.save({"model": generator.state_dict(architecture, seed)}, checkpoint)
    try:
        return import_published(
            artifacts=folder,
            checkpoint=checkpoint,
            config=ImportConfig(),
            tags=upstream / "ram_tag_list.txt",
            thresholds=upstream / "ram_tag_list_threshold.txt",
        )
    finally:
        checkpoint.unlink()


def test_the_pattern_is_prepared_as_published(shared: Path, golden: dict[str, Any]) -> None:
    pixels = Preprocess(384)(read_photo(str(shared / "golden" / "pattern.png")))
    assert pixels.double().sum().item() == pytest.approx(golden["pixel_sum"][0], rel=1e-6)


def test_the_queries_are_re_weighted_as_published(golden: dict[str, Any], generator: Any) -> None:
    wanted = torch.from_numpy(golden["reweighted_tags"])
    label_embed = generator.tensor("label_embed", [TAGS * DESCRIPTIONS, 512], 0).unflatten(0, (TAGS, DESCRIPTIONS))
    global_feature = torch.from_numpy(golden["image_embeds"])[:, 0]
    temperature = torch.tensor(LOG_TEMPERATURE).exp()
    found = reweight(global_feature, label_embed[: wanted.shape[1]], temperature)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_photo_to_tags_is_as_published(shared: Path, golden: dict[str, Any], generator: Any, tmp_path: Path) -> None:
    """Through `import` and `tag`, as a person comes to them."""
    tagger = Tagger(import_generated(shared, generator, tmp_path, "swin_l_384", 0))
    pattern = shared / "golden" / "pattern.png"
    pixels = tagger.preprocess(read_photo(str(pattern)))[None]
    assert pixels.double().sum().item() == pytest.approx(golden["pixel_sum"][0], rel=1e-6)
    features = tagger.features(pixels)
    with torch.inference_mode():
        tokens = tagger.head.project(features)
        queries = tagger.head.tag_queries(tokens, tagger.vocabulary.descriptions, tagger.vocabulary.present)
    logits = tagger.logits(features, tagger.vocabulary)

    assert tokens.shape == (1, 145, 512)
    torch.testing.assert_close(tokens[:, :8], torch.from_numpy(golden["image_embeds"]), atol=2e-4, rtol=0)
    torch.testing.assert_close(queries[:, :16], torch.from_numpy(golden["reweighted_tags"]), atol=1e-5, rtol=0)
    torch.testing.assert_close(logits, torch.from_numpy(golden["logits"]), atol=2e-3, rtol=0)

    wanted = golden["tags"][0].split(" | ")
    photos = [pattern, Path(__file__).parents[2] / "examples" / "photos" / "cat.jpg"]
    for photo in tag(photos=photos, tagger=tagger, top_k=0, at_least=0):
        assert (sorted(entry.tag for entry in photo.tags) == sorted(wanted)) == (photo.image == str(pattern))
    told = torch.nonzero(logits[0].sigmoid() > torch.tensor(tagger.thresholds)).flatten().tolist()
    assert [tagger.tags[number] for number in told] == wanted, "in the order of the list, too"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "heads", "seed", "photo"), [("swin_b_384", 4, 1, "astronaut"), ("swin_l_384", 6, 2, "cat")]
)
def test_other_weights_and_photos_give_what_loops_over_tokens_give(
    shared: Path, generator: Any, tmp_path: Path, architecture: str, heads: int, seed: int, photo: str
) -> None:
    """There are no published numbers for these: they are computed from the published names, without timm."""
    tagger = Tagger(import_generated(shared, generator, tmp_path, architecture, seed))
    state = generator.state_dict(architecture, seed)
    pixels = tagger.preprocess(read_photo(str(Path(__file__).parents[2] / "examples" / "photos" / f"{photo}.jpg")))
    reference.compare_blocks(tagger.image_encoder, state, pixels, heads=heads, window=12)
    found = tagger.logits(tagger.features(pixels[None]), tagger.vocabulary)[0]
    with torch.inference_mode():
        *_, (_, grid) = reference.swin(state, pixels, heads=heads, window=12)
        seen = reference.tokens(state, grid)
        wanted = reference.logits(state, reference.queries(state, seen, TAGS), seen)
    torch.testing.assert_close(found, wanted, atol=2e-3, rtol=0)
