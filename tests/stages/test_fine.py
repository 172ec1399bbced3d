"""Fine-grained kinds, as a person works with them: train, evaluate, classify, explain; stops, slips and refusals."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_models import write_clip

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.config import FineTrainConfig, with_values
from ramkit.errors import ArtifactError, RamkitError
from ramkit.fgvc.classifier import Classifier
from ramkit.photos import read_photo
from ramkit.stages.fine_train import fine_train

KINDS = ["astronaut", "cat", "coffee", "rocket"]
VIT = FineTrainConfig(
    supercategory="red cat", image_encoder="test_vit", image_weights="", image_size=64, crop_share=1.0, patches=4,
    epochs=40, fusion_epochs=25, batch=6, fusion_batch=6, learning_rate=2e-3, fusion_learning_rate=3e-3,
    layer_decay=1.0, head_factor=3.0, warmup_epochs=2.0, augmentation="none", views=1, precision="float32",
    device="cpu", workers=0, checkpoint_steps=7, prompt_tokens=2,
)  # fmt: skip
CONV = with_values(VIT, image_encoder="test_efficientnet", patch_selection="activation", patches=2, train_layers=2)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, photos: list[str]) -> Path:
    """train/ and val/, each with photos of four kinds."""
    root = tmp_path_factory.mktemp("kinds")
    for photo in map(Path, photos):
        kind, _, number = photo.stem.partition("-")
        target = root / ("val" if number == "2" else "train") / kind / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, target)
    return root


def fit(root: Path, folder: Path, config: FineTrainConfig, encoder_spec: str, **options: Any) -> Artifact:
    made = fine_train(
        source=str(folder), artifacts=root, config=with_values(config, text_encoder=encoder_spec), **options
    )
    assert made is not None
    return made


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory, folder: Path, encoder_spec: str) -> Artifact:
    return fit(tmp_path_factory.mktemp("vit"), folder, VIT, encoder_spec)


@pytest.fixture(scope="session")
def conv(tmp_path_factory: pytest.TempPathFactory, folder: Path, encoder_spec: str) -> Artifact:
    return fit(tmp_path_factory.mktemp("conv"), folder, CONV, encoder_spec)


def root_of(made: Artifact) -> Path:
    return made.path.parents[1]


# ---- training


def test_a_model_learns_its_photos_and_tells_how_it_came_to_be(vit: Artifact, folder: Path) -> None:
    found = Classifier(vit)
    assert found.kinds == KINDS
    assert found.supercategory == "red cat"
    right = 0
    for photo in sorted((folder / "train").rglob("*.jpg")):
        scores = found.predict(found.prepare(read_photo(str(photo)))[None])[0]
        assert float(scores.sum()) == pytest.approx(1, abs=1e-5)
        right += found.kinds[int(scores.argmax())] == photo.parent.name
    assert right >= 11, f"{right} of 12"
    assert vit.name == "fine:v1"
    assert vit.config["source"] == str(folder.resolve())
    assert vit.statistics["photos"] == 12
    assert vit.statistics["validation_photos"] == 4
    log = [json.loads(line) for line in (vit.path / "log.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["epoch"]) for row in log] == [
        (stage, epoch) for stage, epochs in (("stage 1", 40), ("stage 2", 25)) for epoch in range(1, epochs + 1)
    ]
    assert log[39]["loss"] < log[0]["loss"]
    assert log[64]["loss"] < log[40]["loss"]


def test_a_conv_encoder_learns_with_its_lower_part_kept(conv: Artifact) -> None:
    log = [json.loads(line) for line in (conv.path / "log.jsonl").read_text().splitlines()]
    assert log[39]["loss"] < 0.8 * log[0]["loss"]
    assert list((root_of(conv) / ".features").glob("*.safetensors"))
    assert Classifier(conv).vision.train_layers == 2


def test_stage_two_leaves_stage_one_as_it_was(
    folder: Path, encoder_spec: str, tmp_path: Path, one_thread: None
) -> None:
    config = with_values(VIT, epochs=3, fusion_epochs=3)
    one = fit(tmp_path / "one", folder, with_values(config, fusion=False), encoder_spec)
    two = fit(tmp_path / "two", folder, config, encoder_spec)
    same = one.file("image_encoder.safetensors").read_bytes() == two.file("image_encoder.safetensors").read_bytes()
    assert same, "the image encoder, to the last bit"
    before, after = (load_file(made.file("head.safetensors")) for made in (one, two))
    assert {"texts", "projection.weight", "classifier.weight"} <= before.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert {name.partition(".")[0] for name in after.keys() - before.keys()} == {"fusion", "fused_classifier"}
    assert Classifier(one).head.answer == "plain"


TIMM_TOWER = {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": None, "image_size": 48}


@pytest.mark.parametrize("tower", [None, TIMM_TOWER], ids=["own", "timm"])
def test_one_clip_for_photos_and_texts(folder: Path, tmp_path: Path, tower: dict[str, Any] | None) -> None:
    clip = f"open_clip:local-dir:{write_clip(tmp_path / 'clip', vision_cfg=tower)}"
    config = with_values(
        VIT, image_encoder=clip, epochs=2, fusion_epochs=2, inference="average", image_size=48, patches=0
    )
    made = fit(tmp_path, folder, config, clip)
    shutil.rmtree(tmp_path / "clip")
    found = Classifier(made)
    assert found.head.projection is None, "they share a space"
    assert (found.vision.cells, found.vision.patches, found.preprocess.size) == (9, 1, 48)
    pixels = torch.randn(2, 3, 48, 48)
    both = found.predictions(found.features(pixels))
    torch.testing.assert_close(found.predict(pixels), (both["plain"] + both["fused"]) / 2)


def test_a_plain_classifier_needs_no_words(folder: Path, tmp_path: Path) -> None:
    plain = with_values(VIT, supercategory="", text_prompts=False, patch_selection="none", epochs=2, train_layers=1)
    made = fit(tmp_path, folder, plain, "nothing that is read")
    assert set(load_file(made.file("head.safetensors"))) == {"classifier.weight", "classifier.bias"}


class _StopError(Exception):
    pass


@pytest.mark.parametrize("config", [VIT, with_values(CONV, views=2, augmentation="crop")], ids=["vit", "kept views"])
@pytest.mark.parametrize("after", [9, 40])
def test_a_stopped_run_ends_as_if_it_had_never_stopped(
    folder: Path, encoder_spec: str, tmp_path: Path, config: FineTrainConfig, after: int, one_thread: None
) -> None:
    """Stopped in stage 1 and in stage 2."""
    config = with_values(config, epochs=12, fusion_epochs=12, augmentation="crop")
    straight = fit(tmp_path / "straight", folder, config, encoder_spec)
    passed = 0

    def stop(items: Any, *, what: str, **_: Any) -> Any:
        nonlocal passed
        for item in items:
            passed += what.startswith("stage")
            if passed > after:
                raise _StopError
            yield item

    with pytest.raises(_StopError):
        fit(tmp_path / "stopped", folder, config, encoder_spec, track=stop)
    told: list[str] = []
    resumed = fit(tmp_path / "stopped", folder, config, encoder_spec, tell=told.append)
    assert any("goes on after step" in line for line in told)
    assert resumed.statistics["resumed"]
    assert resumed.id == straight.id, "every file, to the last bit"
    assert not list((tmp_path / "stopped" / "fine").glob(".draft*checkpoint*"))


def test_a_killed_run_goes_on(folder: Path, encoder_spec: str, tmp_path: Path, one_thread: None) -> None:
    script = """
import sys, torch
from pathlib import Path
from ramkit.config import FineTrainConfig
from ramkit.stages.fine_train import fine_train
torch.set_num_threads(1)
config = eval(sys.argv[3])
fine_train(source=sys.argv[1], artifacts=Path(sys.argv[2]), config=config, tell=lambda line: print(line, flush=True))
"""
    config = with_values(VIT, text_encoder=encoder_spec, epochs=2000)
    command = [sys.executable, "-c", script, str(folder), str(tmp_path), repr(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(8):
            assert process.stdout.readline(), "the run ended before it was killed"
        time.sleep(0.1)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    (draft,) = [path for path in (tmp_path / "fine").glob(".draft-*") if path.is_dir()]
    rows = [json.loads(line) for line in (draft / "log.jsonl").read_text().splitlines()]
    assert len(rows) >= 7
    assert artifact.versions(tmp_path, "fine") == []
    again: list[str] = []

    def stop(line: str) -> None:
        again.append(line)
        if len(again) == 2:
            raise _StopError

    with pytest.raises(_StopError):
        fit(tmp_path, folder, config, encoder_spec, tell=stop)
    assert again[0].startswith("stage 1 goes on after step ")


@pytest.mark.slow
def test_two_processes_train_as_one(folder: Path, encoder_spec: str, tmp_path: Path, one_thread: None) -> None:
    config = with_values(VIT, text_encoder=encoder_spec, epochs=3, fusion_epochs=2, views=0, augmentation="crop")
    alone = fit(tmp_path / "alone", folder, config, encoder_spec)
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, torch\nfrom pathlib import Path\nfrom ramkit.config import FineTrainConfig\n"
        "from ramkit.stages.fine_train import fine_train\ntorch.set_num_threads(1)\n"
        "made = fine_train(source=sys.argv[1], artifacts=Path(sys.argv[2]), config=eval(sys.argv[3]))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", str(script)]
    done = subprocess.run(
        [*command, str(folder), str(tmp_path / "team"), repr(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    team = artifact.find(tmp_path / "team", "fine")
    assert artifact.versions(tmp_path / "team", "fine") == [1]
    for name in ("image_encoder.safetensors", "head.safetensors"):
        one, two = load_file(alone.file(name)), load_file(team.file(name))
        assert one.keys() == two.keys()
        for key in one:
            torch.testing.assert_close(two[key].float(), one[key].float(), atol=2e-3, rtol=2e-2)


def test_unreadable_photos_are_told_and_do_not_stop_training(
    ramkit: Callable[..., Any], folder: Path, encoder_spec: str, tmp_path: Path
) -> None:
    spoilt = Path(shutil.copytree(folder, tmp_path / "spoilt"))
    (spoilt / "train" / "cat" / "bad.jpg").write_text("no photo")
    for views in (1, 0):
        made = fit(
            tmp_path / str(views), spoilt, with_values(CONV, views=views, epochs=2, fusion_epochs=1), encoder_spec
        )
        assert made.statistics["unreadable_photos"] == 1
        assert "bad.jpg: not an image" in made.statistics["unreadable"][0]
        assert "unlearnt_kinds" not in made.statistics


def test_a_kind_without_a_readable_photo_is_told(
    ramkit: Callable[..., Any], folder: Path, encoder_spec: str, tmp_path: Path
) -> None:
    spoilt = Path(shutil.copytree(folder, tmp_path / "spoilt"))
    for photo in (spoilt / "train" / "cat").iterdir():
        photo.write_bytes(b"")
    made = ramkit(
        "fine", "train", spoilt, "--artifacts", tmp_path / "made", "--supercategory", "thing", "--epochs", 1,
        "--batch", 6, "--image-encoder", "test_efficientnet", "--image-weights", "", "--image-size", 64,
        "--patch-selection", "none", "--text-encoder", encoder_spec, "--train-layers", 1, "--views", 1,
    )  # fmt: skip
    assert made.code == 0
    assert "error: cat: none of its training photos can be read; the model has not learnt it." in made.err.splitlines()
    assert artifact.find(tmp_path / "made", "fine").statistics["unlearnt_kinds"] == ["cat"]


def test_a_published_set_is_known_told_and_brings_its_super_category(
    ramkit: Callable[..., Any], photos: list[str], encoder_spec: str, tmp_path: Path
) -> None:
    home = tmp_path / "CUB_200_2011"
    names = [f"00{number % 2 + 1}.Red_cat/{Path(photo).name}" for number, photo in enumerate(photos)]
    for name, photo in zip(names, photos, strict=True):
        (home / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, home / "images" / name)
    (home / "images" / names[0]).unlink()
    numbers = range(1, 1 + len(names))
    lists = {
        "images": [f"{number} {name}" for number, name in zip(numbers, names, strict=True)],
        "image_class_labels": [f"{number} {(number - 1) % 2 + 1}" for number in numbers],
        "train_test_split": [f"{number} {int(number < 13)}" for number in numbers],
        "classes": ["1 001.Red_cat", "2 002.Red_dog"],
    }
    for name, lines in lists.items():
        (home / f"{name}.txt").write_text("\n".join(lines))
    given = ("--text-encoder", encoder_spec, "--image-encoder", "test_efficientnet", "--image-weights", "")
    result = ramkit(
        "fine", "train", tmp_path, *given, "--image-size", 64, "--patch-selection", "activation", "--train-layers", 0,
        "--views", 1, "--epochs", 1, "--batch", 4, "--artifacts", tmp_path / "artifacts",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert result.err.splitlines()[0] == (
        f"{tmp_path}: CUB-200-2011, 2 kinds of bird, 11 photos to train on, 4 to test with; listed but not there: 1"
    )
    made = artifact.find(tmp_path / "artifacts", "fine")
    assert (made.config["supercategory"], made.statistics["missing_photos"]) == ("bird", 1)
    assert made.statistics["test_photos"] == 4
    assert not [name for name in made.statistics if name.startswith("validation")]
    assert made.statistics["missing"] == [str(home / "images" / names[0])]
    assert Classifier(made).kinds == ["Red cat", "Red dog"]
    assert "missing photos" in result.out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"supercategory": " "}, r"what are its kinds kinds of\? Name their super-category, as in --supercategory"),
        ({"batch": 13}, r"12 photos to train on make no batch of 13\. Give a smaller batch"),
        ({"epochs": 0}, r"epochs = 0\. Give a whole number above 0"),
        ({"views": -1}, r"views = -1\. Give 0 or more"),
        ({"crop_share": 1.5}, r"crop_share = 1\.5\. Give 1 or less"),
        ({"learning_rate": 0.0}, r"learning_rate = 0\.0\. Give a number above 0"),
        ({"label_smoothing": 1.0}, r"label_smoothing = 1\.0"),
        ({"prompt_tokens": 99}, r"'red cat' after 99 learnable tokens is longer"),
        ({"image_encoder": "test_efficientnet"}, r"test_efficientnet has no class token .* \"activation\" or \"none\""),
        ({"image_encoder": "no_such_model"}, "timm has no model 'no_such_model'"),
        ({"image_encoder": "model:v7"}, "has no model:v7"),
        ({"layout": "cub"}, "CUB|images.txt"),
    ],
)
def test_settings_that_do_not_fit_are_refused_and_leave_nothing(
    folder: Path, encoder_spec: str, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(RamkitError, match=message):
        fit(tmp_path, folder, with_values(VIT, **settings), encoder_spec)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_the_bundled_models_own_encoder_is_shared_when_it_rests(
    folder: Path, encoder_spec: str, tmp_path: Path, photos: list[str]
) -> None:
    from ramkit.image_encoder import ImageEncoder
    from ramkit.tagger import Tagger, find_model

    config = with_values(
        VIT, image_encoder="mini", image_size=0, patch_selection="activation", patches=20, train_layers=0,
        epochs=2, fusion_epochs=1,
    )  # fmt: skip
    made = fit(tmp_path, folder, config, encoder_spec)
    classifier, tagger = Classifier(made), Tagger(find_model(tmp_path, "mini"))
    other = ImageEncoder(
        tagger.config.image_encoder, tagger.image_encoder, tagger.config.image_width, tagger.preprocess
    )
    assert classifier.shares_encoder(other.identity(), tagger.preprocess)
    assert not classifier.shares_encoder("another", tagger.preprocess)
    pixels = tagger.preprocess(read_photo(photos[4]))[None]
    assert torch.equal(pixels[0], classifier.prepare(read_photo(photos[4])))
    shared = classifier.predict_features(classifier.features_of_map(tagger.features(pixels)))
    torch.testing.assert_close(shared, classifier.predict(pixels), atol=1e-5, rtol=1e-4)


# ---- asking


def test_evaluate_tells_what_training_told(ramkit: Callable[..., Any], vit: Artifact) -> None:
    result = ramkit("fine", "evaluate", "--artifacts", root_of(vit), "--json")
    assert result.code == 0, result.err
    metrics = json.loads(result.out)
    assert metrics["photos"] == 4
    for name in ("top1", "top5", "top1_plain", "top1_fused", "top1_average"):
        assert metrics[name] == vit.statistics[f"validation_{name}"]
    assert metrics["top5"] == 1.0
    assert [row["kind"] for row in metrics["per_kind"]] == KINDS
    assert metrics["mean_per_kind"] == pytest.approx(np.mean([row["top1"] for row in metrics["per_kind"]]))
    wrong = sum(row["times"] for row in metrics["confusions"])
    assert wrong == round((1 - metrics["top1"]) * 4)
    trained = json.loads(ramkit("fine", "evaluate", "--artifacts", root_of(vit), "--split", "train", "--json").out)
    assert trained["photos"] == 12
    assert trained["top1"] > 0.9


def test_evaluate_shows_kinds_and_confusions(ramkit: Callable[..., Any], conv: Artifact, folder: Path) -> None:
    result = ramkit("fine", "evaluate", folder, "--artifacts", root_of(conv), "--model", "fine:v1", "--split", "train")
    assert result.code == 0, result.err
    assert all(word in result.out for word in ("Kinds, the hardest first", *KINDS, "top1", "mean per kind"))
    assert "report:v1 in" in result.err


def test_kinds_that_the_model_does_not_know_are_refused(
    ramkit: Callable[..., Any], vit: Artifact, folder: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    for split in ("train", "val"):
        (other / split / "cat").rename(other / split / "lynx")
    result = ramkit("fine", "evaluate", other, "--artifacts", root_of(vit))
    assert result.code == 1
    assert "the model does not know lynx (1 such kinds)" in result.err


def test_classify_gives_kinds_best_first_and_names_what_it_cannot_read(
    ramkit: Callable[..., Any], vit: Artifact, photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no photo")
    arguments = ("fine", "classify", photos[4], tmp_path, "gone.jpg", "--artifacts", root_of(vit))
    result = ramkit(*arguments, "--json")
    first, second, third = json.loads(result.out)
    assert result.code == 0
    found = Classifier(vit)
    wanted = found.predict(found.prepare(read_photo(photos[4]))[None])[0]
    assert {row["kind"]: row["score"] for row in first["kinds"]} == {
        kind: pytest.approx(float(score), abs=1e-4) for kind, score in zip(KINDS, wanted, strict=True)
    }
    scores = [row["score"] for row in first["kinds"]]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-3)
    assert "not an image" in second["error"]
    assert "no such file" in third["error"]
    table = ramkit(*arguments, "--top-k", 1)
    assert "red cat" in table.out
    assert "cat-0.jpg" in table.out
    assert "2 of 3 photos could not be read" in table.err
    assert ramkit("fine", "classify", tmp_path, "--artifacts", root_of(vit)).code == 1


def test_photos_together_get_what_each_gets_alone(vit: Artifact, photos: list[str]) -> None:
    found = Classifier(vit)
    pixels = torch.stack([found.prepare(read_photo(photo)) for photo in photos])
    alone = torch.cat([found.predict(image[None]) for image in pixels])
    torch.testing.assert_close(found.predict(pixels), alone, atol=1e-5, rtol=1e-4)
    assert torch.equal(found.predict_features(found.features(pixels)), found.predict(pixels))


def test_explain_draws_the_patches_where_they_are(
    ramkit: Callable[..., Any], vit: Artifact, photos: list[str], tmp_path: Path
) -> None:
    result = ramkit(
        "fine", "explain", photos[0], photos[5], "--out", tmp_path / "out", "--artifacts", root_of(vit), "--json"
    )
    assert (result.code, result.err) == (0, "")
    told = ramkit("fine", "explain", photos[0], "--out", tmp_path / "again", "--artifacts", root_of(vit)).out
    assert f"by 4 of 16 patches; drawn in {tmp_path / 'again'}" in told
    for document, photo in zip(json.loads(result.out), (photos[0], photos[5]), strict=True):
        assert len(document["patches"]) == 4
        assert document["side"] == 4
        shown = read_photo(photo)
        assert shown.size == (80, 60), "drawn six times as large"
        source = np.asarray(shown.resize((480, 360)), dtype=float)
        drawn = np.asarray(Image.open(document["drawing"]), dtype=float)
        assert drawn.shape == (360, 480, 3)
        for number in range(16):
            row, column = divmod(number, 4)
            inner = (slice(90 * row + 2, 90 * row + 88), slice(120 * column + 2, 120 * column + 118))
            bright = np.abs(drawn[inner] - source[inner]).max() < 1
            dim = np.abs(drawn[inner] - source[inner] * 0.45).max() <= 1
            assert bright == (number in document["patches"])
            assert bright or dim


def test_explain_needs_a_choice_to_show(
    ramkit: Callable[..., Any], folder: Path, encoder_spec: str, tmp_path: Path, photos: list[str]
) -> None:
    config = with_values(VIT, patch_selection="none", epochs=1, fusion=False)
    fit(tmp_path, folder, config, encoder_spec)
    result = ramkit("fine", "explain", photos[0], "--artifacts", tmp_path, "--out", tmp_path / "out")
    assert result.code == 1
    assert "fine:v1 was trained with all patches; there is no choice to show." in result.err
    assert not (tmp_path / "out").exists()


def test_drawings_of_one_name_are_kept_apart(vit: Artifact, photos: list[str], tmp_path: Path) -> None:
    from ramkit.stages.fine_explain import fine_explain

    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        shutil.copy(photos[0], tmp_path / place / "x.jpg")
    found = list(fine_explain(photos=[tmp_path], classifier=Classifier(vit), folder=tmp_path / "out"))
    assert [photo.drawing and photo.drawing.name for photo in found] == ["x.png", "x-2.png"]


def test_a_changed_or_missing_model_is_told(
    ramkit: Callable[..., Any], vit: Artifact, photos: list[str], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(vit.path, tmp_path / "copy"))
    assert ramkit("fine", "classify", photos[0], "--model", copy).code == 0
    (copy / "fine.json").write_text("{}")
    result = ramkit("fine", "classify", photos[0], "--model", copy)
    assert result.code == 1
    assert "fine.json was changed after it was written. Make it anew: ramkit fine train" in result.err
    result = ramkit("fine", "classify", photos[0], "--artifacts", tmp_path / "nothing")
    assert "holds no fine model yet. Make one: ramkit fine train" in result.err
    assert "fine:v1" in ramkit("artifacts", "--artifacts", root_of(vit)).out
    with pytest.raises(ArtifactError, match="has no fine:v9"):
        artifact.find(root_of(vit), "fine", "fine:v9")


def test_training_by_the_command_line(
    ramkit: Callable[..., Any], folder: Path, encoder_spec: str, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(
        'image_encoder = "test_vit"\nimage_weights = ""\nimage_size = 64\nfusion_epochs = 1\nworkers = 0\n'
    )
    result = ramkit(
        "fine", "train", folder, "--supercategory", "dog", "--config", settings, "--text-encoder", encoder_spec,
        "--epochs", 1, "--batch", 4, "--artifacts", tmp_path / "a",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "stage 1, epoch 1: loss" in result.err
    assert "fine:v1 in" in result.err
    assert "validation top1" in result.out
