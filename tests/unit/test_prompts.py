"""Prompts: the paper's wording, and the grammar around the tag."""

from pathlib import Path

import pytest

from ramkit.errors import InputError
from ramkit.text.prompts import PAPER_PROMPTS, ask, context_of, listed, read_prompts, template, with_article


def test_the_five_prompts_are_worded_as_in_the_paper() -> None:
    assert [ask(prompt, "dog") for prompt in PAPER_PROMPTS] == [
        "Describe concisely what a dog looks like.",
        "How can you identify a dog concisely?",
        "What does a dog look like concisely?",
        "What are the identified characteristics of a dog",
        "Please provide a concise description of the visual characteristics of dog",
    ]


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("dog", "a dog"),
        ("umbrella", "an umbrella"),
        ("hour glass", "an hour glass"),
        ("unicycle", "a unicycle"),
        ("umpire", "an umpire"),
        ("SUV", "an SUV"),
        ("UFO", "a UFO"),
        ("TV", "a TV"),
        ("X-ray", "an X-ray"),
        ("x-ray", "an x-ray"),
        ("T-shirt", "a T-shirt"),
        ("suv", "an suv"),
        ("lcd screen", "an lcd screen"),
        ("usb stick", "a usb stick"),
        ("st. bernard", "a st. bernard"),
        ("fly", "a fly"),
        ("8-ball", "an 8-ball"),
        ("18 wheeler", "an 18 wheeler"),
        ("1980s car", "a 1980s car"),
        ("chess", "chess"),
        ("winter", "winter"),
        ("skis", "skis"),
        ("one-way street", "a one-way street"),
        ("scissors", "scissors"),
        ("traffic lights", "traffic lights"),
        ("bus", "a bus"),
        ("glasses", "glasses"),
        ("glass", "a glass"),
        ("grass", "grass"),
        ("people", "people"),
        ("slice of pizza", "a slice of pizza"),
        ("men with hats", "men with hats"),
        ("the beach", "the beach"),
        ("öre", "a öre"),
    ],
)
def test_the_article_that_a_tag_takes(tag: str, expected: str) -> None:
    assert with_article(tag) == expected


def test_plurals_turn_the_verb() -> None:
    assert ask(PAPER_PROMPTS[0], "scissors") == "Describe concisely what scissors look like."
    assert ask(PAPER_PROMPTS[2], "scissors") == "What do scissors look like concisely?"
    assert ask(PAPER_PROMPTS[3], "umbrella") == "What are the identified characteristics of an umbrella"


@pytest.mark.parametrize(
    ("tag", "doing"),
    [
        ("ride", "riding"),
        ("ride a bike", "riding a bike"),
        ("riding a bike", "riding a bike"),
        ("sit", "sitting"),
        ("lie", "lying"),
        ("see", "seeing"),
        ("picnic", "picnicking"),
        ("tennis", "playing tennis"),
        ("table tennis", "playing table tennis"),
        ("play tennis", "playing tennis"),
        ("yoga", "doing yoga"),
        ("trick", "doing a trick"),
        ("visit", "visiting"),
        ("swing", "swinging"),
        ("string", "stringing"),
        ("ice skating", "ice skating"),
        ("cross-country skiing", "cross-country skiing"),
        ("trick or treat", "tricking or treat"),
    ],
)
def test_actions_are_named_by_what_one_is_doing(tag: str, doing: str) -> None:
    assert template(tag, "action") == f"a photo of {doing}."
    assert ask(PAPER_PROMPTS[2], tag, "action") == f"What does {doing} look like concisely?"
    assert ask("Was sieht man bei {}?", tag, "action") == f"Was sieht man bei {doing}?"


def test_attributes_are_named_by_what_has_them() -> None:
    assert template("red", "attribute") == "a photo of something red."
    assert ask(PAPER_PROMPTS[0], "red", "attribute") == "Describe concisely what red looks like."


def test_a_tag_is_put_in_as_it_is() -> None:
    assert ask("What is {}? A {}!", r"b\1 {}") == r"What is b\1 {}? A b\1 {}!"


def test_own_prompts_in_any_language(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("# German\nBeschreibe kurz, wie {} aussieht.\n\nDescribe a {}.\n", encoding="utf-8")
    prompts = read_prompts(path)
    assert [ask(prompt, "apple") for prompt in prompts] == [
        "Beschreibe kurz, wie apple aussieht.",
        "Describe an apple.",
    ]


@pytest.mark.parametrize(
    ("content", "message"), [("no braces\n", "line 1: no {}"), ("# nothing\n\n", "holds no prompt")]
)
def test_a_prompt_file_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_prompts(path)


def test_a_prompt_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_prompts(tmp_path / "none.txt")


def test_context_tells_the_sense() -> None:
    assert context_of("crane", "object", "a large wading bird.") == 'Here "crane" means: a large wading bird.'
    assert context_of("surf", "action", "") == 'Here "surfing" names an action as seen in photos.'
    assert context_of("dog", "object", "") == ""


def test_listed() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
