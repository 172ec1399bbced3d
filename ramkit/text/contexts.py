"""Evidence that two names are one thing: WordNet lists them together, and captions use them in the same company.

WordNet alone would merge blindly: "cat" and "guy" share a sense, "bathroom" and "toilet" too. A pair is merged only if

* it is of one kind and shares a synset among the first senses of both (their places add up to 1 at most),
* the tags around the one are those around the other: cosine of the two context vectors of at least 0.4,
* captions do not name both more often than chance would: who writes "bread and lettuce" means two things.

"bat", "crane" and "mouse" stay what they are: a name that means two things has no partner whose context is the same.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ramkit.errors import MissingError

COSINE = 0.4
_SENSES = 2  # of each name: the first is the most frequent
_PLACES = 1  # 0: the first sense of both; 1: the second sense of one of them


@dataclass(frozen=True)
class Evidence:
    """Two names, the more frequent first; `lift`: how much more often than by chance they stand together."""

    preferred: str
    other: str
    cosine: float
    lift: float
    merged: bool = False

    @property
    def holds(self) -> bool:
        return self.cosine >= COSINE and self.lift <= 1


def synset_pairs(names: Iterable[str], folder: Path) -> list[tuple[str, str]]:
    """Pairs of names that share a noun synset of WordNet among their first senses, in alphabetical order.

    Raises:
        MissingError: no index.noun in the folder.
    """
    index = folder / "index.noun"
    if not index.is_file():
        raise MissingError(f"{folder}: no WordNet here (index.noun).", cure="Name the folder of its dict files.")
    wanted = {name.replace(" ", "_"): name for name in names}
    members: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    with index.open(encoding="utf-8") as stream:
        for line in stream:
            lemma, _, rest = line.partition(" ")
            if lemma in wanted:
                fields = rest.split()
                synsets = fields[-int(fields[1]) :]
                for place, synset in enumerate(synsets[:_SENSES]):
                    members[synset].append((wanted[lemma], place))
    pairs = {
        (min(one, two), max(one, two))
        for same in members.values()
        for number, (one, place) in enumerate(same)
        for two, other_place in same[number + 1 :]
        if place + other_place <= _PLACES
    }
    return sorted(pairs)


def weigh(
    pairs: Iterable[tuple[str, str]], photos: Iterable[set[str]], counts: Mapping[str, int]
) -> Iterator[Evidence]:
    """What the captions say about each pair; `photos` are the tags of each photo, `counts` the photos of each tag."""
    pairs = list(pairs)
    wanted = {name for pair in pairs for name in pair}
    company: defaultdict[str, Counter[str]] = defaultdict(Counter)
    total = 0
    for tags in photos:
        total += 1
        for name in tags & wanted:
            company[name].update(tags - {name})
    for one, two in pairs:
        preferred, other = sorted((one, two), key=lambda name: (-counts[name], name))
        expected = counts[one] * counts[two] / max(total, 1)
        lift = company[one][two] / expected if expected else 0.0
        yield Evidence(preferred, other, _cosine(company[one], company[two], {one, two}), lift)


def _cosine(one: Counter[str], two: Counter[str], apart: set[str]) -> float:
    """Cosine of square-rooted counts: the few most frequent tags shall not decide alone."""
    vectors = [{name: math.sqrt(count) for name, count in side.items() if name not in apart} for side in (one, two)]
    product = sum(weight * vectors[1].get(name, 0.0) for name, weight in vectors[0].items())
    lengths = [math.sqrt(sum(weight * weight for weight in vector.values())) for vector in vectors]
    return product / (lengths[0] * lengths[1]) if all(lengths) else 0.0
