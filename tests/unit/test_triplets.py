"""Triplets as training reads them: numbers of tags, cleaned captions, nothing of what is held out."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from ramkit.artifact import Artifact, draft
from ramkit.files import write_rows
from ramkit.triplets import clean_caption, mentions, read_triplets

ROWS = [
    {"image": "a/1.jpg", "tags": ["dog", "park"], "captions": ["A dog!", "Two dogs in a park."]},
    {"image": "a/2.jpg", "tags": ["cat"], "captions": ["A cat; asleep."]},
    {"image": "a/3.jpg", "tags": [], "captions": ["..."]},
    {"image": "a/4.jpg", "tags": ["park"], "captions": []},
]


def stored(root: Path, rows: list[dict[str, Any]]) -> Artifact:
    with draft(root, "triplets", config={}) as work:
        write_rows(work.path / "triplets.jsonl", rows)
        return work.publish()


@pytest.fixture
def photos(tmp_path: Path) -> Artifact:
    return stored(tmp_path, ROWS)


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


def test_rows_are_reached_by_number_of_the_row_and_of_the_choice(photos: Artifact) -> None:
    training, _ = read_triplets(photos, ["park"]).split(0.0, empty=False)
    assert training.positions.tolist() == [0, 1, 3]
    assert [training[number].image for number in range(len(training))] == ["a/1.jpg", "a/2.jpg", "a/4.jpg"]
    assert training.at(2).image == "a/3.jpg"
    assert training.images[1:] == ["a/2.jpg", "a/3.jpg", "a/4.jpg"]
    assert (len(training.images), training.images[-2]) == (4, "a/3.jpg")


@pytest.mark.parametrize(
    ("tags", "hold_out", "left"),
    [(["park", "dog", "cat"], (), [0, 1, 3]), ([], (), [0, 1]), ([], ("dog",), [1]), (["dog"], ("dog", "cat"), [0])],
)
def test_photos_of_neither_tag_nor_caption_teach_nothing(
    photos: Artifact, tags: list[str], hold_out: tuple[str, ...], left: list[int]
) -> None:
    for share, side in ((0.0, 0), (1.0, 1)):
        examples = read_triplets(photos, tags, hold_out).split(share, empty=False)
        assert examples[side].positions.tolist() == left
        assert len(examples[1 - side]) == 0


def test_the_split_follows_the_file_name_alone(tmp_path: Path) -> None:
    rows = [{"image": f"x/{number}.jpg", "tags": ["dog"], "captions": []} for number in range(2000)]
    many, few = read_triplets(stored(tmp_path, rows), ["dog"]), read_triplets(stored(tmp_path, rows[::3]), ["dog"])
    training, validation = many.split(0.1)
    assert len(training) + len(validation) == 2000
    assert 150 < len(validation) < 250
    aside = {photo.image for photo in validation}
    assert {photo.image for photo in few.split(0.1)[1]} == aside & set(few.images)
    assert aside <= {photo.image for photo in many.split(0.2)[1]}
    assert [list(side) for side in many.split(0.0)] == [list(many), []]
    assert [list(side) for side in many.split(1.0)] == [[], list(many)]


def test_memory_holds_no_rows(tmp_path: Path) -> None:
    rows = [{"image": f"{number}.jpg", "tags": ["dog"], "captions": ["a dog " * 50]} for number in range(20_000)]
    photos = stored(tmp_path, rows)
    tracemalloc.start()
    try:
        training, _ = read_triplets(photos, ["dog"]).split(0.1, empty=False)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 30 * len(rows)
    assert training[len(training) - 1].tags == [0]
