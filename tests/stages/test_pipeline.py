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


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """The four example photos as `datasets` writes them, and a damaged one."""
    import datasets

    photos = [{"bytes": (PHOTOS / name).read_bytes(), "path": name} for name in CAPTIONS]
    photos.append({"bytes": photos[-1]["bytes"][:300], "path": "cut.jpg"})
    rows = {"image": photos, "caption": [*CAPTIONS.values(), "A rocket flies."]}
    path = tmp_path / "set.parquet"
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).to_parquet(path, batch_size=2)
    return path


def test_photos_inside_parquet_become_a_model_that_tags_them(
    ramkit: Callable[..., Any], parquet: Path, encoder_spec: str, tmp_path: Path
) -> None:
    home = ("--artifacts", tmp_path / "artifacts")

    def run(*arguments: object) -> Any:
        result = ramkit(*arguments, *home)
        assert result.code == 0, (arguments, result.err)
        return result

    run("parse-tags", parquet, "--min-count", 1)
    run("describe", "--llm", "wordnet", "--wordnet", write_wordnet(tmp_path / "wn"))
    run("embed", "--text-encoder", encoder_spec)
    rows = [f"{parquet}::image/{row}" for row in range(5)]
    for way in ("true", "false"):  # false: worker processes read the photos
        (tmp_path / "train.toml").write_text(f"{CONFIG}freeze_image_encoder = {way}\n")
        trained = run("train", "--config", tmp_path / "train.toml", "--epochs", 1)
        assert f"could not be read: {rows[4]}\n" in trained.err
    for model in ("model:v1", "model:v2"):
        statistics = json.loads(run("artifacts", "show", model, "--json").out)["statistics"]
        found = (statistics["photos"], statistics["unreadable_photos"], statistics["unreadable"])
        assert found == (4, 1, [rows[4]])

    measured = run("evaluate", "--triplets", "v1", "--json", "--no-pictures")
    metrics = json.loads(measured.out)
    assert (metrics["photos"], metrics["unreadable_photos"]) == (4, 1)
    assert f"error: {rows[4]}: not a readable image" in measured.err

    tagged = run("tag", parquet, "--json", "--threshold", 0)
    assert "1 of 5 photos could not be read; they are named above." in tagged.err
    photos = json.loads(tagged.out)
    assert [(photo["image"], "error" in photo) for photo in photos] == [(row, row == rows[4]) for row in rows]
    shutil.copy(PHOTOS / "astronaut.jpg", tmp_path)
    one, same = json.loads(run("tag", rows[0], tmp_path / "astronaut.jpg", "--json", "--threshold", 0).out)
    assert one["tags"] == same["tags"]
    assert {tag["tag"]: tag["score"] for tag in one["tags"]} == pytest.approx(
        {tag["tag"]: tag["score"] for tag in photos[0]["tags"]}, abs=2e-4
    )


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
