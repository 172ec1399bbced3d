"""calibrate: thresholds and chances in a new version of the model, measured on photos that were not fitted."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_home import SHOWN, TAGS, Home

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.config import CalibrateConfig, EvaluateConfig
from ramkit.errors import ArtifactError, InputError
from ramkit.measuring.calibration import fit_lines
from ramkit.measuring.measured import read_measured
from ramkit.measuring.thresholds import NEVER, common_cut_for_f, scores_at
from ramkit.stages.calibrate import calibrate, read_calibration
from ramkit.stages.evaluate import evaluate, read_set
from ramkit.stages.tag import tag
from ramkit.tagger import Tagger


@pytest.fixture
def home(trained: Home, tmp_path: Path) -> Home:
    shutil.copytree(trained.root, tmp_path / "artifacts", ignore=shutil.ignore_patterns(".features"))
    return Home(tmp_path / "artifacts", trained.encoder_spec)


def shown(photo: str) -> list[str]:
    """The photo's tags; the alias of one, and a word that is no tag."""
    tags = SHOWN[Path(photo).name.partition("-")[0]][0]
    return [*tags, *(["lady"] if "woman" in tags else []), *(["feline"] if "cat" in tags else [])]


def measure(home: Home, photos: Sequence[str], label: Callable[[str], list[str]] = shown) -> Artifact:
    labels = home.root.parent / "labels.jsonl"
    labels.write_text("\n".join(json.dumps({"image": photo, "labels": label(photo)}) for photo in photos))
    config = EvaluateConfig(pictures=False)
    return evaluate(artifacts=home.root, config=config, labelled=read_set(config, [str(labels)]))


def fitted(home: Home, **settings: Any) -> Artifact:
    return calibrate(artifacts=home.root, config=CalibrateConfig(**{"folds": 4, **settings}))


def hashes(model: Artifact) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in model.manifest["files"].items()}


def test_a_new_version_with_the_thresholds_of_the_fit(home: Home, photos: list[str]) -> None:
    report = measure(home, photos)
    old = artifact.find(home.root, "model")
    made = fitted(home)
    assert artifact.find(home.root, "model", "1").id == old.id, "the old version is as it was"
    assert (made.version, made.manifest["inputs"]) == (2, {"model": old.id, "report": report.id})
    changed = {name for name, digest in hashes(made).items() if hashes(old).get(name) != digest}
    assert changed == {"model.json", "vocabulary.jsonl", "calibration.json"}
    assert (made.path / "head.safetensors").samefile(old.path / "head.safetensors"), "large files are not copied"

    measured = read_measured(report)
    column = {name: place for place, name in enumerate(measured.names)}
    logits = measured.logits[:, [column[name] for name in TAGS]]
    labels = np.array([[name in shown(photo) for name in TAGS] for photo in photos])
    lines = fit_lines(logits, labels)
    cut = common_cut_for_f(lines.chances(logits), labels, 1.0)
    tagger = Tagger(made)
    assert tagger.thresholds == pytest.approx(scores_at(cut, lines.slopes, lines.offsets).tolist())
    assert np.array(tagger.calibrations) == pytest.approx(np.stack([lines.slopes, lines.offsets], axis=1))
    assert tagger.calibration == pytest.approx(lines.common)
    assert tagger.threshold == pytest.approx(float(scores_at(cut, *lines.common)))


def test_what_is_told_is_measured_on_photos_that_were_not_fitted(home: Home, photos: list[str]) -> None:
    measured = read_measured(measure(home, photos))
    told = read_calibration(fitted(home))
    known = [place for place, name in enumerate(measured.names) if name in TAGS]
    at_own = measured.scores[:, known] >= Tagger(artifact.find(home.root, "model", "1")).threshold
    true = measured.labels[:, known]
    assert told["before"]["precision"] == pytest.approx((at_own & true).sum() / at_own.sum())
    assert told["before"]["recall"] == pytest.approx((at_own & true).sum() / true.sum())
    assert told["before"]["tags_a_photo"] == pytest.approx(at_own.sum() / 16)
    assert told["before"]["brier"] == pytest.approx(float(np.mean((measured.scores[:, known] - true) ** 2)), abs=1e-6)
    assert told["after"]["brier"] < told["before"]["brier"]
    assert sum(told["after"]["pairs"]) == 16 * 5
    assert [row["tag"] for row in told["per_tag"]] == list(TAGS)
    assert [row["positives"] for row in told["per_tag"]] == [4] * 5
    assert told["open_set"]["names"] == 7


@pytest.mark.parametrize(
    ("settings", "check"),
    [
        ({"aim": "tag-f"}, lambda told: told["after"]["f1_mean_over_tags"] > 0.5),
        ({"aim": "tags", "tags": 3.0}, lambda told: sum(row["shown"] for row in told["per_tag"]) == 48),
        ({"aim": "precision", "precision": 0.95}, lambda told: told["after"]["precision"] >= 0.8),
        ({"beta": 3.0}, lambda told: told["after"]["recall"] > 0.9),
    ],
)
def test_thresholds_have_an_aim(
    home: Home, photos: list[str], settings: dict[str, Any], check: Callable[[dict[str, Any]], bool]
) -> None:
    measure(home, photos)
    told = read_calibration(fitted(home, **settings))
    assert check(told), told


def test_typed_words_get_what_suits_names_asked_as_words(home: Home, photos: list[str]) -> None:
    measure(home, photos)
    old, made = Tagger(artifact.find(home.root, "model")), fitted(home, only_open_set=True)
    tagger = Tagger(made)
    assert hashes(made)["vocabulary.jsonl"] == hashes(old.source)["vocabulary.jsonl"]
    assert (tagger.threshold, tagger.thresholds, tagger.calibrations) == (old.threshold, old.thresholds, None)
    assert tagger.open_set_threshold != old.open_set_threshold == old.threshold
    told = read_calibration(made)
    assert told.keys() == {"open_set"}
    assert told["open_set"]["threshold"] == tagger.open_set_threshold
    (photo,) = tag(photos=[photos[4]], tagger=tagger, open_set=["zebra", "feline"])
    for entry in photo.tags:
        if entry.open_set:
            assert entry.unsure == (entry.score < tagger.open_set_threshold)
    measure(home, photos)
    column = {name.name: name for name in read_measured(artifact.find(home.root, "report")).columns}
    assert column["feline"].threshold == pytest.approx(tagger.open_set_threshold)


def test_scores_on_other_scales(home: Home, photos: list[str]) -> None:
    measure(home, photos)
    tagger = Tagger(fitted(home))
    told = {
        scale: {
            entry.tag: entry
            for entry in next(tag(photos=[photos[4]], tagger=tagger, at_least=5, open_set=["zebra"], scale=scale)).tags
        }
        for scale in ("raw", "relative", "chance")
    }
    for name in (*TAGS, "zebra"):
        raw, relative, chance = (told[scale][name] for scale in ("raw", "relative", "chance"))
        assert raw.unsure == relative.unsure == chance.unsure == (relative.score < 0.5)
        place = TAGS.index(name) if name in TAGS else None
        slope, offset = tagger.open_set_calibration if place is None else tagger.calibrations[place]
        logit = np.log(raw.score) - np.log1p(-raw.score)
        assert chance.score == pytest.approx(1 / (1 + np.exp(-(slope * logit + offset))), abs=1e-5)
    scores = [entry.score for entry in told["relative"].values()]
    assert scores == sorted(scores, reverse=True)
    kept = next(tag(photos=[photos[4]], tagger=tagger, threshold=0.5, scale="relative")).tags
    assert {entry.tag for entry in kept} == {name for name in TAGS if not told["raw"][name].unsure}


def test_a_word_with_descriptions_is_judged_as_a_tag_without_data(home: Home, photos: list[str]) -> None:
    measure(home, photos)
    tagger = Tagger(fitted(home))
    given = {"zebra": ["a striped horse.", "a zebra in grass."]}
    for scale in ("raw", "chance"):
        (photo,) = tag(photos=[photos[4]], tagger=tagger, open_set=["zebra"], descriptions=given, scale=scale)
        (zebra,) = (entry for entry in photo.tags if entry.open_set)
        if scale == "raw":
            assert zebra.unsure == (zebra.score < tagger.threshold)
            logit = np.log(zebra.score) - np.log1p(-zebra.score)
        else:
            slope, offset = tagger.calibration
            assert zebra.score == pytest.approx(1 / (1 + np.exp(-(slope * logit + offset))), abs=1e-5)


def test_a_tag_that_never_fires_is_never_told_on_any_scale(home: Home, photos: list[str]) -> None:
    measure(home, photos)
    tagger = Tagger(fitted(home))
    tagger.rows[0]["threshold"] = NEVER
    for scale in ("raw", "relative", "chance"):
        (photo,) = tag(photos=[photos[4]], tagger=tagger, at_least=0, scale=scale)
        assert "cat" not in {entry.tag for entry in photo.tags}


def test_a_calibrated_model_still_knows_its_photos(home: Home, photos: list[str]) -> None:
    measure(home, photos)
    fitted(home)
    made = evaluate(artifacts=home.root, config=EvaluateConfig(pictures=False))
    assert made.manifest["inputs"]["model"] == artifact.find(home.root, "model", "2").id
    again = fitted(home, folds=2, aim="tags", tags=1.0)
    assert again.version == 3
    assert read_calibration(again) != read_calibration(artifact.find(home.root, "model", "2"))
    assert [row["tag"] for row in Tagger(again).rows] == list(TAGS)


def test_what_cannot_be_fitted_is_told(home: Home, photos: list[str], tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no report of model:v1 with its scores\. Measure the model on"):
        fitted(home)
    measure(home, photos, lambda _: ["feline"])
    with pytest.raises(InputError, match=r"asks for none of the model's tags\. Measure"):
        fitted(home)
    measure(home, photos[:4], lambda _: ["woman"])
    with pytest.raises(InputError, match=r"labels are all alike\. Measure"):
        fitted(home)
    for lone, rest in ((["woman"], []), ([], ["woman"])):  # in one part of the photos nothing is true, or all
        own = dict.fromkeys(photos, rest) | {photos[0]: lone}
        measure(home, photos, own.__getitem__)
        with pytest.raises(
            InputError, match=r"^Too few labels: what is true in one part of the photos cannot be judged"
        ):
            fitted(home)
    for setting, value in {"precision": 1.0, "beta": 0.0, "tags": -1.0, "folds": 1}.items():
        with pytest.raises(InputError, match=rf"^{setting} = {value}\. Give"):
            fitted(home, **{setting: value})
    report = measure(home, [str(shutil.copy(photo, tmp_path)) for photo in photos])
    for photo in photos:
        (tmp_path / Path(photo).name).unlink()
    with pytest.raises(InputError, match=r"Too few of the report's photos can be read\. Put them back"):
        fitted(home)
    fitted_elsewhere = home.train(epochs=1, batch=8)
    with pytest.raises(ArtifactError, match=r"report:v\d was made from another model"):
        calibrate(artifacts=home.root, config=CalibrateConfig(), model=fitted_elsewhere.name, report=report.name)
    assert artifact.versions(home.root, "model") == [1, 2]


def test_a_run_that_breaks_off_leaves_nothing(home: Home, photos: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    measure(home, photos)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    before = hashes(artifact.find(home.root, "model"))
    monkeypatch.setattr("ramkit.tagger.write_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(home)
    assert [path.name for path in (home.root / "model").iterdir() if path.is_dir()] == ["v1"]
    assert hashes(artifact.find(home.root, "model")) == before


def test_the_command_line(ramkit: Callable[..., Any], home: Home, photos: list[str]) -> None:
    measure(home, photos)
    told = ramkit("calibrate", "--aim", "tag-f", "--artifacts", home.root)
    assert told.code == 0, told.err
    for text in ("before", "after", "Brier score", "calibration error (ECE)", "tags never shown"):
        assert text in told.out
    assert "words typed: threshold 0." in told.err
    assert f"model:v2 in {home.root}/model/v2" in told.err
    document = json.loads(ramkit("calibrate", "--model", "v1", "--json", "--artifacts", home.root).out)
    assert document["common"]["slope"] > 0
    chance = ramkit("tag", photos[4], "--scores", "chance", "--artifacts", home.root)
    assert (chance.code, "cat" in chance.out) == (0, True)
    refused = ramkit("tag", photos[4], "--scores", "chance", "--model", "v1", "--artifacts", home.root)
    assert refused.err == "error: model:v1 is not calibrated: it knows no chances. Calibrate it: ramkit calibrate\n"
