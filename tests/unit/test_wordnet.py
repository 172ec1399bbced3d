"""WordNet descriptions, on a hand-made WordNet; on the real one where it is installed."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tiny_wordnet import HYPERNYM, HYPONYM, SENSES, USAGE, Sense, write_wordnet

from ramkit.errors import MissingError
from ramkit.text.photo_words import PHOTO_SENSES, SAID_IN_WORDNET
from ramkit.text.unkind_words import UNKIND_PERSONS, holds_unkind, is_person
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


def test_people_are_not_listed_by_unkind_words(tmp_path: Path) -> None:
    sorts = {
        "friend": "one who is liked", "coolie": "a hired hand", "Jew": "one of a faith", "mistress": "a lover",
        "meanie": "one whom others look down upon", "serf": "one who is bound", "villein": "one of the bound",
        "baker": "one who bakes",
    }  # fmt: skip
    people = [
        Sense(name, "n", 18, name, gloss, ((HYPERNYM, "serf" if name == "villein" else "person"),))
        for name, gloss in sorts.items()
    ]
    marked = people[4]._replace(points=(*people[4].points, (USAGE, "disparagement")))
    own = (
        Sense("person", "n", 3, "person Negro soul", "a human being", tuple((HYPONYM, name) for name in sorts)),
        Sense("disparagement", "n", 10, "disparagement", "a way of speaking"),
        *(marked if sense.name == "meanie" else sense for sense in people),
    )
    texts = WordNet(write_wordnet(tmp_path, (*SENSES, *own))).describe("person", limit=40)
    assert "A person, such as a baker or a friend." in texts
    assert "A person, also called a soul." in texts
    assert not re.search("coolie|Jew|mistress|meanie|serf|villein|Negro", " ".join(texts))


def test_things_keep_names_that_are_unkind_of_people_alone() -> None:
    assert not holds_unkind("Kinds of bear are Asiatic black bear and American black bear.")
    assert not holds_unkind("A pie, such as a blueberry pie or a tart.")
    assert holds_unkind("Someone who works as hard as a slave.")
    assert holds_unkind("A taxi, such as a gypsy cab.")
    assert not holds_unkind("a photo of a gypsy.", but="gypsy")


def test_the_bundled_vocabulary_is_told_kindly(real: WordNet) -> None:
    """Of people, no word of either list; of anything, no word of the list for all senses."""
    path = Path(__file__).parents[2] / "ramkit" / "bundled" / "mini" / "vocabulary.jsonl"
    people = 0
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        tag, kind = row["tag"], row["kind"]
        texts = real.describe(tag, kind, aliases=row.get("aliases", ()))
        assert not [text for text in texts if holds_unkind(text, but=tag)]
        if any(is_person(sense) for sense in real._choose(tag, kind)):
            people += 1
            assert not [(text, found) for text in texts if (found := _runs_of_words(text, tag) & UNKIND_PERSONS)]
    assert people > 50


def _runs_of_words(text: str, but: str) -> set[str]:
    """One to three words after another, in lower case."""
    words = re.findall(r"[\w'-]+", text.lower())
    runs = {" ".join(words[start : start + length]) for length in (1, 2, 3) for start in range(len(words))}
    return runs - {but}
