"""tag, as a person uses it: photos in, tags out, and one clear line where something is wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_home import TAGS, Home, described

from ramkit import artifact
from ramkit.embeddings import Embedded, save_embeddings
from ramkit.errors import ArtifactError, InputError
from ramkit.photos import read_photo
from ramkit.stages.tag import TaggedPhoto, read_words, tag
from ramkit.tagger import Tagger, find_model


@pytest.fixture(scope="session")
def tagger(trained: Home) -> Tagger:
    return Tagger(artifact.find(trained.root, "model"))


@pytest.fixture
def model(trained: Home, tmp_path: Path) -> Path:
    """A copy of the model's folder that may be spoilt."""
    return Path(shutil.copytree(artifact.find(trained.root, "model").path, tmp_path / "model"))


@pytest.fixture
def run(ramkit: Callable[..., Any], trained: Home) -> Callable[..., Any]:
    """`ramkit tag ARGUMENTS` with the trained model."""
    return lambda *arguments: ramkit("tag", *arguments, "--artifacts", trained.root)


def only(photos: Any) -> TaggedPhoto:
    (photo,) = photos
    return photo


def scores_of(photo: TaggedPhoto) -> dict[str, float]:
    return {entry.tag: entry.score for entry in photo.tags}


# ---- scores


def test_scores_are_the_sigmoid_of_the_logits_best_first(tagger: Tagger, photos: list[str]) -> None:
    found = only(tag(photos=[photos[0]], tagger=tagger, threshold=0.0))
    pixels = tagger.preprocess(read_photo(photos[0]))[None]
    logits = tagger.head(tagger.features(pixels), tagger.vocabulary.descriptions, tagger.vocabulary.present)[0]
    wanted = dict(zip(TAGS, logits.sigmoid().tolist(), strict=True))
    assert scores_of(found) == pytest.approx(wanted)
    assert [entry.score for entry in found.tags] == sorted(wanted.values(), reverse=True)
    assert found.tags[0].tag == "woman"
    assert not any(entry.open_set for entry in found.tags)


def test_a_photo_among_others_gets_what_it_gets_alone(tagger: Tagger, photos: list[str]) -> None:
    together = list(tag(photos=photos, tagger=tagger, threshold=0.0, open_set=["dog"]))
    assert [photo.image for photo in together] == photos
    for photo in together[::5]:
        alone = only(tag(photos=[photo.image], tagger=tagger, threshold=0.0, open_set=["dog"]))
        assert scores_of(alone) == pytest.approx(scores_of(photo), abs=1e-4)


def test_the_models_own_threshold_holds_unless_another_is_given(tagger: Tagger, photos: list[str]) -> None:
    every = only(tag(photos=[photos[8]], tagger=tagger, threshold=0.0))
    own = only(tag(photos=[photos[8]], tagger=tagger, at_least=0))
    assert own.tags == [entry for entry in every.tags if entry.score >= tagger.threshold]
    assert 0 < len(own.tags) < 5
    second = every.tags[1].score
    assert only(tag(photos=[photos[8]], tagger=tagger, threshold=second)).tags == every.tags[:2], "what reaches it"
    assert only(tag(photos=[photos[8]], tagger=tagger, threshold=1.0)).tags == []


def test_a_tag_with_a_threshold_of_its_own_is_held_to_that_one(trained: Home, photos: list[str]) -> None:
    tagger = Tagger(artifact.find(trained.root, "model"))
    for row in tagger.rows:
        row["threshold"] = 0.0 if row["tag"] == "rocket" else 1.0
    told = only(tag(photos=[photos[0]], tagger=tagger, at_least=0, open_set=["zebra"]))
    assert [entry.tag for entry in told.tags if not entry.open_set] == ["rocket"], "at 1 a tag is never found"


def test_a_photo_gets_its_best_tags_even_where_none_is_sure(tagger: Tagger, photos: list[str]) -> None:
    sure = only(tag(photos=[photos[8]], tagger=tagger, at_least=0)).tags
    told = only(tag(photos=[photos[8]], tagger=tagger, at_least=len(sure) + 1)).tags
    assert told[:-1] == sure
    assert [entry.unsure for entry in told] == [False] * len(sure) + [True]
    assert len(only(tag(photos=[photos[8]], tagger=tagger, at_least=4, top_k=2)).tags) == 2
    assert not any(entry.unsure for entry in only(tag(photos=[photos[8]], tagger=tagger, threshold=0.0)).tags)


def test_a_missing_photo_does_not_stop_the_others(ramkit: Callable[..., Any], photos: list[str], model: Path) -> None:
    result = ramkit("tag", "gone.jpg", photos[0], "--model", model, "--json")
    first, second = json.loads(result.out)
    assert (result.code, first["tags"], bool(second["tags"])) == (0, [], True)
    assert first["error"] == "gone.jpg: no such file. Check the path."
    assert "1 of 2 photos could not be read" in result.err


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (3, 3), (5, 5), (99, 5), (0, 5)])
def test_top_k_limits_the_tags_of_the_vocabulary(tagger: Tagger, photos: list[str], top_k: int, count: int) -> None:
    every = only(tag(photos=[photos[0]], tagger=tagger, threshold=0.0, top_k=0))
    found = only(tag(photos=[photos[0]], tagger=tagger, threshold=0.0, top_k=top_k, open_set=["dog", "red cat"]))
    assert [entry for entry in found.tags if not entry.open_set] == every.tags[:count]
    assert sum(entry.open_set for entry in found.tags) == 2


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_score_is_refused(tagger: Tagger, photos: list[str], threshold: float) -> None:
    with pytest.raises(InputError, match=r"is no score\. Give a number from 0 to 1\."):
        list(tag(photos=photos, tagger=tagger, threshold=threshold))


# ---- open set


def test_typed_words_are_told_whatever_their_score_and_marked(tagger: Tagger, photos: list[str]) -> None:
    found = only(tag(photos=[photos[0]], tagger=tagger, open_set=["dog", "red bicycle"]))
    assert {entry.tag for entry in found.tags if entry.open_set} == {"dog", "red bicycle"}
    pixels = tagger.preprocess(read_photo(photos[0]))[None]
    vectors = tagger.text_encoder.encode(["a photo of a dog.", "a photo of a red bicycle."])
    logits = tagger.logits(tagger.features(pixels), Embedded(vectors[:, None], torch.tensor([1, 1])))[0]
    scores = scores_of(found)
    assert [scores["dog"], scores["red bicycle"]] == pytest.approx(logits.sigmoid().tolist())


def test_typed_words_do_not_change_the_others(tagger: Tagger, photos: list[str]) -> None:
    plain = scores_of(only(tag(photos=[photos[4]], tagger=tagger, threshold=0.0)))
    more = scores_of(only(tag(photos=[photos[4]], tagger=tagger, threshold=0.0, open_set=["dog", "zebra"])))
    assert {name: more[name] for name in plain} == pytest.approx(plain, abs=1e-5)


def test_a_given_threshold_filters_typed_words_too(tagger: Tagger, photos: list[str]) -> None:
    words = ["dog", "red bicycle"]
    scores = scores_of(only(tag(photos=[photos[0]], tagger=tagger, threshold=0.0, open_set=words)))
    low, high = sorted(words, key=lambda word: scores[word])
    found = scores_of(only(tag(photos=[photos[0]], tagger=tagger, threshold=scores[high], open_set=words)))
    assert high in found
    assert low not in found


@pytest.mark.parametrize(("typed", "known"), [("cat", "cat"), ("CAT", "cat"), ("lady", "woman")])
def test_a_typed_tag_or_alias_is_asked_as_the_tag(tagger: Tagger, photos: list[str], typed: str, known: str) -> None:
    plain = scores_of(only(tag(photos=[photos[0]], tagger=tagger, threshold=0.0)))
    found = only(tag(photos=[photos[0]], tagger=tagger, threshold=0.0, open_set=[typed]))
    (entry,) = (entry for entry in found.tags if entry.open_set)
    assert (entry.tag, entry.score) == (typed, pytest.approx(plain[known]))
    assert len(found.tags) == 5
    hidden = only(tag(photos=[photos[0]], tagger=tagger, open_set=["rocket"]))
    assert any(entry.tag == "rocket" and entry.open_set for entry in hidden.tags), "though below the threshold"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["corgi"], ["corgi"]),
        (["corgi, red  bicycle ,wedding cake"], ["corgi", "red bicycle", "wedding cake"]),
        (["a,b", "b,c", " a "], ["a", "b", "c"]),
        (["a,,b,"], ["a", "b"]),
        (["Dog,cat,dog", "CAT"], ["Dog", "cat"]),
        ([], []),
        (["@FILE"], ["corgi", "traffic light, red", "Hund"]),
        (["x", "@FILE"], ["x", "corgi", "traffic light, red", "Hund"]),
    ],
)
def test_words_are_read_from_values_and_files(tmp_path: Path, given: list[str], expected: list[str]) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffcorgi\r\n\r\n  traffic light,  red \nHund\ncorgi".encode())
    assert read_words([value.replace("FILE", str(path)) for value in given]) == expected


@pytest.mark.parametrize("value", ["", " , ", ","])
def test_a_value_without_a_word_is_refused(value: str) -> None:
    with pytest.raises(InputError, match="holds no word"):
        read_words(["corgi", value])


def test_a_file_that_holds_no_words_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n \n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, message in {
        "empty": "holds no word",
        "binary": "not readable as a list of words",
        "gone": "not readable as a list of words",
        ".": "not readable as a list of words",
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            read_words([f"@{tmp_path / name}"])
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(InputError, match=r"--open-set @ names no file\. Give it as in --open-set @words\.txt"):
        read_words(["@"])


# ---- the command line


def test_the_table(run: Callable[..., Any], photos: list[str]) -> None:
    result = run(photos[0], "--open-set", "red dog", "--threshold", 0)
    assert result.code == 0
    assert result.err == ""
    lines = [line for line in result.out.splitlines() if any(name in line for name in (*TAGS, "red dog"))]
    assert len(lines) == 6
    assert "typed" in next(line for line in lines if "red dog" in line)
    assert sum("typed" in line for line in lines) == 1
    assert "woman" in lines[0]
    assert result.out.count(photos[0]) == 1
    assert "typed" not in run(photos[0]).out


def test_the_json(run: Callable[..., Any], photos: list[str]) -> None:
    result = run(photos[0], photos[4], "--json", "--open-set", "red dog,cat", "--threshold", "0")
    first, second = json.loads(result.out)
    assert first.keys() == second.keys() == {"image", "tags"}
    assert [first["image"], second["image"]] == [photos[0], photos[4]]
    by_tag = {entry["tag"]: entry for entry in first["tags"]}
    assert by_tag.keys() == {*TAGS, "red dog"}
    assert by_tag["red dog"].keys() == {"tag", "score", "open_set"}
    assert by_tag["cat"]["open_set"] is True
    assert by_tag["woman"].keys() == {"tag", "score"}
    assert all(0 <= entry["score"] <= 1 for entry in first["tags"])
    assert second["tags"][0]["tag"] == "cat"


def test_words_from_a_file_and_repeated_options(run: Callable[..., Any], photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("red dog\nthe sea\n")
    result = run(photos[0], "--json", "--open-set", f"@{tmp_path}/words.txt", "--open-set", "dog, sled")
    (photo,) = json.loads(result.out)
    assert {entry["tag"] for entry in photo["tags"] if entry.get("open_set")} == {"red dog", "the sea", "dog", "sled"}


def test_files_and_folders_together(run: Callable[..., Any], photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "album" / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "deep/b.JPG")):
        shutil.copy(photos[number], tmp_path / "album" / name)
    result = run(photos[5], tmp_path / "album", photos[5], "--json")
    assert [photo["image"] for photo in json.loads(result.out)] == [
        photos[5], f"{tmp_path}/album/a.jpg", f"{tmp_path}/album/deep/b.JPG"
    ]  # fmt: skip


def test_a_bad_photo_among_good_ones_is_named_and_the_others_are_tagged(
    run: Callable[..., Any], photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    (tmp_path / "empty.png").touch()
    result = run(photos[0], tmp_path / "text.jpg", tmp_path / "empty.png", photos[4], "--json")
    assert result.code == 0
    documents = json.loads(result.out)
    assert [("error" in document, bool(document["tags"])) for document in documents] == [
        (False, True), (True, False), (True, False), (False, True)
    ]  # fmt: skip
    assert documents[1]["error"].startswith(f"{tmp_path}/text.jpg: not an image")
    assert [line for line in result.err.splitlines() if line.startswith("error:")] == [
        f"error: {documents[1]['error']}", f"error: {documents[2]['error']}"
    ]  # fmt: skip
    assert "2 of 4 photos could not be read" in result.err
    assert documents[3]["tags"] == json.loads(run(photos[4], "--json").out)[0]["tags"]


def test_only_bad_photos_end_with_an_error(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    result = run(tmp_path / "text.jpg")
    assert (result.code, result.out) == (1, "")
    assert len(result.err.splitlines()) == 1
    assert result.err.startswith(f"error: {tmp_path}/text.jpg: not an image")
    (tmp_path / "empty").mkdir()
    for name, message in {"gone.jpg": "no such file", "empty": "no photo in this folder"}.items():
        result = run(tmp_path / name)
        assert (result.code, result.out) == (1, "")
        assert message in result.err
        assert len(result.err.splitlines()) == 1


def test_nothing_above_the_threshold_is_said(run: Callable[..., Any], photos: list[str]) -> None:
    result = run(photos[0], "--threshold", "1")
    assert (result.code, result.out) == (0, "")
    assert result.err == f"{photos[0]}: no tag reaches the threshold; --threshold 0 shows all.\n"
    assert json.loads(run(photos[0], "--threshold", "1", "--json").out) == [{"image": photos[0], "tags": []}]


def test_a_rotated_photo_is_tagged_upright(run: Callable[..., Any], photos: list[str], tmp_path: Path) -> None:
    upright = Image.open(photos[4])
    upright.save(tmp_path / "upright.png")
    turned = upright.transpose(
        Image.Transpose.ROTATE_90
    )  # its upper side lies left, as a camera held on edge stores it
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    turned.save(tmp_path / "plain.png")
    found = {
        Path(photo["image"]).stem: photo["tags"]
        for photo in json.loads(run(tmp_path, "--json", "--threshold", "0").out)
    }
    assert found["turned"] == found["upright"]
    assert found["plain"] != found["upright"]


@pytest.mark.parametrize("threshold", ["1.5", "-1", "nan"])
def test_a_threshold_out_of_range_is_one_line(run: Callable[..., Any], photos: list[str], threshold: str) -> None:
    result = run(photos[0], "--threshold", threshold)
    assert (result.code, result.out) == (1, "")
    assert result.err == f"error: --threshold {float(threshold)} is no score. Give a number from 0 to 1.\n"


# ---- which model


def test_a_model_is_named_by_version_folder_or_left_to_be_the_newest(
    ramkit: Callable[..., Any], trained: Home, photos: list[str], model: Path, tmp_path: Path
) -> None:
    forms = ["v1", "1", "model:v1", str(trained.root / "model" / "v1"), str(model)]
    wanted = ramkit("tag", photos[0], "--json", "--artifacts", trained.root).out
    assert json.loads(wanted)[0]["tags"][0]["tag"] == "woman"
    for form in forms:
        assert ramkit("tag", photos[0], "--json", "--artifacts", trained.root, "--model", form).out == wanted
    elsewhere = ramkit("tag", photos[0], "--json", "--artifacts", tmp_path / "none", "--model", model)
    assert elsewhere.out == wanted


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("v7", "has no model:v7 (there: v1). List them: ramkit artifacts"),
        ("nothing", "nothing: no artefact here (manifest.json is missing). List them: ramkit artifacts"),
        ("../vocabulary/v1", "is of kind vocabulary, needed is model. Name another folder."),
    ],
)
def test_a_model_that_is_not_there_is_one_line(
    run: Callable[..., Any], trained: Home, photos: list[str], which: str, message: str
) -> None:
    given = trained.root / "model" / which if which.startswith("..") else which
    result = run(photos[0], "--model", given)
    assert (result.code, result.out) == (1, "")
    assert message in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["head.safetensors", "model.json", "vocabulary.jsonl", "embeddings.safetensors"])
def test_a_model_edited_by_hand_is_refused(run: Callable[..., Any], photos: list[str], model: Path, name: str) -> None:
    content = bytearray((model / name).read_bytes())
    content[-2] ^= 1
    (model / name).write_bytes(bytes(content))
    result = run(photos[0], "--model", model)
    assert result.code == 1
    assert result.err == (f"error: {model}: {name} was changed after it was written. Make it anew: ramkit train\n")


def test_a_model_with_a_file_missing_or_more_is_refused(
    run: Callable[..., Any], photos: list[str], model: Path
) -> None:
    (model / "tokenizer.json").rename(model / "notes.txt")
    result = run(photos[0], "--model", model)
    assert result.err == f"error: {model}: file missing: tokenizer.json. Make it anew: ramkit train\n"
    (model / "notes.txt").rename(model / "tokenizer.json")
    (model / "notes.txt").touch()
    assert "file that is not in the manifest: notes.txt. Move it away." in run(photos[0], "--model", model).err


def test_embeddings_of_another_vocabulary_inside_a_model_are_refused(
    ramkit: Callable[..., Any], trained: Home, photos: list[str], tmp_path: Path
) -> None:
    made = artifact.find(trained.root, "model")
    with artifact.draft(tmp_path / "artifacts", "model", config=made.config) as work:
        for name in made.manifest["files"]:
            shutil.copy(made.path / name, work.path / name)
        other = Embedded(torch.ones(4, 2, 32), torch.tensor([2, 2, 2, 1]))
        save_embeddings(work.path / "embeddings.safetensors", other, "int8")
        work.publish()
    result = ramkit("tag", photos[0], "--artifacts", tmp_path / "artifacts")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"error: {tmp_path}/artifacts/model/v1: 5 tags, but embeddings of 4. Train the model anew: ramkit train\n"
    )


def test_no_model_at_all_falls_back_to_the_bundled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    monkeypatch.setattr("ramkit.tagger.BUNDLED", tmp_path / "bundled")
    with pytest.raises(ArtifactError, match=r"mini: no artefact here"):
        find_model(tmp_path / "none")
    shutil.copytree(model, tmp_path / "bundled" / "mini")
    assert find_model(tmp_path / "none").path == tmp_path / "bundled" / "mini"
    assert find_model(tmp_path / "none", "mini").path == tmp_path / "bundled" / "mini"


def test_a_trained_model_goes_before_the_bundled_one(
    trained: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    monkeypatch.setattr("ramkit.tagger.BUNDLED", tmp_path / "bundled")
    shutil.copytree(model, tmp_path / "bundled" / "mini")
    assert find_model(trained.root).name == "model:v1"
    assert find_model(trained.root, "mini").path.parent == tmp_path / "bundled"


def test_the_descriptions_of_a_tag_are_all_asked(tagger: Tagger) -> None:
    assert tagger.vocabulary.counts.tolist() == [len(described(name)) for name in TAGS]


def test_a_model_needs_no_network_nor_the_encoders_folder(trained: Home, tagger: Tagger, tmp_path: Path) -> None:
    copy = shutil.copytree(tagger.source.path, tmp_path / "copy")
    moved = Tagger(artifact.load(Path(copy), "model"))
    moved.text_identity = {"spec": "sentence:/no/where", "sha256": "0"}
    assert moved.has_text_encoder
    torch.testing.assert_close(moved.text_encoder.encode(["a dog"]), tagger.text_encoder.encode(["a dog"]))
