"""Which answers are kept, what is mended, what is refused."""

import json
from pathlib import Path

import pytest

from ramkit.text.answer_report import near_duplicates, report
from ramkit.text.answers import LONGEST, fingerprint, judge, sentences_of
from ramkit.text.clip_tokens import CONTEXT, count_tokens

WHOLE = "A corgi is a low dog with short legs and large ears."


@pytest.mark.parametrize(
    ("answer", "text", "mended"),
    [
        (WHOLE, WHOLE, ()),
        (f"  {WHOLE}\n", WHOLE, ()),
        ("a low dog with short legs", "a low dog with short legs.", ()),
        (f'"{WHOLE}"', WHOLE, ()),
        (f"{WHOLE} Its coat is red and", WHOLE, ("trimmed",)),
        (f"Sure! {WHOLE}", WHOLE, ("preamble removed",)),
        (f"Here is a concise description of a corgi: {WHOLE}", WHOLE, ("preamble removed",)),
        (f"Certainly! Here's a description: {WHOLE}", WHOLE, ("preamble removed",)),
        (f"{WHOLE} I hope this helps! Let me know if you need more.", WHOLE, ("closing removed",)),
        (f"{WHOLE}\n\nNote: colours vary.", WHOLE, ("closing removed",)),
        (f"{WHOLE}\nUser: What does a cat look like?", WHOLE, ()),
        (f"<think>I can't see one, but</think>\n{WHOLE}", WHOLE, ()),
        ("**Shape:** low\n**Coat:** red", "Shape: low. Coat: red.", ()),
        ("It cannot help but show its red coat.", "It cannot help but show its red coat.", ()),
        (f"Describe a corgi. {WHOLE}", WHOLE, ("echo removed",)),
        ("- short legs\n- **large** ears\n- red coat", "short legs. large ears. red coat.", ("list",)),
        ("1. Short legs.\n2. Large ears.", "Short legs. Large ears.", ("list",)),
        ("A dog, e.g. a corgi, has fur. It is 30.5 cm tall.", "A dog, e.g. a corgi, has fur. It is 30.5 cm tall.", ()),
        (f"{WHOLE}<|im_end|>", WHOLE, ()),
        ("It is red.\x00\x1b[31m", "It is red.", ("trimmed",)),
        ("Ein kleiner Hund \u2013 mit round ears\u3002", "Ein kleiner Hund \u2013 mit round ears\u3002", ()),
    ],
)  # fmt: skip
def test_answers_that_are_kept(answer: str, text: str, mended: tuple[str, ...]) -> None:
    verdict = judge(answer, prompt="Describe a corgi.")
    assert (verdict.text, verdict.fault, verdict.mended) == (text, "", mended)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("...", "empty"),
        ("As an AI language model, I have never seen a corgi.", "refusal"),
        ("I'm sorry, but I can't describe that.", "refusal"),
        ("I cannot assist with this request.", "refusal"),
        ("Could you please provide more context?", "refusal"),
        ("Es tut mir leid, das kann ich nicht.", "refusal"),
        ("Lo siento, no puedo ver imágenes.", "refusal"),
        ("作为一个AI语言模型我无法看到图像。", "refusal"),
        ("Describe a corgi.", "echo"),
        ("What does a corgi look like? What does a cat look like?", "echo"),
        ("User: What does a cat look like?\nAssistant: It is small.", "empty"),
        ("<think>The user wants to know what a red dog", "empty"),
        ("A corgi", "cut"),
        ("Loyal and kind to all.", "not visual"),
    ],
)
def test_answers_that_are_refused(answer: str, fault: str) -> None:
    assert judge(answer, prompt="Describe a corgi.").fault == fault


def test_the_servers_word_that_it_was_cut_counts() -> None:
    assert judge("a low dog with short legs and", cut=True).fault == "cut"
    assert judge(f"{WHOLE} And it", cut=True).text == WHOLE


def test_a_lists_last_item_that_was_cut_falls_away() -> None:
    assert judge("1. Short legs\n2. Large ears\n3. A red co", cut=True).text == "Short legs. Large ears."
    assert judge("Legs: short\nEars: large and po", cut=True).text == "Legs: short."


def test_what_is_told_by_parts_and_contents_is_about_looks() -> None:
    for answer in (
        "A living room usually contains a sofa, coffee table, rug, lamps and a television.",
        "A kitchen with cabinets, a stove, a sink and a refrigerator.",
        "A hot dog is a grilled sausage in a sliced bun, often with mustard.",
        "Pancakes stacked on a plate, drizzled with syrup.",
        "A toddler is a child with chubby cheeks and an unsteady gait.",
    ):
        assert judge(answer).good
    for answer in (
        "Dogs are loyal companions that love to play.",
        "Pizza was invented in Naples and is enjoyed worldwide.",
        "A doctor helps patients and prescribes medicine.",
        "A bus is a means of public transport that carries passengers between stops.",
    ):
        assert judge(answer).fault == "not visual"


def test_repeats_are_told_by_words_not_by_marks() -> None:
    seen = {fingerprint(WHOLE)}
    assert judge(WHOLE.upper().replace(".", " !"), seen=seen).fault == "repeat"
    assert judge(f"{WHOLE} It is red.", seen=seen).good


def test_long_answers_are_shortened_to_what_clip_reads() -> None:
    verdict = judge(" ".join([WHOLE] * 12), count=count_tokens)
    assert verdict.good
    assert verdict.mended == ("shortened",)
    assert count_tokens(verdict.text) <= CONTEXT
    endless = judge("A dog with " + "fur, ears, " * 60 + "and a tail.", count=count_tokens)
    assert endless.good
    assert count_tokens(endless.text) <= CONTEXT
    assert judge("red" * 4000 + ".", count=count_tokens).fault in ("too long", "cut")


def test_only_english_words_of_looks_are_asked_for_in_english() -> None:
    assert judge("Un perro leal y amable.", english=False).good


def test_megabytes_are_not_looked_through() -> None:
    verdict = judge(f"{WHOLE} " * 200_000)
    assert verdict.good
    assert len(verdict.text) <= LONGEST


def test_sentences() -> None:
    assert sentences_of("It is red. It is 3.5 cm wide! And") == ["It is red.", "It is 3.5 cm wide!"]


def test_tokens_are_counted_as_clip_counts_them() -> None:
    assert count_tokens("") == 2
    assert count_tokens("a photo of a dog.") == 8
    assert count_tokens("Divemaster's 42 barquentines") == 10


@pytest.mark.slow
def test_tokens_and_clips_own_tokenizer_agree(shared: Path) -> None:
    from open_clip.tokenizer import SimpleTokenizer

    published = json.loads((shared / "data/upstream/openimages_rare_200_llm_tag_descriptions.json").read_text("utf-8"))
    texts = [text for entry in published for texts in entry.values() for text in texts][:2000]
    clip = SimpleTokenizer()
    same = sum(count_tokens(text) == len(clip.encode(text)) + 2 for text in texts)
    assert same >= 0.99 * len(texts)


def test_published_answers_are_mostly_kept_and_half_of_them_mended(shared: Path) -> None:
    published = json.loads((shared / "data/upstream/openimages_rare_200_llm_tag_descriptions.json").read_text("utf-8"))
    verdicts = [
        judge(text, count=count_tokens) for entry in published[:20] for texts in entry.values() for text in texts[1:]
    ]
    kept = [verdict for verdict in verdicts if verdict.good]
    assert len(kept) > 0.95 * len(verdicts)
    assert all(verdict.text.endswith((".", "!", "?", '"', ")")) for verdict in kept)
    assert sum("trimmed" in verdict.mended for verdict in kept) > 0.2 * len(kept)  # cut mid-sentence, as published


def test_near_duplicates_are_counted() -> None:
    texts = [WHOLE, WHOLE.replace("low", "small"), "A red car on a road.", WHOLE]
    assert near_duplicates(texts) == 2
    assert near_duplicates([]) == 0


def test_a_report_finds_the_worst_tags() -> None:
    rows = [{"tag": "same", "prompt": 1, "text": f"It is red and round number {place}."} for place in range(6)]
    rows += [
        {"tag": "own", "prompt": 1, "text": text} for text in ("red", "a round lid", "tall grey walls", "x", "y", "z")
    ]
    found = report(rows, {"acceptance": {"1": 0.5}, "other": 1})
    assert found["worst_tags"][0]["tag"] == "same"
    assert found["near_duplicates"] == 0
    assert found["asked"] == {"acceptance": {"1": 0.5}}
    assert found["descriptions"] == 12
    assert report([], {})["tags"] == 0
