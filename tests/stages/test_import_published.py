"""import, as a person uses it: a published checkpoint in, a model out that tags; and one clear line where it cannot."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import published_reference as reference
import pytest
import tiny_models
import tiny_published as tiny
import torch
from safetensors.torch import load_file
from tiny_home import TAGS, Home

from ramkit import artifact
from ramkit.config import ImportConfig
from ramkit.photos import Preprocess, read_photo
from ramkit.stages import import_published as stage
from ramkit.tagger import Tagger
from ramkit.text.encoders import load_text_encoder

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
LIMITS = [0.0, 1.0, 0.3, 0.0, 0.5, 0.0]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text encoder that the checkpoint's vectors are of, by its spec."""
    return f"open_clip:local-dir:{tiny_models.write_clip(tmp_path_factory.mktemp('clip'))}"


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, clip: str) -> Path:
    """A folder with checkpoint, descriptions, tags and thresholds; not to be written into."""
    folder = tmp_path_factory.mktemp("published")
    texts = {tag: tiny.texts_of(tag) for tag in tiny.NAMES}
    vectors = load_text_encoder(clip).encode([text for own in texts.values() for text in own])
    tiny.write_checkpoint(folder / "tiny.pth", vectors)
    (folder / "texts.json").write_text(json.dumps([{tag: own} for tag, own in texts.items()]))
    (folder / "tags.txt").write_text("\n".join(tiny.NAMES) + "\n")
    (folder / "limits.txt").write_text("\n".join(map(str, LIMITS)) + "\n\n")
    return folder


@pytest.fixture(scope="session")
def imported(files: Path, tmp_path_factory: pytest.TempPathFactory) -> artifact.Artifact:
    return stage.import_published(
        artifacts=tmp_path_factory.mktemp("artifacts"),
        checkpoint=files / "tiny.pth",
        config=ImportConfig(),
        descriptions=files / "texts.json",
        thresholds=files / "limits.txt",
    )


def test_a_photo_gets_the_logits_that_the_checkpoint_gives(imported: artifact.Artifact, files: Path) -> None:
    state = torch.load(files / "tiny.pth", weights_only=True)["model"]
    tagger = Tagger(imported)
    pixels = tagger.preprocess(read_photo(str(PHOTOS / "cat.jpg")))
    assert torch.equal(pixels, Preprocess(224)(read_photo(str(PHOTOS / "cat.jpg")))), "squashed, bilinear, ImageNet's"
    *_, (_, grid) = reference.swin(state, pixels, heads=tiny.HEADS, window=tiny.WINDOW)
    seen = reference.tokens(state, grid)
    wanted = reference.logits(state, reference.queries(state, seen, tiny.TAGS), seen)
    found = tagger.logits(tagger.features(pixels[None]), tagger.vocabulary)[0]
    torch.testing.assert_close(found, wanted, atol=5e-4, rtol=0)
    assert found.std() > 0.02, "tags differ"


def test_the_command_tells_what_it_found_and_tag_uses_it(
    ramkit: Callable[..., Any], files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = ramkit("import", files / "tiny.pth", "--tags", files / "tags.txt", "--thresholds", files / "limits.txt")
    assert made.code == 0
    for told in (
        "swin_tiny_patch4_window7_224, 768 channels, 224 pixels", "6, 3 descriptions each", "1 at 1 never fire",
        "not in the file: 1/0.07", "open_clip:ViT-B-16/openai", "not given",
    ):  # fmt: skip
        assert told in made.out, told
    assert "The model is artifacts/model/v1. Try: ramkit tag PHOTO --model model:v1" in made.err
    found = json.loads(ramkit("tag", PHOTOS, "--model", "model:v1", "--json", "--at-least", 0).out)
    assert len(found) == len(list(PHOTOS.glob("*.jpg")))
    for photo in found:
        told = {entry["tag"] for entry in photo["tags"]}
        assert {"cat", "red car", "tree"} <= told, "their thresholds are 0"
        assert "Dog" not in told, "at 1 it never fires"


def test_the_manifest_says_where_it_is_from(imported: artifact.Artifact, files: Path) -> None:
    from ramkit.files import read_rows, sha256_of

    notes = {"checkpoint": "tiny.pth", "checkpoint_sha256": sha256_of(files / "tiny.pth")}
    assert imported.manifest["notes"] == notes
    assert (imported.manifest["inputs"], imported.manifest["lineage"]) == ({}, [])
    told = imported.statistics
    assert (told["tags"], told["descriptions_a_tag"], told["tags_that_never_fire"]) == (6, 3, 1)
    assert told["texts_of_descriptions"]
    rows = list(read_rows(imported.file("descriptions.jsonl")))
    assert rows[4] == {"tag": "Dog", "index": 1, "text": "Dog on the red"}
    assert len(rows) == 18
    assert [row["threshold"] for row in read_rows(imported.file("vocabulary.jsonl"))] == LIMITS
    assert told["bytes"] < (files / "tiny.pth").stat().st_size


def test_without_thresholds_the_published_default_holds(
    ramkit: Callable[..., Any], files: Path, tmp_path: Path
) -> None:
    target = tmp_path / "deep" / "model"
    arguments = ("import", files / "tiny.pth", "--descriptions", files / "texts.json", "--output", target)
    made = ramkit(*arguments, "--json", "--precision", "float16")
    told = json.loads(made.out)
    assert (told["path"], told["threshold"]) == (str(target), 0.68)
    tagger = Tagger(artifact.load(target, "model"))
    assert tagger.thresholds == [0.68] * 6
    assert load_file(target / "head.safetensors")["decoder.input.weight"].dtype == torch.float16
    assert [entry.name for entry in target.parent.iterdir()] == ["model"], "nothing is left beside it"
    again = ramkit(*arguments)
    assert (again.code, again.err.count("\n")) == (1, 1)
    assert f"{target}: exists already. Name a new folder." in again.err


def test_an_import_that_breaks_off_leaves_nothing(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("ramkit.tagger.write_rows", full)
    for output in (None, tmp_path / "model"):
        with pytest.raises(OSError, match="No space"):
            stage.import_published(
                artifacts=tmp_path / "artifacts", checkpoint=files / "tiny.pth", config=ImportConfig(),
                descriptions=files / "texts.json", output=output,
            )  # fmt: skip
        assert artifact.versions(tmp_path / "artifacts", "model") == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


TEXTS = [{tag: ["a", "b", "c"]} for tag in tiny.NAMES]


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("tags", "\n".join(tiny.NAMES[:5]), "5 tags, but the checkpoint holds 18 vectors of descriptions, which is no"),
        ("tags", "cat\n\ndog", "given.txt, line 2: is empty."),
        ("tags", "\n".join([*tiny.NAMES[:5], "cat"]), "given.txt: 'cat' comes twice."),
        ("descriptions", TEXTS[:5], "5 tags, but the checkpoint holds 18 vectors"),
        ("descriptions", TEXTS[:3], "3 texts of 'cat', the checkpoint holds 6 vectors a tag."),
        ("descriptions", [*TEXTS[:5], TEXTS[0]], "given.txt: 'cat' comes twice."),
        ("descriptions", "[1]", "given.txt, entry 1: no object in braces."),
        ("thresholds", "0.5\n" * 5, "given.txt: 5 thresholds of 6 tags. Give one a line for every tag."),
        ("thresholds", "0.5\n" * 5 + "high", "given.txt, line 6: 'high' is no score. Give a number from 0 to 1."),
        ("thresholds", "0.5\n" * 5 + "1.5", "given.txt, line 6: '1.5' is no score."),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    ramkit: Callable[..., Any], files: Path, tmp_path: Path, option: str, content: Any, message: str
) -> None:
    given = write(tmp_path / "given.txt", content)
    tags = () if option in ("tags", "descriptions") else ("--tags", files / "tags.txt")
    result = ramkit("import", files / "tiny.pth", *tags, f"--{option}", given, "--artifacts", tmp_path / "a")
    assert (result.code, result.err.count("\n")) == (1, 1), result.err
    assert message in result.err
    assert artifact.versions(tmp_path / "a", "model") == []


def test_tags_and_descriptions_have_to_agree(ramkit: Callable[..., Any], files: Path, tmp_path: Path) -> None:
    both = ("import", files / "tiny.pth", "--descriptions", files / "texts.json", "--artifacts", tmp_path, "--tags")
    assert ramkit(*both, files / "tags.txt").code == 0
    other = write(tmp_path / "other.txt", "\n".join(["cat", "dog", *tiny.NAMES[2:]]))
    assert f"{other}: tag 2 is 'dog', in {files / 'texts.json'} 'Dog'. Give one of the two files" in ramkit(
        *both, other
    ).err  # fmt: skip
    fewer = write(tmp_path / "fewer.txt", "\n".join(tiny.NAMES[:5]))
    assert f"{fewer}: 5 tags, {files / 'texts.json'} 6. Give one" in ramkit(*both, fewer).err


def test_what_is_no_checkpoint_is_refused(ramkit: Callable[..., Any], files: Path, tmp_path: Path) -> None:
    result = ramkit("import", files / "tiny.pth", "--artifacts", tmp_path)
    assert "error: The checkpoint holds no names of tags. Give --descriptions or --tags." in result.err
    import argparse

    torch.save({"model": {}, "args": argparse.Namespace(lr=1)}, tmp_path / "odd.pth")
    torch.save({"model": {"a": torch.ones(1)}}, tmp_path / "other.pth")
    for name, message in {
        "odd.pth": "not readable as weights (it holds an object of argparse.Namespace, which could run code). Name a",
        "other.pth": "image_proj.weight is missing. Name a checkpoint of RAM++ (ram_plus_swin_*.pth).",
        "gone.pth": "not readable as weights (No such file or directory). Name a",
    }.items():
        result = ramkit("import", tmp_path / name, "--tags", files / "tags.txt", "--artifacts", tmp_path)
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert re.search(re.escape(f"{tmp_path / name}: {message}"), result.err), result.err


def test_a_text_encoder_that_is_a_file_is_known_by_its_hash(
    ramkit: Callable[..., Any], files: Path, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    folder = Path(clip.removeprefix("open_clip:local-dir:"))
    (tmp_path / "ramkit-tiny.json").write_text(json.dumps(tiny_models.CLIP))
    open_clip.add_model_config(tmp_path / "ramkit-tiny.json")
    weights = folder / "open_clip_model.safetensors"
    monkeypatch.chdir(folder)
    arguments = ("import", files / "tiny.pth", "--tags", files / "tags.txt", "--artifacts", tmp_path)
    assert ramkit(*arguments, "--text-encoder", f"open_clip:ramkit-tiny/{weights.name}").code == 0
    model = artifact.find(tmp_path, "model")
    assert Tagger(model).text_identity == {
        "spec": f"open_clip:ramkit-tiny/{weights}", "sha256": load_text_encoder(clip).identity()["sha256"]
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert Tagger(model).describe(["zebra"]).descriptions.shape == (1, 1, 16), "from wherever it is asked"


# ---- open set


@pytest.fixture
def ask(ramkit: Callable[..., Any], imported: artifact.Artifact, clip: str) -> Callable[..., Any]:
    """`ramkit tag cat.jpg` with the imported model and its text encoder."""
    return lambda *options, encoder=clip: ramkit(
        "tag", PHOTOS / "cat.jpg", "--model", imported.path, "--text-encoder", encoder, "--json", *options
    )


def scores(result: Any, *, typed: bool = True) -> dict[str, float]:
    assert result.code == 0, result.err
    (photo,) = json.loads(result.out)
    return {entry["tag"]: entry["score"] for entry in photo["tags"] if entry.get("open_set", False) == typed}


@pytest.fixture(scope="session")
def wanted(imported: artifact.Artifact, files: Path, clip: str) -> Callable[[list[str]], float]:
    """The score of a word by its texts, computed from the published names alone."""
    state = torch.load(files / "tiny.pth", weights_only=True)["model"]
    pixels = Preprocess(224)(read_photo(str(PHOTOS / "cat.jpg")))
    *_, (_, grid) = reference.swin(state, pixels, heads=tiny.HEADS, window=tiny.WINDOW)
    seen, encoder = reference.tokens(state, grid), load_text_encoder(clip)

    def score(texts: list[str]) -> float:
        asked = reference.queries({**state, "label_embed": encoder.encode(texts)}, seen, 1)
        return float(reference.logits(state, asked, seen).sigmoid())

    return score


def test_typed_words_are_asked_beside_the_tags(
    ask: Callable[..., Any], wanted: Callable[..., float], imported: artifact.Artifact, clip: str
) -> None:
    query = Tagger(imported, text_encoder=clip).describe(["umbrella"]).descriptions[0, 0]
    assert torch.equal(query, load_text_encoder(clip).encode(["a photo of a umbrella."])[0]), "the article as published"
    found = ask("--open-set", "umbrella, red car", "--at-least", 6)
    assert scores(found)["umbrella"] == pytest.approx(wanted(["a photo of a umbrella."]), abs=2e-4)
    assert scores(found)["red car"] == pytest.approx(wanted(tiny.texts_of("red car")), abs=2e-4), "a tag: by its texts"
    alone = scores(ask("--at-least", 6), typed=False)
    assert scores(found, typed=False) == {tag: score for tag, score in alone.items() if tag != "red car"}


def test_words_are_asked_with_descriptions_of_a_file(
    ask: Callable[..., Any], wanted: Callable[..., float], tmp_path: Path
) -> None:
    texts = {"Zebra": ["a photo of a Zebra.", "black on  white\n", "stripes"], "cat": ["a furry cat", "whiskers"]}
    given = write(tmp_path / "words.json", [{word: own} for word, own in texts.items()])
    every = scores(ask("--open-set-descriptions", given))
    assert list(every) == sorted(every, key=lambda word: -every[word])
    assert every["Zebra"] == pytest.approx(wanted(["a photo of a Zebra.", "black on white", "stripes"]), abs=2e-4)
    assert every["cat"] == pytest.approx(wanted(texts["cat"]), abs=2e-4), "a tag with texts of its own: by those"
    some = scores(ask("--open-set-descriptions", given, "--open-set", "zebra, sled"))
    assert some == {"zebra": every["Zebra"], "sled": pytest.approx(wanted(["a photo of a sled."]), abs=2e-4)}


def test_the_description_that_was_chosen_is_shown(
    ask: Callable[..., Any], imported: artifact.Artifact, tmp_path: Path
) -> None:
    given = write(tmp_path / "words.json", {"Zebra": ["black on white", "stripes"]})
    found = ask("--open-set-descriptions", given, "--explain", "--explain-to", tmp_path / "why")
    (photo,) = json.loads(found.out)
    told = {entry["tag"]: entry.get("explanation") for entry in photo["tags"]}
    assert {row["text"] for row in told["Zebra"]["descriptions"]} == {"black on white", "stripes"}
    best = next(tag for tag, why in told.items() if why and tag != "Zebra")
    assert {row["text"] for row in told[best]["descriptions"]} <= set(tiny.texts_of(best))


def test_words_are_asked_with_what_describe_made(ask: Callable[..., Any], home: Home) -> None:
    made = home.descriptions(home.vocabulary())
    by_name = scores(ask("--open-set-descriptions", "descriptions:v1", "--artifacts", home.root))
    assert sorted(by_name) == sorted(TAGS)
    assert scores(ask("--open-set-descriptions", made.path)) == by_name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"ale": [" "]}], "'ale' has no text. Give a JSON list of"),
        ([{" ": ["x"]}], "'' has no text. Give a JSON list of"),
        ("[", "not JSON ("),
    ],
)
def test_descriptions_of_another_form_are_refused(
    ask: Callable[..., Any], tmp_path: Path, content: Any, message: str
) -> None:
    given = write(tmp_path / "words.json", content)
    result = ask("--open-set-descriptions", given)
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert f"error: {given}: {message}" in result.err


def test_another_text_encoder_is_told_of(ask: Callable[..., Any], tmp_path: Path) -> None:
    other = f"open_clip:local-dir:{tiny_models.write_clip(tmp_path / 'other', seed=1)}"
    told = ask("--open-set", "zebra", encoder=other).err
    assert f"{other} is not what made this model's vectors (mean cosine " in told
    assert ask("--open-set", "zebra").err == ""
    assert ask("--open-set", "cat", encoder="open_clip:none/none").err == "", "a tag needs no text encoder"


def test_without_a_hub_typed_words_are_one_line_with_the_cure(
    ramkit: Callable[..., Any], imported: artifact.Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", offline)
    result = ramkit("tag", PHOTOS / "cat.jpg", "--model", imported.path, "--open-set", "zebra")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "open_clip:ViT-B-16/openai cannot be loaded (" in result.err
    assert "Go online, or name a file of its weights: --text-encoder open_clip:ViT-B-16-quickgelu/FILE" in result.err
    mini = ramkit("tag", PHOTOS / "cat.jpg", "--model", "mini", "--text-encoder", "open_clip:ViT-B-16/openai")
    assert "carries its own text encoder. Leave out --text-encoder." in mini.err


def test_many_texts_are_encoded_once(ask: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ramkit.text.encoders import OpenClipTextEncoder

    monkeypatch.setenv("RAMKIT_CACHE", str(tmp_path / "cache"))
    encode, counts = OpenClipTextEncoder.encode, []

    def counted(self: OpenClipTextEncoder, texts: Any) -> torch.Tensor:
        counts.append(len(texts))
        return encode(self, texts)

    monkeypatch.setattr(OpenClipTextEncoder, "encode", counted)
    words = {f"word {number}": [f"text {j} of {number}" for j in range(20)] for number in range(10)}
    given = write(tmp_path / "words.json", words)
    first = scores(ask("--open-set-descriptions", given))
    assert counts.count(200) == 1
    assert scores(ask("--open-set-descriptions", given)) == first
    assert counts.count(200) == 1
    words["word 9"][0] = "another text"
    ask("--open-set-descriptions", write(given, words))
    assert counts[-1] == 1, "the new one alone"
