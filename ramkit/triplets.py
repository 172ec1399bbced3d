"""Image–tag–text triplets, as training and evaluation read them from an artefact: on disk, row by row as asked for.

Of fourteen million photos memory holds where each row begins and which rows are meant, 16 bytes a photo.
"""

import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from ramkit.artifact import Artifact
from ramkit.rows import Rows

_CAPTION_WORDS = 30
_TRAINING, _VALIDATION, _NEITHER = 0, 1, 2


@dataclass(frozen=True)
class Triplet:
    """One photo, the numbers of its tags, its captions as the text encoder is given them."""

    position: int  # of its row in the artefact
    image: str
    tags: list[int]
    captions: list[str]


class Triplets:
    """Photos of an artefact, in its order; tags outside the vocabulary and captions that mention what is held out are
    left out of each as it is read."""

    def __init__(self, rows: Rows, tags: Sequence[str], hold_out: Sequence[str] = ()) -> None:
        self._rows = rows
        self._numbers = {tag: number for number, tag in enumerate(tags)}
        self._forbidden = mentions(hold_out)
        self.positions: npt.NDArray[np.int64] = np.arange(len(rows))  # of the rows that are meant

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Triplet]:
        return (self.at(position) for position in self.positions)

    def __getitem__(self, number: int) -> Triplet:
        return self.at(self.positions[number])

    def at(self, position: int) -> Triplet:
        """The photo of one row of the artefact, by the row's number."""
        row = self._rows[int(position)]
        return Triplet(int(position), row["image"], self._tags(row), list(self._captions(row)))

    @property
    def images(self) -> "Images":
        """References of all the artefact's photos, by their rows' numbers."""
        return Images(self._rows)

    def split(self, share: float, *, empty: bool = True) -> tuple["Triplets", "Triplets"]:
        """(training, validation), without photos of neither tag nor caption unless `empty`.

        A photo's own file name decides, so that more photos do not move others.
        """
        sides = np.fromiter((self._side(position, share, empty) for position in self.positions), np.int8, len(self))
        return self._chosen(sides == _TRAINING), self._chosen(sides == _VALIDATION)

    def _side(self, position: int, share: float, empty: bool) -> int:
        row = self._rows[int(position)]
        if not empty and not self._tags(row) and not any(self._captions(row)):
            return _NEITHER
        name = os.path.basename(row["image"])  # not Path: of millions of names it would keep each
        aside = zlib.crc32(name.encode(errors="surrogatepass")) % 10_000 < share * 10_000
        return _VALIDATION if aside else _TRAINING

    def _chosen(self, which: npt.NDArray[np.bool_]) -> "Triplets":
        some = copy(self)
        some.positions = self.positions[which]
        return some

    def _tags(self, row: dict[str, Any]) -> list[int]:
        return [self._numbers[tag] for tag in row["tags"] if tag in self._numbers]

    def _captions(self, row: dict[str, Any]) -> Iterator[str]:
        kept = (clean_caption(text) for text in row["captions"] if not self._forbidden(text))
        return (text for text in kept if text)


class Images(Sequence[str]):
    """References of photos, read as they are asked for."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> list[str]: ...
    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        return str(self._rows[range(len(self))[number]]["image"])


def read_triplets(photos: Artifact, tags: Sequence[str], hold_out: Sequence[str] = ()) -> Triplets:
    """All photos of an artefact, their tags as numbers in `tags`, without captions that mention what is held out."""
    return Triplets(Rows(photos.file("triplets.jsonl")), tags, hold_out)


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
