"""All six stages, one after another, as a user types them, on the four example photos."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_wordnet import write_wordnet

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
CAPTIONS = {
    "astronaut.jpg": "A smiling woman in an orange suit stands in front of a flag.",
    "cat.jpg": "A brown cat looks at the camera.",
    "coffee.jpg": "A cup of coffee and a spoon on a wooden table.",
    "rocket.jpg": "A rocket flies into a blue sky over a tower.",
}
CONFIG = """
image_encoder = "test_efficientnet"
image_weights = ""
image_size = 64
query_width = 32
hidden = 64
epochs = 2
batch = 2
warmup_steps = 2
validation = 0.0
"""


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    for name in CAPTIONS:
        shutil.copy(PHOTOS / name, tmp_path / name)
    lines = [json.dumps({"image": name, "caption": caption}) for name, caption in CAPTIONS.items()]
    path = tmp_path / "captions.jsonl"
    path.write_text("\n".join([*lines, "this line is no JSON", '{"image": "gone.jpg", "caption": "A cat."}']))
    return path


def test_captions_become_a_model_that_tags(ramkit: Callable[..., Any], captions: Path, tmp_path: Path) -> None:
    home = ("--artifacts", tmp_path / "artifacts")
    (tmp_path / "train.toml").write_text(CONFIG)
    stages = [
        ("parse-tags", captions, "--min-count", 1),
        ("describe", "--llm", "wordnet", "--wordnet", write_wordnet(tmp_path / "wn")),
        ("embed",),
        ("train", "--config", tmp_path / "train.toml"),
        ("evaluate", "--triplets", "v1"),
    ]
    for stage in stages:
        result = ramkit(*stage, *home)
        assert result.code == 0, (stage, result.err)

    tagged = ramkit("tag", tmp_path / "cat.jpg", "--open-set", "corgi, red bicycle", "--json", "--threshold", 0, *home)
    (photo,) = json.loads(tagged.out)
    tags = {entry["tag"]: entry for entry in photo["tags"]}
    assert photo["image"] == str(tmp_path / "cat.jpg")
    assert {"cat", "corgi", "red bicycle"} <= tags.keys()
    assert tags["corgi"]["open_set"] is True
    assert "open_set" not in tags["cat"]
    scores = [entry["score"] for entry in photo["tags"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)

    listed = json.loads(ramkit("artifacts", "--json", *home).out)
    kinds = ["vocabulary", "triplets", "descriptions", "embeddings", "model", "report"]
    assert [row["artifact"] for row in listed] == [f"{kind}:v1" for kind in kinds]
    shown = ramkit("artifacts", "show", "report:v1", *home)
    for kind in kinds:
        assert f"{kind}:v1" in shown.out
    statistics = json.loads(ramkit("artifacts", "show", "model:v1", "--json", *home).out)["statistics"]
    assert statistics["unreadable_photos"] == 1  # gone.jpg


def test_each_stage_says_which_comes_before_it(ramkit: Callable[..., Any], tmp_path: Path) -> None:
    home = ("--artifacts", tmp_path / "artifacts")
    before = {
        ("describe",): "holds no vocabulary yet. Make one: ramkit parse-tags",
        ("embed",): "holds no vocabulary yet. Make one: ramkit parse-tags",
        ("train",): "holds no vocabulary yet. Make one: ramkit parse-tags",
    }
    for stage, message in before.items():
        result = ramkit(*stage, *home)
        assert (result.code, message in result.err) == (1, True), (stage, result)
