"""evaluate: figures that a direct computation gives, from people's labels and from captions."""

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_home import LEARNS, SHOWN, TAGS, Home
from tiny_models import write_clip

from ramkit import artifact
from ramkit.config import EvaluateConfig, ModelRow
from ramkit.embeddings import Embedded
from ramkit.errors import ArtifactError, InputError
from ramkit.labels.published import BENCHMARKS, Benchmark
from ramkit.measuring.measured import read_all_measured, read_measured
from ramkit.measuring.metrics import average_precisions, best_threshold, precision_recall_f1
from ramkit.photos import read_photo
from ramkit.stages.evaluate import evaluate, read_metrics, read_set
from ramkit.tagger import Tagger

ASIDE = {"astronaut-0", "astronaut-3", "coffee-1", "rocket-0", "rocket-1"}  # validation = 0.3


@pytest.fixture
def home(trained: Home, tmp_path: Path) -> Home:
    """A copy that may be written into."""
    shutil.copytree(trained.root, tmp_path / "artifacts", ignore=shutil.ignore_patterns(".features"))
    return Home(tmp_path / "artifacts", trained.encoder_spec)


def run(
    home: Home, *sources: Path | str, model: str | None = None, triplets: str | None = None, **settings: Any
) -> Any:
    config = EvaluateConfig(**{"pictures": False, **settings})
    labelled = read_set(config, list(map(str, sources)))
    models = [ModelRow(model=model or "")]
    made = evaluate(artifacts=home.root, config=config, labelled=labelled, models=models, triplets=triplets)
    return made, read_metrics(made)


def shown(photo: str) -> list[str]:
    return SHOWN[Path(photo).name.partition("-")[0]][0]


def write_labels(path: Path, photos: Sequence[str], label: Callable[[str], list[str]] = shown) -> Path:
    path.write_text("\n".join(json.dumps({"image": photo, "labels": label(photo)}) for photo in photos))
    return path


def seen(tagger: Tagger, photo: str) -> torch.Tensor:
    """Features [1, T, V] in half precision, as they are kept."""
    return tagger.features(tagger.preprocess(read_photo(photo))[None]).half().float()


def scores_of(home: Home, photos: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """σ(logit) [photos, names], each photo and name by itself; what is no tag through the template."""
    tagger = Tagger(artifact.find(home.root, "model"))
    columns = []
    for name in names:
        number = tagger.tags.index(name) if name in tagger.tags else None
        alone = torch.tensor([1])
        asked = (
            tagger.vocabulary.choose([number])
            if number is not None
            else Embedded(tagger.text_encoder.encode([f"a photo of a {name}."])[:, None], alone)
        )
        rows = [tagger.logits(seen(tagger, photo), asked)[0, 0] for photo in photos]
        columns.append(torch.stack(rows).sigmoid())
    return torch.stack(columns, dim=1).numpy()


def with_dog(photo: str) -> list[str]:
    """Labels with a name that the vocabulary lacks."""
    return [*shown(photo), *(["dog"] if "0" in Path(photo).name else [])]


def test_the_figures_are_those_of_a_direct_computation(home: Home, photos: list[str], tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.jpg")
    source = write_labels(tmp_path / "labels.jsonl", [*photos[:3], gone, *photos[3:]], lambda photo: (
        ["cat", "zebra"] if photo == gone else with_dog(photo)
    ))  # fmt: skip
    made, found = run(home, source, least_positives=1)
    names = sorted([*TAGS, "dog", "zebra"])
    assert [row["tag"] for row in found["per_tag"]] == names
    scores = scores_of(home, photos, names)
    labels = np.array([[name in with_dog(photo) for name in names] for photo in photos])
    single = average_precisions(scores, labels)
    for row, ap, positives in zip(found["per_tag"], single, labels.sum(0), strict=True):
        assert row["ap"] == (pytest.approx(ap, abs=1e-6) if row["tag"] != "zebra" else None)
        assert row["positives"] == positives
        assert row["in_vocabulary"] == (row["tag"] in TAGS)
    known = np.array([name in TAGS for name in names])
    threshold = Tagger(artifact.find(home.root, "model")).threshold
    best, best_f1 = best_threshold(scores, labels)
    at_own = precision_recall_f1(scores, labels, threshold)
    for name, wanted in {
        "mAP": np.nanmean(single),
        "mAP_in_vocabulary": np.nanmean(single[known]),
        "mAP_open_set": np.nanmean(single[~known]),
        "threshold": threshold,
        "precision": at_own.precision,
        "recall": at_own.recall,
        "f1": at_own.f1,
        "best_threshold": best,
        "best_f1": best_f1,
    }.items():
        assert found[name] == pytest.approx(float(wanted), abs=1e-5), name
    assert (found["photos"], found["missing_photos"], found["missing"], found["unreadable_photos"]) == (
        16,
        1,
        [gone],
        0,
    )
    assert (found["names"], found["names_in_vocabulary"], found["names_open_set"]) == (7, 5, 2)
    assert found["labels_from"] == "people"
    assert found["mAP_in_vocabulary"] > 0.8, "the model knows its tags"
    assert made.manifest["inputs"] == {"model": artifact.find(home.root, "model").id}
    with made.file("per_tag.csv").open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["tag"] for row in table] == names
    assert float(table[0]["ap"]) == pytest.approx(single[0])
    kept = read_measured(made)
    np.testing.assert_allclose(kept.scores, scores, atol=1e-5)
    np.testing.assert_array_equal(kept.labels, labels)
    assert (kept.photos, kept.names) == (photos, names)
    assert [column.tag for column in kept.columns] == [TAGS.index(name) if name in TAGS else None for name in names]
    assert kept.unreadable == {gone: f"{gone}: no such file. Check the path."}


def test_rare_names_may_be_left_out(home: Home, photos: list[str], tmp_path: Path) -> None:
    source = write_labels(tmp_path / "l.jsonl", photos, lambda photo: with_dog(photo)[:2])
    wanted = {1: [*TAGS, "dog"], 4: [*TAGS], 5: None}
    for least, names in wanted.items():
        if names is None:
            with pytest.raises(InputError, match=r"No name is true of 5 of 16 photos\. Check the labels\."):
                run(home, source, least_positives=least)
        else:
            assert [row["tag"] for row in run(home, source, least_positives=least)[1]["per_tag"]] == sorted(names)


def test_names_of_other_case_and_aliases_are_the_tags_themselves(home: Home, photos: list[str], tmp_path: Path) -> None:
    other = {"cat": "Cat", "woman": "lady"}
    plain = run(home, write_labels(tmp_path / "a.jsonl", photos))[1]
    renamed = run(
        home, write_labels(tmp_path / "b.jsonl", photos, lambda photo: [other.get(tag, tag) for tag in shown(photo)])
    )[1]
    assert renamed["names_open_set"] == 0
    assert renamed["mAP"] == pytest.approx(plain["mAP"])


def test_only_open_set_names(home: Home, photos: list[str], tmp_path: Path) -> None:
    found = run(home, write_labels(tmp_path / "l.jsonl", photos, lambda photo: [f"the {shown(photo)[0]}"]))[1]
    assert (found["names_in_vocabulary"], found["names_open_set"]) == (0, 4)
    assert found["mAP_in_vocabulary"] is None
    assert found["mAP"] == found["mAP_open_set"]


def test_without_labels_the_photos_kept_aside_are_judged_by_their_captions(home: Home, photos: list[str]) -> None:
    made, found = run(home)
    aside = [photo for photo in photos if Path(photo).stem in ASIDE]
    names = sorted({tag for photo in aside for tag in shown(photo)})
    labels = np.array([[name in shown(photo) for name in names] for photo in aside])
    assert found["photos"] == 5
    assert found["mAP"] == pytest.approx(average_precisions(scores_of(home, aside, names), labels).mean(), abs=1e-6)
    assert found["labels_from"] == "captions of photos kept aside"
    assert made.manifest["inputs"].keys() == {"model", "triplets"}
    model = artifact.find(home.root, "model")
    assert found["mAP"] == pytest.approx(model.statistics["validation_map"], abs=0.05), "as training measured it"


def test_a_triplets_artefact_is_judged_as_a_whole(home: Home, photos: list[str]) -> None:
    found = run(home, triplets="v1")[1]
    assert (found["photos"], found["labels_from"]) == (16, "captions")
    few = home.triplets(artifact.find(home.root, "vocabulary"), photos[:6])
    assert run(home, triplets="v2")[1]["photos"] == 6
    assert run(home)[1]["photos"] == 5, "without --triplets those of its own training, not the newest"
    assert few.version == 2


def test_a_model_without_its_triplets_needs_labels(home: Home, photos: list[str], tmp_path: Path) -> None:
    shutil.rmtree(home.root / "triplets")
    with pytest.raises(InputError, match=r"does not hold the triplets that model:v1 was trained on\. Name labelled"):
        run(home)
    found = run(home, write_labels(tmp_path / "l.jsonl", photos), model=str(home.root / "model" / "v1"))
    assert found[1]["photos"] == 16


def test_a_model_that_kept_nothing_aside_needs_labels(ready: Home) -> None:
    ready.train()
    with pytest.raises(InputError, match=r"triplets:v1: no photo to evaluate on\. Train with validation above 0\."):
        run(ready)


def test_what_cannot_be_measured_is_told(home: Home, photos: list[str], tmp_path: Path) -> None:
    gone = [str(tmp_path / f"{number}.jpg") for number in range(3)]
    with pytest.raises(
        InputError, match=r"None of 3 photos can be read; the first: .*/0\.jpg: no such file\. .*--images"
    ):
        run(home, write_labels(tmp_path / "gone.jsonl", gone, lambda _: ["cat"]))
    with pytest.raises(
        InputError, match=r"No name is true of a photo that can be read\. The first .*0\.jpg: no such file"
    ):
        run(home, write_labels(tmp_path / "l.jsonl", [*gone, photos[0]], lambda p: ["cat"] if p in gone else []))
    with pytest.raises(ArtifactError, match=r"has no model:v9 \(there: v1\)\."):
        run(home, write_labels(tmp_path / "l.jsonl", photos), model="v9")
    assert artifact.versions(home.root, "report") == []


def test_the_command_line(ramkit: Callable[..., Any], home: Home, photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no photo")
    spoilt = [str(tmp_path / name) for name in ("gone.jpg", "bad.jpg")]
    source = write_labels(tmp_path / "labels.jsonl", [*photos, *spoilt], with_dog_or_cat)
    table = ramkit("evaluate", "--no-pictures", source, "--artifacts", home.root)
    assert table.code == 0
    for text in ("Average precision", "open-set", "mAP in vocabulary", "best here, per tag", "top 1 acc"):
        assert text in table.out
    assert f"1 of 18 photos are missing; the report lists all of them:\n  {tmp_path}/gone.jpg\n" in table.err
    assert f"error: {tmp_path}/bad.jpg: not an image" in table.err
    assert f"report:v1 in {home.root}/report/v1" in table.err
    document = json.loads(ramkit("evaluate", "--no-pictures", source, "--json", "--artifacts", home.root).out)
    assert document["photos"] == 16
    assert len(document["per_tag"]) == 6
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"file": photos[0], "names": ["woman"]}))
    keys = ("--image-field", "file", "--labels-field", "names")
    assert ramkit("evaluate", "--no-pictures", other, *keys, "--artifacts", home.root).code == 0
    wrong = ramkit("evaluate", "--no-pictures", other, "--artifacts", home.root)
    assert (wrong.code, wrong.err) == (1, f"error: {other}, row 1: no 'image'. Name the key: --image-field\n")


def with_dog_or_cat(photo: str) -> list[str]:
    return ["cat"] if Path(photo).stem in ("gone", "bad") else with_dog(photo)


# ---- benchmarks


@pytest.fixture
def benchmark(tmp_path: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a benchmark of five tags, in which two photos of eighteen are missing."""
    monkeypatch.setitem(BENCHMARKS, "small", Benchmark("small", "small_5", 5, 18, remark="Made up."))
    (tmp_path / "small_5_taglist.txt").write_text("Cat\nlady\nsled\nzebra crossing\nrocket\n")
    rows = []
    for photo in [*photos, "gone-1.jpg", "gone-2.jpg"]:
        stem = Path(photo).stem
        own = {"cat": ",Cat,sled", "astronaut": ",lady", "rocket": ",rocket"}.get(stem.partition("-")[0], "")
        rows.append(f"test/{stem}{own}\n")
    (tmp_path / "small_5_annots.txt").write_text("".join(rows))
    return tmp_path


def test_a_benchmark_from_its_published_files(
    ramkit: Callable[..., Any], home: Home, photos: list[str], benchmark: Path
) -> None:
    images = str(Path(photos[0]).parent)
    given = ("--benchmark", "small", "--annotations", benchmark, "--images", images, "--artifacts", home.root)
    done = ramkit("evaluate", "--no-pictures", *given, "--json")
    assert done.code == 0
    assert "2 of 18 photos are missing; the report lists all of them:" in done.err
    assert f"  {images}/test/gone-1\n" in done.err
    found = json.loads(done.out)
    assert (found["photos"], found["missing_photos"], found["unreadable_photos"]) == (16, 2, 0)
    assert (found["names"], found["names_in_vocabulary"], found["names_in_vocabulary_by_alias"]) == (5, 3, 1)
    ap = {row["tag"]: row["ap"] for row in found["per_tag"]}
    assert found["mAP_in_vocabulary_by_name"] == pytest.approx((ap["Cat"] + ap["rocket"]) / 2)
    assert found["mAP_not_by_name"] == pytest.approx((ap["lady"] + ap["sled"]) / 2), "the alias among the others"
    assert [row["tag"] for row in found["per_tag"]] == ["Cat", "lady", "sled", "zebra crossing", "rocket"]
    assert [row["positives"] for row in found["per_tag"]] == [4, 4, 4, 0, 4]
    assert found["per_tag"][3]["ap"] is None
    assert found["remark"] == "Made up."
    kept = read_measured(artifact.find(home.root, "report"))
    assert sorted(kept.unreadable) == [f"{images}/test/gone-1", f"{images}/test/gone-2"]
    np.testing.assert_allclose(kept.scores[:, 0], scores_of(home, kept.photos, ["cat"])[:, 0], atol=1e-5)


def test_names_that_are_no_tags_are_asked_by_their_descriptions(home: Home, photos: list[str], benchmark: Path) -> None:
    texts = ["a red cat.", "the dog on the photo"]
    (benchmark / "texts.json").write_text(json.dumps([{"Sled": texts}, {"Cat": ["never asked: a tag has its own"]}]))
    settings = {"benchmark": "small", "annotations": str(benchmark), "images": (str(Path(photos[0]).parent),)}
    plain, told = (
        read_measured(run(home, **settings, **more)[0]).scores
        for more in ({}, {"descriptions": str(benchmark / "texts.json")})
    )
    assert not np.allclose(plain[:, 2], told[:, 2], atol=1e-3)
    np.testing.assert_allclose(np.delete(plain, 2, axis=1), np.delete(told, 2, axis=1), atol=1e-5)
    tagger = Tagger(artifact.find(home.root, "model"))
    asked = Embedded(tagger.text_encoder.encode(texts)[None], torch.tensor([2]))
    features = torch.cat([seen(tagger, photo) for photo in photos])
    np.testing.assert_allclose(told[:, 2], tagger.scores(features, [asked])[:, 0], atol=1e-5)


def test_names_may_be_given(home: Home, photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("rocket\nzebra\ncat\n")
    found = run(home, write_labels(tmp_path / "l.jsonl", photos), names=str(tmp_path / "names.txt"))[1]
    assert [(row["tag"], row["positives"]) for row in found["per_tag"]] == [("rocket", 4), ("zebra", 0), ("cat", 4)]
    assert found["remark"] == "3 names among the labels are not asked: coffee, cup, woman."


def test_benchmarks_that_cannot_be_read_are_told(ramkit: Callable[..., Any], home: Home, benchmark: Path) -> None:
    for arguments, message in (
        (["--benchmark", "voc"], "No benchmark is called 'voc'. Known: openimages-common, openimages-uncommon,"),
        (["--benchmark", "hico"], "hico needs its annotations. Name hico_600_annots.txt, or its folder: --annotations"),
        (["--annotations", benchmark], "--annotations and --tag-list are of a benchmark, and none is named. Known: "),
        (
            ["--benchmark", "small", "--annotations", benchmark, "--triplets", "v1"],
            "--triplets v1: beside labels. Name labels or triplets, not both.",
        ),
        (["--threshold", "68"], "--threshold 68.0 is no score. Give a number from 0 to 1."),
        (["x.tar", "--benchmark", "hico"], "x.tar: beside --benchmark. Name labels or a benchmark, not both."),
        (
            ["--benchmark", "small", "--annotations", benchmark],
            "None of 18 photos can be read; the first: " f"{benchmark}/test/astronaut-0: no such file.",
        ),
    ):  # fmt: skip
        done = ramkit("evaluate", "--no-pictures", *arguments, "--artifacts", home.root)
        assert done.code == 1
        assert done.err.startswith(f"error: {message}")
        assert done.err.count("\n") == 1


# ---- side by side


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CLIP of random weights."""
    return f"open_clip:local-dir:{write_clip(tmp_path_factory.mktemp('clip'))}"


def test_two_towers_are_asked_by_an_ensemble_of_prompts(
    home: Home, photos: list[str], tmp_path: Path, clip: str
) -> None:
    import open_clip

    templates = ("a photo of the {}.", "art of a {}")
    config = EvaluateConfig(resamples=50, pictures=False)
    labelled = read_set(config, [str(write_labels(tmp_path / "l.jsonl", photos, with_dog))])
    models = [ModelRow(), ModelRow(model=clip, templates=templates, name="CLIP")]
    made = evaluate(artifacts=home.root, config=config, labelled=labelled, models=models)
    found = read_measured(made, 1)
    assert (found.model, found.scale, found.columns[0].threshold) == ("CLIP", "cosine", None)
    model, _, prepare = open_clip.create_model_and_transforms(clip.removeprefix("open_clip:"))
    model.eval()
    tokenize = open_clip.get_tokenizer(clip.removeprefix("open_clip:"))
    with torch.inference_mode():
        images = model.encode_image(torch.stack([prepare(read_photo(photo)) for photo in photos]), normalize=True)
        for column, name in enumerate(found.names):
            vectors = [model.encode_text(tokenize([text.format(name)]), normalize=True)[0] for text in templates]
            mean = torch.stack(vectors).mean(0)
            np.testing.assert_allclose(found.logits[:, column], images @ (mean / mean.norm()), atol=2e-3)
    rows = read_metrics(made)["models"]
    assert [row["model"] for row in rows] == ["model:v1", "CLIP"]
    assert rows[1]["threshold"] == rows[1]["best_threshold"], "a cosine has no natural threshold"
    assert rows[1]["difference"]["mAP"] == pytest.approx(rows[1]["mAP"] - rows[0]["mAP"])
    assert [one.model for one in read_all_measured(made)] == ["model:v1", "CLIP"]
    alone = evaluate(artifacts=home.root, config=config, labelled=labelled, models=models[1:])
    np.testing.assert_array_equal(read_measured(alone).logits, found.logits)
    with pytest.raises(InputError, match=r"Template 'a dog' has no place for the name\. Write {} where it goes\."):
        evaluate(
            artifacts=home.root, config=config, labelled=labelled, models=[ModelRow(model=clip, templates=("a dog",))]
        )


def test_models_on_one_pass_give_what_each_gives_alone(home: Home, photos: list[str], tmp_path: Path) -> None:
    second = home.train(**{**LEARNS, "epochs": 2}, validation=0.3)
    source = write_labels(tmp_path / "l.jsonl", photos, with_dog)
    alone = read_measured(run(home, source, model="v1")[0])
    config = EvaluateConfig(resamples=0)
    made = evaluate(
        artifacts=home.root, config=config, labelled=read_set(config, [str(source)]),
        models=[ModelRow(model="v1"), ModelRow(model=second.name), ModelRow(model="v1", reweighting=False)],
    )  # fmt: skip
    one, other, plain = read_all_measured(made)
    np.testing.assert_array_equal(one.logits, alone.logits)
    assert not np.allclose(other.logits, one.logits, atol=1e-2)
    own = [number for number, column in enumerate(one.columns) if column.known]
    assert not np.allclose(plain.logits[:, own], one.logits[:, own], atol=1e-4)
    np.testing.assert_array_equal(np.delete(plain.logits, own, axis=1), np.delete(one.logits, own, axis=1))


def test_names_of_the_vocabulary_may_be_asked_by_template_or_by_given_texts(
    home: Home, photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "texts.json").write_text(json.dumps({"cat": ["a red cat.", "the dog"]}))
    config = EvaluateConfig(resamples=0, descriptions=str(tmp_path / "texts.json"))
    source = str(write_labels(tmp_path / "l.jsonl", photos))
    models = [ModelRow(queries=queries) for queries in ("template", "descriptions")]
    made = evaluate(artifacts=home.root, config=config, labelled=read_set(config, [source]), models=models)
    template, described = read_all_measured(made)
    tagger = Tagger(artifact.find(home.root, "model"))
    features = torch.cat([seen(tagger, photo) for photo in photos])
    for found, texts in ((template, {}), (described, {"cat": ["a red cat.", "the dog"]})):
        wanted = tagger.logits(features, tagger.describe(found.names, texts))
        np.testing.assert_allclose(found.logits, wanted, atol=1e-4)
    settings = [row["settings"] for row in read_metrics(made)["models"]]
    assert [one["described_at_inference"] for one in settings] == [False, True]
    assert settings[0] == {
        "text": True, "tag": True, "described_in_training": True, "described_at_inference": False, "reweighting": False
    }  # fmt: skip
    with pytest.raises(InputError, match=r'asked by "descriptions", but none are given\. Name --descriptions\.'):
        evaluate(
            artifacts=home.root, config=EvaluateConfig(), labelled=read_set(config, [source]),
            models=[ModelRow(queries="descriptions")],
        )  # fmt: skip


def test_against_prints_models_side_by_side(
    ramkit: Callable[..., Any], home: Home, photos: list[str], tmp_path: Path, clip: str
) -> None:
    source = write_labels(tmp_path / "l.jsonl", photos, with_dog)
    given = (
        "evaluate",
        "--no-pictures",
        source,
        "--against",
        clip,
        "--against",
        "v1",
        "--artifacts",
        home.root,
        "--resamples",
        20,
    )
    done = ramkit(*given)
    assert done.code == 0
    assert "Side by side, on the same photos" in done.out
    assert "+0.000" in done.out, "the model against itself"
    models = json.loads(ramkit(*given, "--json").out)["models"]
    assert [row["model"] for row in models] == ["model:v1", clip, "model:v1"]
    assert models[2]["difference"] == {"mAP": 0.0, "mAP_interval": [0.0, 0.0]}
    gone = ramkit(
        "evaluate", "--no-pictures", source, "--against", "open_clip:ViT-B-16/no-such", "--artifacts", home.root
    )
    assert (gone.code, gone.err.count("\n")) == (1, 1)
    assert "open_clip:ViT-B-16/no-such cannot be loaded (" in gone.err


def test_a_table_of_models_and_settings(
    ramkit: Callable[..., Any], home: Home, photos: list[str], tmp_path: Path
) -> None:
    table = tmp_path / "rows.toml"
    table.write_text('[[row]]\nname = "by hand"\nqueries = "template"\n\n[[row]]\nname = "whole"\nmodel = "v1"\n')
    source = write_labels(tmp_path / "l.jsonl", photos)
    given = ("evaluate", "--no-pictures", source, "--table", table, "--artifacts", home.root, "--resamples", 20)
    done = ramkit(*given)
    assert done.code == 0
    assert "| (a) | by hand | ✓ | ✓ | ✓ | ✗ | ✗ | " in done.out
    assert "| (b) | whole | ✓ | ✓ | ✓ | ✓ | ✓ | " in done.out
    assert r"(b) & whole & \checkmark & " in done.out
    made = artifact.find(home.root, "report")
    assert made.file("comparison.md").read_text() in done.out
    assert made.file("comparison.tex").read_text() in done.out
    for content, message in {
        "": "expected tables [[row]] and nothing else. Begin each with [[row]].",
        "row = []": "no table [[row]]. Give at least one.",
        "[[row]]\nmodle = 'mini'": "unknown key 'modle'. Valid keys: name, model, queries, ",
        "[[row]]\nqueries = 'llm'": "queries = 'llm'. Choose from 'own', 'template', 'descriptions'.",
    }.items():
        table.write_text(content)
        failed = ramkit(*given)
        assert (failed.code, failed.err.count("\n")) == (1, 1)
        assert f"error: {table}: {message}" in failed.err
    beside = ramkit(*given, "--model", "mini")
    assert beside.err == f"error: {table}: beside --model or --against. Put every model into the table.\n"


def test_a_report_has_pictures_and_one_page_that_holds_them(
    home: Home, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_labels(tmp_path / "labels.jsonl", photos, with_dog)
    made, found = run(home, source, pictures=True, resamples=20)
    names = {"scores", "side_by_side", "precision_recall", "per_tag", "reliability"}
    assert {f"{name}.png" for name in names} | {"report.html"} <= made.manifest["files"].keys()
    text = made.file("report.html").read_text(encoding="utf-8")
    assert f"{found['mAP']:.3f}" in text
    for shown_there in (
        "a photo of a dog.",
        "where the decoder looked",
        "what is like it",
        "descriptions in use",
        "cat-",
    ):
        assert shown_there in text
    assert text.count("data:image/") > 20
    assert len(text) < 2_000_000
    assert found == run(home, source, resamples=20)[1], "pictures change no figure"

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ramkit.pictures.report.page", killed)
    with pytest.raises(KeyboardInterrupt):
        run(home, source, pictures=True)
    assert artifact.versions(home.root, "report") == [1, 2]
    assert [path.name for path in (home.root / "report").iterdir() if path.is_dir()] == ["v1", "v2"]


@pytest.mark.parametrize("alignment", ["itc", "itm"])
def test_a_model_that_cannot_be_explained_has_its_pictures(
    home: Home, photos: list[str], tmp_path: Path, alignment: str
) -> None:
    home.train(validation=0.3, alignment=alignment)
    made, _ = run(home, write_labels(tmp_path / "labels.jsonl", photos, with_dog), pictures=True, resamples=0)
    text = made.file("report.html").read_text(encoding="utf-8")
    assert "cat-" in text, "the gallery's photos"
    assert "descriptions in use" not in text


def test_a_model_that_asks_by_template_may_be_asked_by_descriptions(
    home: Home, photos: list[str], tmp_path: Path
) -> None:
    home.train(epochs=2, validation=0.3, queries="template")
    (tmp_path / "texts.json").write_text(
        json.dumps({"cat": ["a red cat.", "the dog"], "dog": ["the red dog", "a dog"]})
    )
    config = EvaluateConfig(resamples=0, descriptions=str(tmp_path / "texts.json"))
    labelled = read_set(config, [str(write_labels(tmp_path / "l.jsonl", photos, with_dog))])
    models = [ModelRow(), ModelRow(queries="template"), ModelRow(queries="descriptions")]
    made = evaluate(artifacts=home.root, config=config, labelled=labelled, models=models)
    own, template, described = (measured.logits for measured in read_all_measured(made))
    np.testing.assert_allclose(own, template, atol=0.02)  # vectors in 8 bits and as they are encoded
    told = [name in ("cat", "dog") for name in read_measured(made).names]
    assert (np.abs(described - template).max(axis=0) > 1e-3).tolist() == told
    settings = [row["settings"] for row in read_metrics(made)["models"]]
    assert [one["described_in_training"] for one in settings] == [False] * 3
    assert [one["described_at_inference"] for one in settings] == [False, False, True]
