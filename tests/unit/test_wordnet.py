"""WordNet descriptions, on a hand-made WordNet; on the real one where it is installed."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tiny_wordnet import write_wordnet

from ramkit.errors import MissingError
from ramkit.text.photo_words import PHOTO_SENSES, SAID_IN_WORDNET
from ramkit.text.wordnet import ENVIRONMENT, WordNet, find_wordnet
from ramkit.text.wordnet_sentences import MAX_WORDS, gerund_phrase, say


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> WordNet:
    return WordNet(write_wordnet(tmp_path_factory.mktemp("wordnet")))


@pytest.fixture(scope="module")
def real() -> WordNet:
    try:
        return WordNet()
    except MissingError as error:
        pytest.skip(str(error))


def test_a_thing_is_told_by_gloss_kind_parts_names_and_sorts(net: WordNet) -> None:
    texts = net.describe("dog")
    assert texts[0] == "a photo of a dog."
    assert "A dog is a tame canine with four legs." in texts
    assert "A dog is a kind of canine." in texts
    assert "a photo of a dog with a paw and a tail." in texts
    assert "A dog, also called a domestic dog." in texts  # the Latin name says nothing of looks
    assert "A dog, such as a corgi or a poodle." in texts
    assert "a photo of a poodle, a dog with curly hair." in texts
    assert "The dog barked at the moon." in texts


def test_no_sentence_twice_and_never_more_than_the_limit(net: WordNet) -> None:
    texts = net.describe("dog", limit=40)
    assert len({text.lower() for text in texts}) == len(texts) > 10
    assert net.describe("dog", limit=3) == texts[:3]
    assert net.describe("dog", limit=1) == ["a photo of a dog."]


def test_plurals_are_told_by_their_singular_and_pairs_by_themselves(net: WordNet) -> None:
    assert net.describe("dogs")[:2] == ["a photo of dogs.", "A dog is a tame canine with four legs."]
    assert "Scissors are a tool with two crossing blades." in net.describe("scissors")
    assert "Scissors are made of steel." in net.describe("scissors")
    assert "A mouse is a hand-operated electronic thing that moves a cursor." in net.describe("mice")


def test_photo_words_mean_what_photos_show_and_the_second_look_is_kept(net: WordNet) -> None:
    assert net.senses("mouse") == [
        "a hand-operated electronic thing that moves a cursor",
        "any of the small rodents with a thin tail",
    ]
    texts = net.describe("mouse")
    assert "A mouse is any of the small rodents with a thin tail." in texts[2:10]


def test_what_can_be_photographed_comes_before_what_can_be_felt(net: WordNet) -> None:
    assert net.senses("glow") == ["a steady light without flames"]


def test_the_vocabularys_gloss_chooses_the_sense_and_is_told(net: WordNet) -> None:
    assert net.senses("mouse", gloss="one of the small grey rodents with a long tail")[0].startswith("any of the small")
    assert "A mouse is a small grey rodent." in net.describe("mouse", gloss="a small grey rodent")


def test_actions_and_attributes(net: WordNet) -> None:
    running = net.describe("running", "action")
    assert running[:3] == ["a photo of running.", "a photo of someone running.", "Running is to move fast on foot."]
    assert "Someone running, in other words hurrying." in running
    assert "Someone jogging: to run slowly for exercise." in running
    tall = net.describe("tall", "attribute")
    assert {"Something tall: great in height.", "a photo of tall buildings.", "Something tall, or lofty."} <= set(tall)


def test_one_rides_in_vehicles_and_on_animals(net: WordNet) -> None:
    assert "Riding a bicycle is to be carried in or on a vehicle." in net.describe("riding a bicycle", "action")
    assert "Ride a horse" not in " ".join(net.describe("ride a horse", "action"))
    assert "Riding a horse is to sit on the back of an animal." in net.describe("ride a horse", "action")


def test_a_compound_is_told_by_its_head_and_what_narrows_it(net: WordNet) -> None:
    texts = net.describe("tall bus")
    assert "A tall bus is a bus, a long vehicle that carries many passengers." in texts
    assert "A tall bus is a bus that is tall: great in height." in texts
    assert "A herd of dogs; dogs are a tame canine with four legs." in net.describe("herd of dogs")


def test_an_unknown_word_still_gets_photo_phrases(net: WordNet) -> None:
    assert net.describe("zzyzx") == [
        "a photo of a zzyzx.",
        "A zzyzx in a photo.",
        "a picture of a zzyzx.",
        "a close-up of a zzyzx.",
    ]
    assert "A dog is a tame canine with four legs." not in net.describe("zzyzx", aliases=["dog"])
    assert "A zzyzx is a tame canine with four legs." in net.describe("zzyzx", aliases=["dog"])


def test_text_is_the_same_in_every_process(net: WordNet) -> None:
    code = f"from ramkit.text.wordnet import WordNet; print(WordNet(__import__('pathlib').Path({str(net.folder)!r}))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", f"{code}.describe('dog', limit=30))"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert len(outputs) == 1


def test_long_glosses_end_at_a_break() -> None:
    text = say(f"{'word ' * 30}break, {'word ' * 30}")
    assert text.endswith("break.")
    assert len(say("word " * 90).split()) == MAX_WORDS


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        ("ride a bike", "riding a bike"),
        ("riding", "riding"),
        ("run", "running"),
        ("sit", "sitting"),
        ("outrun", "outrunning"),
        ("eat", "eating"),
        ("jump", "jumping"),
        ("lie", "lying"),
        ("see", "seeing"),
        ("ski", "skiing"),
        ("throw", "throwing"),
        ("kick", "kicking"),
        ("sing", "singing"),
        ("fly", "flying"),
    ],
)
def test_gerunds(verb: str, expected: str) -> None:
    assert gerund_phrase(verb) == expected


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_wordnet(tmp_path / "home" / "dict")
    assert find_wordnet(folder) == folder
    assert find_wordnet(folder.parent) == folder
    monkeypatch.setenv(ENVIRONMENT, str(folder))
    assert find_wordnet() == folder
    with pytest.raises(MissingError, match=r"holds no WordNet.*apt install wordnet-base.*nltk.downloader"):
        find_wordnet(tmp_path)


def test_none_installed_names_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ramkit.text.wordnet._PLACES", ())
    monkeypatch.setattr("ramkit.text.wordnet._nltk_places", list)
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(MissingError, match=r"WordNet is not installed\. Install it: apt install wordnet-base"):
        find_wordnet()


def test_the_zip_file_of_nltks_downloader_is_read(
    tmp_path: Path, net: WordNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpora = tmp_path / "corpora"
    corpora.mkdir()
    with zipfile.ZipFile(corpora / "wordnet.zip", "w") as archive:
        for path in net.folder.iterdir():
            archive.write(path, f"wordnet/{path.name}")
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    monkeypatch.setattr("ramkit.text.wordnet._PLACES", ())
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert WordNet().describe("dog") == net.describe("dog")


def test_source_names_the_version(net: WordNet) -> None:
    assert net.source == "wordnet 9.9"


def test_every_hand_kept_sense_exists_in_the_real_wordnet(real: WordNet) -> None:
    for word, pieces in PHOTO_SENSES.items():
        glosses = [sense.definition() for part in "nva" for sense in real._look_up(word, part)]
        for piece in pieces:
            assert any(piece in gloss for gloss in glosses), f"{word}: no gloss with {piece!r}"
    for word, name in SAID_IN_WORDNET.items():
        assert real._look_up(name, "n"), f"{word}: WordNet has no {name!r} either"


@pytest.mark.parametrize(
    ("tag", "kind", "piece"),
    [
        ("traffic light", "object", "visual signal to control the flow of traffic"),
        ("bat", "object", "club used for hitting"),
        ("person", "object", "human being"),
        ("surf", "action", "ride the waves"),
        ("kitchen", "scene", "room equipped for preparing meals"),
        ("wooden", "attribute", "made or consisting of"),
        ("riding a bike", "action", "travel on or in a vehicle"),
        ("double decker bus", "object", "vehicle carrying many passengers"),
    ],
)
def test_real_descriptions(real: WordNet, tag: str, kind: str, piece: str) -> None:
    texts = real.describe(tag, kind)
    assert any(piece in text for text in texts), texts
    assert len(texts) >= 8
