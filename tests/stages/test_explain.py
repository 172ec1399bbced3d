"""tag --explain: what is told of a tag is what the model computed, by loops where there are any."""

import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_home import TAGS, Home, described

from ramkit import artifact
from ramkit.explanation import Explanation, explain
from ramkit.photos import read_photo
from ramkit.pictures.explained import picture
from ramkit.tagger import Tagger


@pytest.fixture(scope="module")
def tagger(trained: Home) -> Tagger:
    return Tagger(artifact.find(trained.root, "model"))


@pytest.fixture(scope="module")
def photo(photos: list[str]) -> Image.Image:
    return read_photo(photos[4])


@pytest.fixture(scope="module")
def features(tagger: Tagger, photo: Image.Image) -> torch.Tensor:
    return tagger.features(tagger.preprocess(photo)[None])


def test_the_parts_of_the_logit_make_it_up(tagger: Tagger, photo: Image.Image, features: torch.Tensor) -> None:
    logits = tagger.logits(features, tagger.vocabulary)[0]
    typed = tagger.logits(features, tagger.describe(["zebra"]))[0]
    found = explain(tagger, photo, ["zebra", *TAGS])
    assert [entry.tag for entry in found] == ["zebra", *TAGS]
    assert [entry.logit for entry in found] == pytest.approx([*typed.tolist(), *logits.tolist()], abs=1e-4)
    assert len({round(entry.direct, 4) for entry in found}) == 6


def test_the_weights_are_those_of_the_equation(tagger: Tagger, photo: Image.Image, features: torch.Tensor) -> None:
    vocabulary, head = tagger.vocabulary, tagger.head
    direction = head.project(features)[0, 0]
    direction = direction / direction.norm()
    for number, entry in enumerate(explain(tagger, photo, TAGS)):
        count = len(described(TAGS[number]))
        powers = [
            math.exp(float(head.log_temperature.exp() * (direction @ vocabulary.descriptions[number, j])))
            for j in range(count)
        ]
        assert entry.weights == pytest.approx([power / sum(powers) for power in powers], abs=1e-5)
        assert entry.texts == described(TAGS[number])
        weight, text = entry.chosen(1)[0]
        assert (weight, text) == (max(entry.weights), entry.texts[int(np.argmax(entry.weights))])
        entropy = -sum(w * math.log(w) for w in entry.weights)
        assert entry.in_use == pytest.approx(math.exp(entropy))


def made(weights: list[float]) -> Explanation:
    return Explanation("x", 0.0, 0.0, weights, [], None, 0.0, None)


def test_descriptions_in_use_go_from_one_to_all() -> None:
    assert made([1.0, 0.0, 0.0]).in_use == pytest.approx(1.0)
    assert made([0.25] * 4).in_use == pytest.approx(4.0)
    assert made([0.5, 0.5, 0.0]).in_use == pytest.approx(2.0)
    assert made([1.0]).chosen(3) == []


def test_the_map_is_the_attention_of_the_last_layer(tagger: Tagger, photo: Image.Image, features: torch.Tensor) -> None:
    decoder = tagger.head.decoder
    with torch.inference_mode():
        tokens = tagger.head.project(features)
        queries = tagger.head.tag_queries(tokens, tagger.vocabulary.descriptions, tagger.vocabulary.present)
        states = decoder.input(queries).relu()
        *first, last = list(decoder.layers)
        for layer in first:
            states = layer(states, tokens)
        size = states.shape[-1] // last.heads
        wide, keys = last.query(states)[0], last.key(tokens)[0]
    side = len(tagger.token_places)
    assert side * side == tokens.shape[1] - 1
    for number, entry in enumerate(explain(tagger, photo, TAGS)):
        wanted = torch.zeros(tokens.shape[1])
        for head in range(last.heads):
            part = slice(head * size, (head + 1) * size)
            powers = [math.exp(float(wide[number, part] @ key[part]) / math.sqrt(size)) for key in keys]
            wanted += torch.tensor(powers) / sum(powers) / last.heads
        assert entry.on_global == pytest.approx(float(wanted[0]), abs=1e-5)
        for row in range(side):
            for column in range(side):
                assert entry.attention[row, column] == pytest.approx(float(wanted[1 + row * side + column]), abs=1e-5)
        assert entry.attention.sum() + entry.on_global == pytest.approx(1.0, abs=1e-5)


def test_the_likeness_of_a_place_is_the_direct_similarity_with_its_token(
    tagger: Tagger, photo: Image.Image, features: torch.Tensor
) -> None:
    similarity = tagger.head.similarity
    side = len(tagger.token_places)
    with torch.inference_mode():
        tokens = tagger.head.project(features)
        queries = tagger.head.tag_queries(tokens, tagger.vocabulary.descriptions, tagger.vocabulary.present)
        for number, entry in enumerate(explain(tagger, photo, TAGS)):
            for place in range(side * side):
                wanted = similarity.direct(queries[:, number : number + 1], tokens[:, 1 + place])
                assert entry.likeness[divmod(place, side)] == pytest.approx(float(wanted), abs=1e-4)


def test_aliases_are_explained_as_their_tags_and_words_by_the_template(tagger: Tagger, photo: Image.Image) -> None:
    lady, woman, zebra = explain(tagger, photo, ["Lady", "woman", "zebra"])
    assert (lady.tag, lady.weights, lady.texts) == ("Lady", woman.weights, described("woman"))
    assert (zebra.weights, zebra.texts, zebra.in_use) == ([1.0], ["a photo of a zebra."], 1.0)


@pytest.fixture
def bare(ready: Home) -> Home:
    """A model of two plain towers, and no texts beside its vectors."""
    ready.train(layers=0, reweighting=False, similarity=False, epochs=1)
    source = artifact.find(ready.root, "model")
    with artifact.draft(ready.root, "model", config=source.config) as work:
        for name in source.manifest["files"]:
            if name != "descriptions.jsonl":
                shutil.copy(source.path / name, work.path / name)
        work.publish()
    return ready


def test_what_a_model_lacks_is_left_out_and_said(
    ramkit: Callable[..., Any], bare: Home, photos: list[str], tmp_path: Path
) -> None:
    (entry,) = explain(Tagger(artifact.find(bare.root, "model")), read_photo(photos[0]), ["woman"])
    assert (entry.attention, entry.likeness, entry.on_global, entry.direct) == (None, None, 0.0, 0.0)
    assert entry.weights == pytest.approx([0.25] * 4)
    with_texts = Tagger(artifact.find(bare.root, "model", "v1")).texts
    assert with_texts == [described(tag) for tag in TAGS], "training keeps the texts"
    told = ramkit("tag", photos[0], "--explain", "--explain-to", tmp_path, "--artifacts", bare.root)
    assert told.code == 0
    assert "The texts of the descriptions are not with this model." in told.out
    assert "decoder looked" not in told.out
    assert (tmp_path / "astronaut-0.png").is_file()


# ---- the command line and the picture


def test_the_table_and_the_picture(
    ramkit: Callable[..., Any], trained: Home, photos: list[str], tmp_path: Path
) -> None:
    arguments = ("--open-set", "zebra", "--explain", "--explain-to", tmp_path / "why", "--artifacts", trained.root)
    told = ramkit("tag", photos[4], *arguments)
    assert told.code == 0
    for text in ("decoder looked", "like the tag", "a photo of a zebra.", "descriptions chosen", "1.0 of 1 in use"):
        assert text in told.out
    assert f"why, as a picture: {tmp_path}/why/cat-0.png" in told.err
    tall = read_photo(str(tmp_path / "why" / "cat-0.png")).size
    ramkit("tag", photos[4], "--top-k", 1, *arguments[2:])
    flat = read_photo(str(tmp_path / "why" / "cat-0.png")).size
    assert tall[1] > 3 * flat[1]
    assert ramkit("tag", photos[4], "--threshold", 1, *arguments[2:]).code == 0, "nothing to explain"


def test_photos_of_one_name_get_a_picture_each(
    ramkit: Callable[..., Any], trained: Home, photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    shutil.copy(photos[0], tmp_path / "a" / "cat-0.jpg")
    given = [photos[4], tmp_path / "a" / "cat-0.jpg", tmp_path / "gone.jpg"]
    told = ramkit("tag", *given, "--explain", "--explain-to", tmp_path / "why", "--json", "--artifacts", trained.root)
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == ["cat-0-2.png", "cat-0.png"]
    first, _, gone = json.loads(told.out)
    assert gone["error"]
    best = first["tags"][0]["explanation"]
    assert best["logit"] == pytest.approx(best["decoder"] + best["similarity"], abs=2e-4)
    assert sum(entry["weight"] for entry in best["descriptions"]) == pytest.approx(1.0, abs=1e-3)
    assert np.array(best["attention"]).shape == np.array(best["likeness"]).shape


def test_texts_of_any_length_and_script_can_be_drawn(photo: Image.Image) -> None:
    rng = np.random.default_rng(0)
    names = ["猫", "a <b>$x_1$</b> & %", "word " * 60, "Straße\tλ\x07"]
    found = [
        Explanation(name, 1.0, -2.0, [0.7, 0.3], [name * 3, "x" * 400], rng.random((3, 3)), 0.1, rng.random((3, 3)))
        for name in names
    ]
    drawn = Image.open(io.BytesIO(picture(photo, "猫/$^$.jpg", [0.5] * 4, found, [0.2, 0.5, 0.8])))
    assert drawn.format == "PNG"
    assert drawn.width < 1600
    assert drawn.height < 1100
