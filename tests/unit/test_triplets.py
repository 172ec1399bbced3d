"""Triplets as training reads them: numbers of tags, cleaned captions, nothing of what is held out."""

from pathlib import Path

import pytest

from ramkit.artifact import Artifact, draft
from ramkit.files import write_rows
from ramkit.triplets import clean_caption, mentions, read_triplets, split

ROWS = [
    {"image": "a/1.jpg", "tags": ["dog", "park"], "captions": ["A dog!", "Two dogs in a park."]},
    {"image": "a/2.jpg", "tags": ["cat"], "captions": ["A cat; asleep."]},
    {"image": "a/3.jpg", "tags": [], "captions": ["..."]},
    {"image": "a/4.jpg", "tags": ["park"], "captions": []},
]


@pytest.fixture
def photos(tmp_path: Path) -> Artifact:
    with draft(tmp_path, "triplets", config={}) as work:
        write_rows(work.path / "triplets.jsonl", ROWS)
        return work.publish()


def read(photos: Artifact, tags: list[str], hold_out: tuple[str, ...] = ()) -> list[tuple[str, list[int], list[str]]]:
    return [(found.image, found.tags, found.captions) for found in read_triplets(photos, tags, hold_out)]


def test_tags_become_numbers_and_captions_are_cleaned(photos: Artifact) -> None:
    assert read(photos, ["park", "cat", "dog"]) == [
        ("a/1.jpg", [2, 0], ["a dog", "two dogs in a park"]),
        ("a/2.jpg", [1], ["a cat asleep"]),
        ("a/3.jpg", [], []),
        ("a/4.jpg", [0], []),
    ]


def test_unknown_tags_are_left_out_and_every_photo_keeps_its_position(photos: Artifact) -> None:
    assert [(found.position, found.tags) for found in read_triplets(photos, ["cat"])] == [
        (0, []), (1, [0]), (2, []), (3, [])
    ]  # fmt: skip


def test_captions_that_mention_what_is_held_out_are_left_out(photos: Artifact) -> None:
    assert read(photos, ["park", "cat"], ("dog",)) == [
        ("a/1.jpg", [0], []),
        ("a/2.jpg", [1], ["a cat asleep"]),
        ("a/3.jpg", [], []),
        ("a/4.jpg", [0], []),
    ]


@pytest.mark.parametrize(
    ("text", "held", "expected"),
    [
        ("A Dog.", ["dog"], True),
        ("two dogs", ["dog"], True),
        ("buses here", ["bus"], True),
        ("a hot-dog", ["dog"], True),
        ("a doggy bag", ["dog"], False),
        ("a bulldog", ["dog"], False),
        ("a traffic light", ["traffic light", "x"], True),
        ("light traffic", ["traffic light"], False),
        ("c.t", ["cat"], False),
        ("cat", ["c.t"], False),
        ("anything", [], False),
    ],
)
def test_a_mention_is_a_whole_word_or_its_plural(text: str, held: list[str], expected: bool) -> None:
    assert mentions(held)(text) is expected


def test_captions_are_cleaned_as_published() -> None:
    assert clean_caption('A "Dog" (small), #1: it\'s; here~ *now*!') == "a dog small , 1 it's here now"
    assert clean_caption("one. two") == "one two"
    assert clean_caption("word " * 40) == " ".join(["word"] * 30)
    assert clean_caption(" .!  ") == ""


def test_the_split_follows_the_file_name_alone(photos: Artifact, tmp_path: Path) -> None:
    with draft(tmp_path, "triplets", config={}) as work:
        rows = [{"image": f"x/{number}.jpg", "tags": ["dog"], "captions": []} for number in range(2000)]
        write_rows(work.path / "triplets.jsonl", rows)
        many = read_triplets(work.publish(), ["dog"])
    training, validation = split(many, 0.1)
    assert len(training) + len(validation) == 2000
    assert 150 < len(validation) < 250
    aside = {photo.image for photo in validation}
    assert {photo.image for photo in split(many[::3], 0.1)[1]} == aside & {photo.image for photo in many[::3]}
    assert aside <= {photo.image for photo in split(many, 0.2)[1]}
    assert split(many, 0.0) == (many, [])
    assert split(many, 1.0) == ([], many)
