"""tag --refine: fine models look where their super-category was found, each photo once."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_home import Home

from ramkit import artifact, cascade
from ramkit.artifact import Artifact
from ramkit.cascade import Cascade, Refined, open_cascade
from ramkit.config import FineTrainConfig, with_values
from ramkit.errors import ArtifactError, InputError
from ramkit.features import read_batches
from ramkit.fgvc.classifier import Classifier, KindScore
from ramkit.photos import Preprocess, read_photo
from ramkit.stages import tag as stage
from ramkit.stages.fine_train import fine_train
from ramkit.stages.tag import TaggedPhoto, tag
from ramkit.tagger import Tagger


@pytest.fixture(scope="session")
def tagger(trained: Home) -> Tagger:
    return Tagger(artifact.find(trained.root, "model"))


class StandIn:
    """In the place of a fine model: three kinds, scores by the photo's mean brightness; keeps what it was asked."""

    kinds = ("dark", "middle", "bright")
    shares = False
    supercategory = "cat"

    def __init__(self, source: Artifact) -> None:
        self.source = source
        self.asked: list[torch.Tensor] = []
        self.prepared = 0
        MADE.append(self)

    def shares_encoder(self, identity: str, preprocess: Preprocess) -> bool:
        return self.shares

    def prepare(self, photo: Image.Image) -> torch.Tensor:
        self.prepared += 1
        return torch.tensor([np.asarray(photo).mean() / 255.0], dtype=torch.float32)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        self.asked.append(pixels)
        return pixels

    def features_of_map(self, cells: torch.Tensor) -> torch.Tensor:
        self.asked.append(cells)
        return cells[:, 0, :1]

    def ranked(self, probabilities: list[float], count: int) -> list[KindScore]:
        return sorted(map(KindScore, self.kinds, probabilities), key=lambda kind: -kind.score)[:count]

    def predict_features(self, features: torch.Tensor) -> torch.Tensor:
        return (-30 * (features - torch.tensor([0.15, 0.45, 0.75])).abs()).softmax(dim=1)


MADE: list[StandIn] = []


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    """The stand-ins that a test has made."""
    MADE.clear()
    monkeypatch.setattr(cascade, "Classifier", StandIn)
    return MADE


@pytest.fixture
def sources(tmp_path: Path) -> Callable[[int], list[Artifact]]:
    """So many fine artefacts, empty but for a number."""

    def make(count: int) -> list[Artifact]:
        found = []
        for number in range(count):
            with artifact.draft(tmp_path / "artifacts", "fine", config={}) as work:
                (work.path / "number").write_text(str(number))
                found.append(work.publish())
        return found

    return make


def refined(photo: TaggedPhoto) -> dict[str, Refined]:
    """Tag → answer."""
    return {entry.tag: entry.refined for entry in photo.tags if entry.refined is not None}


def run(tagger: Tagger, photos: Sequence[str], models: Cascade | None, **options: Any) -> list[TaggedPhoto]:
    return list(tag(photos=photos, tagger=tagger, cascade=models, **options))


# ---- which photos are refined


def test_photos_in_which_the_word_is_found_are_refined_and_no_others(
    tagger: Tagger, photos: list[str], sources: Any, made: list[StandIn]
) -> None:
    (source,) = sources(1)
    plain = run(tagger, photos, None)
    found = run(tagger, photos, Cascade(tagger, {"cat": source}, 0.0))
    wanted = [any(entry.tag == "cat" and not entry.unsure for entry in photo.tags) for photo in plain]
    assert [set(refined(photo)) == {"cat"} for photo in found] == wanted
    assert 0 < sum(wanted) < len(photos)
    assert made[0].prepared == sum(wanted), "what is not found is not even prepared"
    strip = [[(entry.tag, entry.score, entry.unsure) for entry in photo.tags] for photo in found]
    assert strip == [[(entry.tag, entry.score, entry.unsure) for entry in photo.tags] for photo in plain]


def test_the_answer_is_that_of_the_photo_alone_best_first(
    tagger: Tagger, photos: list[str], sources: Any, made: list[StandIn]
) -> None:
    models = Cascade(tagger, {"cat": sources(1)[0]}, 0.0)
    for photo in run(tagger, photos, models, threshold=0.0):
        (answer,) = refined(photo).values()
        alone = made[0].predict_features(made[0].prepare(Image.open(photo.image).convert("RGB"))[None])[0]
        assert answer.model == "fine:v1"
        assert {kind.kind: kind.score for kind in answer.kinds} == pytest.approx(
            dict(zip(StandIn.kinds, alone.tolist(), strict=True))
        )
        assert answer.best.score == max(kind.score for kind in answer.kinds)


@pytest.mark.parametrize(("word", "name"), [("CAT", "cat"), ("lady", "woman"), ("cat", "cat")])
def test_a_tag_is_known_by_any_of_its_names(
    tagger: Tagger, photos: list[str], sources: Any, made: list[StandIn], word: str, name: str
) -> None:
    found = run(tagger, photos, Cascade(tagger, {word: sources(1)[0]}, 0.0))
    assert {told for photo in found for told in refined(photo)} == {name}


def test_a_word_the_model_does_not_have_is_asked_and_told_where_it_is_found(
    tagger: Tagger, photos: list[str], sources: Any, made: list[StandIn]
) -> None:
    models = Cascade(tagger, {"dog": sources(1)[0]}, 0.0)
    scores = [
        next(entry.score for entry in photo.tags if entry.tag == "dog")
        for photo in run(tagger, photos, None, open_set=["dog"])
    ]
    low, high = sorted({min(scores), max(scores)})
    between = (low + high) / 2
    for photo, score in zip(run(tagger, photos, models, threshold=between), scores, strict=True):
        told = [entry for entry in photo.tags if entry.tag == "dog"]
        assert [entry.open_set for entry in told] == [True] * (score >= between)
        assert ("dog" in refined(photo)) == (score >= between)
    # Without a threshold, words of --open-set are told in any case, others where they are found alone.
    tagger.open_set_threshold, own = 0.9999, tagger.open_set_threshold
    try:
        assert not any(entry.tag == "dog" for photo in run(tagger, photos, models) for entry in photo.tags)
        typed = run(tagger, photos, models, open_set=["dog"])
        assert all(any(entry.tag == "dog" and entry.unsure for entry in photo.tags) for photo in typed)
        assert not any(map(refined, typed))
    finally:
        tagger.open_set_threshold = own


def test_a_word_is_found_though_other_tags_fill_the_list(
    tagger: Tagger, photos: list[str], sources: Any, made: list[StandIn]
) -> None:
    (photo,) = run(tagger, photos[:1], Cascade(tagger, {"rocket": sources(1)[0]}, 0.0), threshold=0.0, top_k=1)
    assert [entry.tag for entry in photo.tags] == ["woman", "rocket"]
    assert set(refined(photo)) == {"rocket"}


def test_an_answer_of_low_confidence_stays_with_the_word(
    tagger: Tagger, photos: list[str], sources: Any, made: list[StandIn]
) -> None:
    (source,) = sources(1)
    every = run(tagger, photos, Cascade(tagger, {"cat": source}, 0.0), threshold=0.0)
    best = sorted(refined(photo)["cat"].best.score for photo in every)
    middle = best[len(best) // 2]
    sure = run(tagger, photos, Cascade(tagger, {"cat": source}, middle), threshold=0.0)
    told = [refined(photo)["cat"].sure for photo in sure]
    assert told == [refined(photo)["cat"].best.score >= middle for photo in every]
    assert sorted(set(told)) == [False, True]
    assert all("cat" in [entry.tag for entry in photo.tags] for photo in sure)


@pytest.mark.parametrize("word", ["cat", "dog"])  # a tag, and a word that is none
def test_a_word_counts_as_found_from_the_score_that_came_with_it(
    tagger: Tagger, photos: list[str], sources: Any, made: list[StandIn], word: str
) -> None:
    (source,) = sources(1)
    asked = run(tagger, photos, None, open_set=[word])
    scores = [next(entry.score for entry in photo.tags if entry.tag == word) for photo in asked]
    plain = run(tagger, photos, None)
    for least in (0.0, sorted(scores)[len(scores) // 2], 1.0):
        models = Cascade(tagger, {word: source}, 0.0, {word: least})
        found = run(tagger, photos, models)
        assert [word in refined(photo) for photo in found] == [score >= least for score in scores]
        assert all(not entry.unsure for photo in found for entry in photo.tags if entry.refined)
        others = [[entry for entry in photo.tags if entry.tag != word] for photo in found]
        assert others == [[entry for entry in photo.tags if entry.tag != word] for photo in plain]
        tally = models.tallies[word]
        assert (tally.photos, tally.found, tally.told) == (len(photos), *[sum(score >= least for score in scores)] * 2)
        assert (tally.best, tally.least) == (max(scores), least)
    # A score above the tag's own threshold keeps it from being refined, not from being told.
    if word == "cat":
        assert [[entry.tag for entry in photo.tags] for photo in found] == [
            [entry.tag for entry in photo.tags] for photo in plain
        ]


def test_another_supercategory_than_the_word_is_noticed(tagger: Tagger, sources: Any, made: list[StandIn]) -> None:
    first, second = sources(2)
    models = Cascade(tagger, {"cat": first, "dog": second}, 0.0)
    assert models.other_supercategories == {"dog": "cat"}
    made[0].supercategory, made[1].supercategory = "Dog", ""
    assert models.other_supercategories == {"cat": "Dog"}
    same_tag = Cascade(tagger, {"woman": first}, 0.0)
    made[2].supercategory = "Lady"
    assert same_tag.other_supercategories == {}


# ---- nothing twice


def test_a_photo_that_fits_two_words_is_refined_under_both(
    tagger: Tagger, photos: list[str], sources: Any, made: list[StandIn]
) -> None:
    first, second = sources(2)
    found = run(tagger, photos[:1], Cascade(tagger, {"cat": first, "cup": second}, 0.0), threshold=0.0)
    assert {name: answer.model for name, answer in refined(found[0]).items()} == {"cat": "fine:v1", "cup": "fine:v2"}
    assert [sum(map(len, model.asked)) for model in made] == [1, 1]


def test_a_model_that_two_words_ask_for_answers_once(
    tagger: Tagger, photos: list[str], sources: Any, made: list[StandIn]
) -> None:
    (source,) = sources(1)
    found = run(tagger, photos, Cascade(tagger, {"cat": source, "lady": source}, 0.0), threshold=0.0)
    assert all(set(refined(photo)) == {"cat", "woman"} for photo in found)
    assert (len(made), made[0].prepared, sum(map(len, made[0].asked))) == (1, len(photos), len(photos))


def test_each_photo_is_decoded_and_seen_by_the_tagging_model_once(
    tagger: Tagger, photos: list[str], sources: Any, made: list[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    seen: list[int] = []

    def counted(references: Sequence[str], prepare: Any, **options: Any) -> Any:
        read.extend(references)
        return read_batches(references, prepare, **options)

    monkeypatch.setattr(stage, "read_batches", counted)
    hook = tagger.image_encoder.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    features = Tagger.features
    monkeypatch.setattr(Tagger, "features", lambda self, pixels: seen.append(len(pixels)) or features(self, pixels))
    monkeypatch.setattr(StandIn, "shares", True)
    run(tagger, photos, Cascade(tagger, {"cat": sources(1)[0]}, 0.0), threshold=0.0)
    hook.remove()
    assert (read, sum(seen)) == (photos, len(photos))
    shared = torch.cat(made[0].asked)
    pixels = torch.cat([batch for _, batch, _ in read_batches(photos, lambda photo, _: tagger.preprocess(photo))])
    torch.testing.assert_close(shared, features(tagger, pixels), atol=1e-4, rtol=1e-4)
    assert made[0].prepared == 0, "whoever reads features needs no pixels"


# ---- batches


def test_photos_come_out_in_order_in_batches_and_bad_ones_among_them(
    tagger: Tagger, photos: list[str], sources: Any, made: list[StandIn], tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no photo")
    given = [*photos[:7], str(tmp_path / "bad.jpg"), *photos[7:]]
    found = run(tagger, given, Cascade(tagger, {"cat": sources(1)[0]}, 0.0), threshold=0.0)
    assert [photo.image for photo in found] == given
    assert [bool(photo.error) for photo in found] == [image == given[7] for image in given]
    assert [len(batch) for batch in made[0].asked] == [8, 8]


def test_output_waits_for_a_batch_no_longer_than_it_must(
    tagger: Tagger, sources: Any, made: list[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cascade, "_WAIT", 5)
    models = Cascade(tagger, {"cat": sources(1)[0]}, 0.0)
    taken: list[int] = []

    def photos(found: set[int]) -> Any:
        for number in range(12):
            taken.append(number)
            findings = {"cat": cascade.Finding(0.5, 0.5, number in found)}
            yield cascade.Seen(number, findings, Image.new("RGB", (2, 2)), torch.zeros(1, 1))

    out = models.refine(photos({3}))
    assert [(next(out)[0], len(taken)) for _ in range(4)] == [(0, 1), (1, 2), (2, 3), (3, 8)]
    assert [number for number, _ in out] == [4, 5, 6, 7, 8, 9, 10, 11]
    assert [len(batch) for batch in made[0].asked] == [1]


# ---- what was typed wrongly


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["dog"], "--refine 'dog' does not name a word and a model. Give them as in --refine dog=fine:v2"),
        (["=fine:v1"], "--refine '=fine:v1' does not name a word and a model."),
        (["dog="], "--refine 'dog=' does not name a word and a model."),
        (["dog=@0.5"], "--refine 'dog=@0.5' does not name a word and a model."),
        (["dog=v1@much"], "--refine 'dog=v1@much': 'much' is no score. Give a number from 0 to 1 after the @."),
        (["dog=v1@1.5"], "--refine 'dog=v1@1.5': '1.5' is no score."),
        (["dog=v1@nan"], "--refine 'dog=v1@nan': 'nan' is no score."),
        (["cat=v1", "cat=v1"], "--refine names 'cat' twice. Name one model for a word."),
    ],
)
def test_a_value_that_names_no_word_and_model_is_refused(
    tagger: Tagger, sources: Any, made: list[StandIn], tmp_path: Path, values: list[str], message: str
) -> None:
    sources(1)
    with pytest.raises(InputError) as caught:
        open_cascade(tagger, tmp_path / "artifacts", values, 0.5)
    assert str(caught.value).startswith(message)


def test_two_names_of_one_tag_are_refused(tagger: Tagger, photos: list[str], sources: Any, made: list[StandIn]) -> None:
    first, second = sources(2)
    with pytest.raises(InputError, match=r"--refine names 'woman' and 'lady', which are one tag\. Name one of them\."):
        run(tagger, photos, Cascade(tagger, {"woman": first, "lady": second}, 0.5))


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_a_confidence_that_is_no_score_is_refused(tagger: Tagger, sources: Any, confidence: float) -> None:
    with pytest.raises(InputError, match=r"--refine-confidence .* is no score\. Give a number from 0 to 1\."):
        Cascade(tagger, {"cat": sources(1)[0]}, confidence)


def test_without_values_there_is_no_cascade(tagger: Tagger, tmp_path: Path) -> None:
    assert open_cascade(tagger, tmp_path, [], 0.5) is None


def test_a_model_that_is_not_there_is_told(tagger: Tagger, sources: Any, trained: Home, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"has no fine:v2 \(there: none\)\. List them: ramkit artifacts"):
        open_cascade(tagger, tmp_path / "artifacts", ["dog=fine:v2"], 0.5)
    with pytest.raises(ArtifactError, match=r"is of kind model, needed is fine\. Name another folder\."):
        open_cascade(tagger, tmp_path, [f"dog={trained.root / 'model' / 'v1'}"], 0.5)


# ---- with real fine models


@pytest.fixture(scope="session")
def fine_root(trained: Home, photos: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tagging model, and two fine models of four kinds: v1 upon its image encoder, v2 upon one of its own."""
    root = tmp_path_factory.mktemp("fine")
    shutil.copytree(trained.root / "model", root / "model")
    folder = tmp_path_factory.mktemp("kinds")
    for photo in map(Path, photos):
        (folder / "train" / photo.stem.partition("-")[0]).mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, folder / "train" / photo.stem.partition("-")[0])
    plain = FineTrainConfig(
        supercategory="animal", image_encoder="model:v1", image_size=0, crop_share=1.0, text_prompts=False,
        patch_selection="activation",
        train_layers=0, views=1, augmentation="none", epochs=60, batch=8, learning_rate=1e-2, warmup_epochs=0.0,
        precision="float32", workers=0, device="cpu",
    )  # fmt: skip
    fine_train(source=str(folder), artifacts=root, config=plain)
    own = {"image_encoder": "test_efficientnet", "image_weights": "", "image_size": 64, "patch_selection": "none"}
    fine_train(source=str(folder), artifacts=root, config=with_values(plain, **own, epochs=2))
    return root


def test_a_shared_encoder_runs_once_and_answers_as_the_fine_model_alone(
    fine_root: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger = Tagger(artifact.find(fine_root, "model"))
    runs: list[int] = []
    forward = type(tagger.image_encoder).forward_features
    monkeypatch.setattr(
        type(tagger.image_encoder), "forward_features", lambda self, x: runs.append(len(x)) or forward(self, x)
    )
    models = open_cascade(tagger, fine_root, ["cat=fine:v1"], 0.0)
    assert models is not None
    assert models._models["fine:v1"]._shares  # loads the model, which measures its encoder on a black image
    alone = Classifier(artifact.find(fine_root, "fine", "v1"))
    assert alone.shares_encoder(tagger.encoder_identity, tagger.preprocess)
    runs.clear()
    found = run(tagger, photos, models, threshold=0.0)
    assert sum(runs) == len(photos)
    right = 0
    for photo in found:
        (answer,) = refined(photo).values()
        scores = alone.predict(alone.prepare(read_photo(photo.image))[None])[0].tolist()
        assert [kind.kind for kind in answer.kinds] == [kind.kind for kind in alone.ranked(scores, 3)]
        assert [kind.score for kind in answer.kinds] == pytest.approx(sorted(scores, reverse=True)[:3], abs=1e-3)
        right += Path(photo.image).stem.startswith(answer.best.kind)
    assert right >= 14, f"{right} of 16"


def test_an_encoder_of_its_own_sees_what_was_found_and_nothing_else(fine_root: Path, photos: list[str]) -> None:
    tagger = Tagger(artifact.find(fine_root, "model"))
    models = open_cascade(tagger, fine_root, ["cat=fine:v2"], 0.0)
    assert models is not None
    classifier = models._models["fine:v2"]._classifier
    assert not classifier.shares_encoder(tagger.encoder_identity, tagger.preprocess)
    seen: list[int] = []
    classifier.vision.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    found = run(tagger, photos, models)
    assert sum(seen) == sum(map(bool, map(refined, found)))
    assert 0 < sum(seen) < len(photos)


def test_the_table_shows_the_kind_under_its_tag_with_both_scores(
    ramkit: Callable[..., Any], fine_root: Path, photos: list[str]
) -> None:
    given = ("tag", photos[4], "--artifacts", fine_root, "--refine", "cat=fine:v1", "--refine-confidence", "0")
    document = json.loads(ramkit(*given, "--json").out)[0]
    entry = next(entry for entry in document["tags"] if entry["tag"] == "cat")
    answer = entry["refined"]
    assert (answer["kind"], answer["model"], len(answer["top"])) == ("cat", "fine:v1", 3)
    assert answer["top"][0] == {"kind": answer["kind"], "score": answer["score"]}
    assert [other for other in document["tags"] if "refined" in other] == [entry]
    lines = ramkit(*given).out.splitlines()
    row = next(number for number, line in enumerate(lines) if "│ cat " in line)
    assert f"{entry['score']:.3f}" in lines[row]
    assert "│   └ cat " in lines[row + 1]
    assert f"{answer['score']:.3f}" in lines[row + 1]
    assert "fine:v1" in lines[row + 1]
    given = (*given[:-1], "1")
    document = json.loads(ramkit(*given, "--json").out)[0]
    unsure = next(entry for entry in document["tags"] if entry["tag"] == "cat")["refined"]
    assert unsure == {**answer, "kind": None}, "asked, and not sure enough to tell"
    assert "└ cat" not in ramkit(*given).out


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("cat=fine:v9", "has no fine:v9 (there: v1, v2). List them: ramkit artifacts"),
        ("cat=nothing", "nothing: no artefact here (manifest.json is missing). List them: ramkit artifacts"),
        ("cat", "--refine 'cat' does not name a word and a model. Give them as in --refine dog=fine:v2"),
    ],
)
def test_what_cannot_be_refined_is_one_line(
    ramkit: Callable[..., Any], fine_root: Path, photos: list[str], value: str, message: str
) -> None:
    result = ramkit("tag", photos[0], "--artifacts", fine_root, "--refine", value)
    assert (result.code, result.out) == (1, "")
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_people_are_told_what_became_of_their_words(
    ramkit: Callable[..., Any], fine_root: Path, photos: list[str]
) -> None:
    """Found nowhere, found but unsure, another super-category: each in a line, and how to ask sooner."""
    given = ("tag", *photos, "--artifacts", fine_root, "--refine")
    nowhere = ramkit(*given, "wild boar=fine:v1@1").err
    assert "fine:v1 tells kinds of animal apart; it is asked where wild boar is found." in nowhere
    assert "wild boar: found in no photo; its highest score is 0." in nowhere
    assert "the least that counts 1.000. For a lower one: --refine 'wild boar=fine:v1@SCORE'" in nowhere
    every = ramkit(*given, "cat=fine:v1@0", "--refine-confidence", "0")
    assert "found in" not in every.err
    assert every.out.count("└") - every.out.count("└─") == len(photos)
    unsure = ramkit(*given, "cat=fine:v1@0", "--refine-confidence", "1").err
    assert f"cat: found in {len(photos)} of {len(photos)} photos; fine:v1 tells the kind in 0; it is below" in unsure
    assert "below --refine-confidence 1 on the others." in unsure
