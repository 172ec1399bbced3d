"""Figures that tell whether a set of descriptions is worth embedding: how many, how long, how unlike one another."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import fmean
from typing import Any

from ramkit.text.clip_tokens import CONTEXT, count_tokens

NEAR = 0.8  # share of words in common from which two answers count as near-duplicates
_WORST, _SAMPLES = 10, 5


@dataclass
class Measures:
    """Of a whole set of descriptions; fill it tag by tag with `through`."""

    tags: int = 0
    descriptions: int = 0
    words: int = 0
    near_duplicates: int = 0
    doubtful: int = 0
    per_prompt: Counter[int] = field(default_factory=Counter)
    per_tag: Counter[int] = field(default_factory=Counter)  # descriptions a tag → tags

    def through(self, groups: Iterable[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        """Pass the rows of each tag on, counting them."""
        for rows in groups:
            self.tags += 1
            self.per_tag[len(rows)] += 1
            self.near_duplicates += near_duplicates([row["text"] for row in rows])
            for row in rows:
                self.descriptions += 1
                self.words += len(row["text"].split())
                self.doubtful += "doubt" in row
                self.per_prompt[row["prompt"]] += 1
                yield row

    def as_dict(self) -> dict[str, Any]:
        counts = sorted(self.per_tag.elements())
        return {
            "tags": self.tags,
            "descriptions": self.descriptions,
            "per_tag": {"least": counts[0], "median": counts[len(counts) // 2], "most": counts[-1]} if counts else {},
            "per_prompt": {str(prompt): count for prompt, count in sorted(self.per_prompt.items())},
            "mean_words": round(self.words / self.descriptions, 1) if self.descriptions else 0.0,
            "near_duplicates": self.near_duplicates,
            "doubtful": self.doubtful,
            "template_only": self.per_tag[1],
        }


def near_duplicates(texts: Sequence[str]) -> int:
    """How many texts share 4 of 5 words or more (Jaccard) with one before them."""
    return sum(_nearest(masks, place) >= NEAR for masks in [_masks(texts)] for place in range(1, len(masks)))


def report(rows: Iterable[dict[str, Any]], statistics: dict[str, Any], *, seed: int = 0) -> dict[str, Any]:
    """What `describe --report` shows of an artefact's rows and statistics."""
    import random

    chosen = random.Random(seed)
    measures = Measures()
    worst: list[tuple[float, str, int]] = []
    samples: list[dict[str, Any]] = []
    lengths: list[int] = []
    diversities: list[float] = []
    for number, (tag, group) in enumerate(groupby(rows, key=lambda row: str(row["tag"]))):
        mine = list(measures.through([list(group)]))
        masks = _masks([row["text"] for row in mine])
        unlike = 1.0 - fmean(_nearest(masks, place) for place in range(1, len(masks))) if len(masks) > 1 else 0.0
        diversities.append(unlike)
        worst = sorted([*worst, (round(unlike * min(1.0, len(mine) / 5), 3), tag, len(mine))])[:_WORST]
        row = chosen.choice(mine)
        lengths.append(count_tokens(row["text"]))
        if len(samples) < _SAMPLES:
            samples.append(row)
        elif (place := chosen.randint(0, number)) < _SAMPLES:
            samples[place] = row
    return {
        **measures.as_dict(),
        "asked": {name: statistics[name] for name in ("acceptance", "faults", "mended", "calls") if name in statistics},
        "diversity": round(fmean(diversities), 3) if diversities else 0.0,  # 0: all alike, 1: no word in common
        "over_length": sum(length > CONTEXT for length in lengths) / max(1, len(lengths)),  # share, of one row a tag
        "worst_tags": [{"tag": tag, "diversity": score, "descriptions": count} for score, tag, count in worst],
        "samples": [{"tag": row["tag"], "prompt": row["prompt"], "text": row["text"]} for row in samples],
    }


def _masks(texts: Sequence[str]) -> list[int]:
    """Each text's words as bits of a number: comparing two is then one instruction, not a walk over two sets."""
    bits: dict[str, int] = {}
    return [sum({1 << bits.setdefault(word, len(bits)) for word in _words(text)}) for text in texts]


def _words(text: str) -> list[str]:
    return [word for part in text.lower().split() if (word := part.strip(".,;:!?\"'()"))]


def _nearest(masks: Sequence[int], place: int) -> float:
    """The largest share of words that a text has in common with one before it."""
    mine = masks[place]
    return max(((mine & other).bit_count() / ((mine | other).bit_count() or 1) for other in masks[:place]), default=0.0)
