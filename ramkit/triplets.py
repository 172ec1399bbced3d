"""Image–tag–text triplets, as training and evaluation read them from an artefact."""

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ramkit.artifact import Artifact
from ramkit.files import read_rows

_CAPTION_WORDS = 30


@dataclass(frozen=True)
class Triplet:
    """One photo, the numbers of its tags, its captions as the text encoder is given them."""

    position: int  # of its row in the artefact
    image: str
    tags: list[int]
    captions: list[str]


def read_triplets(photos: Artifact, tags: Sequence[str], hold_out: Sequence[str] = ()) -> list[Triplet]:
    """All photos, in the artefact's order, without captions that mention what is held out."""
    numbers = {tag: number for number, tag in enumerate(tags)}
    forbidden = mentions(hold_out)
    found = []
    for position, row in enumerate(read_rows(photos.file("triplets.jsonl"))):
        own = [numbers[tag] for tag in row["tags"] if tag in numbers]
        captions = [clean_caption(text) for text in row["captions"] if not forbidden(text)]
        found.append(Triplet(position, row["image"], own, [text for text in captions if text]))
    return found


def split(examples: Sequence[Triplet], share: float) -> tuple[list[Triplet], list[Triplet]]:
    """(training, validation); a photo's own file name decides, so that more photos do not move others."""
    training: list[Triplet] = []
    validation: list[Triplet] = []
    for example in examples:
        aside = zlib.crc32(Path(example.image).name.encode()) % 10_000 < share * 10_000
        (validation if aside else training).append(example)
    return training, validation


def mentions(words: Sequence[str]) -> Callable[[str], bool]:
    """A predicate: does a text hold one of the words, singular or plural?"""
    if not words:
        return lambda text: False
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})(?:s|es)?\b", re.IGNORECASE)
    return lambda text: pattern.search(text) is not None


def clean_caption(caption: str) -> str:
    """Lower case, without the punctuation that says nothing, at most 30 words: as published."""
    words = re.sub(r"[.!\"()*#:;~]", " ", caption.lower()).split()
    return " ".join(words[:_CAPTION_WORDS])
