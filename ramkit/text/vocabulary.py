"""The vocabulary: which tags are kept, under which name, with which aliases; and matching a vocabulary in captions.

Building goes from names as captions write them ("surf board", "Delta jet", "couch") to tags: spellings and synonyms
are merged (`ramkit.text.synonyms`), a compound too rare to be a tag gives its photos to its last words ("glazed donut
shop" → "donut shop" → "shop"), and what then occurs in enough photos is kept, the most frequent first.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ramkit import files
from ramkit.errors import InputError
from ramkit.text import lexicon, synonyms
from ramkit.text.caption_parser import KINDS, Kind, kind_of_noun

Name = tuple[Kind, str]  # a tag as a caption has it, with its kind


@dataclass(frozen=True)
class Tag:
    """One row of `vocabulary.jsonl`."""

    tag: str
    kind: Kind | None  # None in a list that does not say: what the captions make of it
    count: int
    aliases: tuple[str, ...] = ()
    gloss: str = ""  # which crane is meant, where someone wrote it: what `describe` tells an LLM

    def as_row(self) -> dict[str, Any]:
        row = {"tag": self.tag, "kind": self.kind, "count": self.count, "aliases": list(self.aliases)}
        return {**row, "gloss": self.gloss} if self.gloss else row


@dataclass
class Naming:
    """How names become tags: `resolve` gives the tag of a name, or None where it is too rare."""

    canonical: dict[str, str] = field(default_factory=dict)  # spelling or synonym → preferred name
    kept: set[str] = field(default_factory=set)
    kinds: dict[str, Kind] = field(default_factory=dict)

    joined: dict[str, str] = field(default_factory=dict)  # name without spaces → tag, for "surf board" and "surfboard"
    implied: bool = True  # a "chocolate cake" is a "cake" too
    _resolved: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def resolve(self, name: str) -> tuple[str, ...]:
        """The kept tags that a name stands for, the closest first: itself under its preferred name, then, where it is
        a compound, its last words ("chocolate cake" → chocolate cake, cake). None where it is too rare."""
        if (known := self._resolved.get(name)) is None:
            if len(self._resolved) > 1_000_000:
                self._resolved.clear()
            known = self._resolved[name] = tuple(dict.fromkeys(self._all_tags(name)))
        return known

    def keep(self, tags: Iterable[str]) -> None:
        """Settle what the vocabulary is."""
        self.kept = set(tags)
        self._resolved.clear()

    def merge(self, other: str, preferred: str) -> None:
        """Lead a tag, and every name that led to it, to another tag."""
        for name, tag in self.canonical.items():
            if tag == other:
                self.canonical[name] = preferred
        self.canonical[other] = preferred
        self.keep(self.kept - {other})

    def _all_tags(self, name: str) -> Iterator[str]:
        for shorter in shortened(name):
            tag = self.preferred(shorter)
            if tag in self.kept:
                yield tag
                if not self.implied or tag in lexicon.OPAQUE or shorter in lexicon.OPAQUE:
                    return

    def preferred(self, name: str) -> str:
        if name in self.canonical:
            return self.canonical[name]
        respelled = _respelled(name)
        return self.canonical.get(respelled) or self.joined.get(_bare(respelled), respelled)


def with_synonyms(tags: Sequence[Tag]) -> Naming:
    """The naming of a closed vocabulary: its tags and aliases, and curated synonyms of them that it does not have."""
    own = {_respelled(name): tag.tag for tag in tags for name in (*tag.aliases, tag.tag)}
    canonical = {name: tag.tag for tag in tags for name in (*tag.aliases, tag.tag)} | own
    bare = {_bare(name): tag for name, tag in own.items()}
    for group in synonyms.GROUPS:
        known = next((bare[_bare(_respelled(name))] for name in group if _bare(_respelled(name)) in bare), None)
        if known is not None:
            for name in map(_respelled, group):
                canonical.setdefault(name, bare.get(_bare(name), known))
    naming = Naming(canonical=canonical, implied=False)
    naming.keep(tag.tag for tag in tags)
    naming.joined = bare
    return naming


def shortened(name: str) -> Iterator[str]:
    """A name, then its last words, as long as they name a thing: glazed donut shop, donut shop, shop; take off."""
    yield name
    if name in lexicon.PHRASAL:
        return
    words = name.split(" ")
    for start in range(1, len(words)):
        if " ".join(words[start - 1 :]) in lexicon.OPAQUE:
            return
        shorter = " ".join(words[start:])
        if shorter not in lexicon.LOCATIVES and shorter not in lexicon.ABSTRACT and shorter not in lexicon.NUMBERS:
            yield shorter


def build(counts: Mapping[Name, int], *, min_count: int, implied: bool = True, synonyms_too: bool = True) -> Naming:
    """Decide on names from the number of photos that have each (kind, name); spellings are always merged."""
    totals: Counter[str] = Counter()
    for (_, name), count in counts.items():
        totals[_respelled(name)] += count
    naming = Naming(canonical=_merged_names(totals, synonyms.GROUPS if synonyms_too else ()), implied=implied)
    merged: Counter[str] = Counter()
    for name, count in totals.items():
        merged[naming.preferred(name)] += count
    naming.keep(_kept(merged, naming, min_count))
    naming.kinds = _majority_kinds(counts, naming)
    return naming


def tags_of(naming: Naming, photos: Mapping[str, int], surfaces: Mapping[str, Iterable[str]], *, min_count: int,
            max_tags: int) -> list[Tag]:  # fmt: skip
    """The vocabulary: tags by descending number of photos, then name."""
    ranked = sorted((-count, tag) for tag, count in photos.items() if count >= min_count)
    return [
        Tag(tag, naming.kinds[tag], -count, tuple(sorted(set(surfaces.get(tag, ())) - {tag})))
        for count, tag in ranked[: max_tags or None]
    ]


def are_curated(*names: str) -> bool:
    """Whether the curated groups know all of the names, and so have decided about them."""
    return all(any(name in group for group in synonyms.GROUPS) for name in names)


def _respelled(name: str) -> str:
    return " ".join(synonyms.SPELLINGS.get(word, word) for word in name.split(" "))


def _merged_names(totals: Mapping[str, int], curated: Sequence[Sequence[str]]) -> dict[str, str]:
    """Name → preferred name, for every name that has a more frequent spelling or synonym."""
    canonical: dict[str, str] = {}
    for group in _groups(totals, curated):
        seen = [name for name in group if totals.get(name)]
        if len(seen) > 1:
            preferred = max(seen, key=lambda name: totals[name])  # the first of equals, as the groups list them
            canonical.update({name: preferred for name in group if name != preferred})
    return canonical


def _groups(totals: Mapping[str, int], curated: Sequence[Sequence[str]]) -> Iterable[Sequence[str]]:
    """Disjoint groups of names for one thing: the curated ones, with open and joined spellings beside each."""
    joined: dict[str, list[str]] = defaultdict(list)
    for name in totals:
        joined[name.replace(" ", "").replace("-", "")].append(name)
    taken: set[str] = set()
    for group in curated:
        spelled = [other for name in map(_respelled, group) for other in (name, *sorted(joined[_bare(name)]))]
        members = [name for name in dict.fromkeys(spelled) if name not in taken]
        taken.update(members)
        yield members
    for bare in sorted(joined):
        members = sorted(name for name in joined[bare] if name not in taken)
        if len(members) > 1:
            yield members


def _bare(name: str) -> str:
    return name.replace(" ", "").replace("-", "")


def _kept(merged: Counter[str], naming: Naming, min_count: int) -> set[str]:
    """Names frequent enough, after rare compounds gave their photos to their last words."""
    totals = Counter(merged)
    for name in sorted(merged, key=lambda name: (-name.count(" "), name)):
        if totals[name] < min_count or naming.implied:
            for shorter in islice(shortened(name), 1, 2):
                totals[naming.preferred(shorter)] += totals[name]
    # the middle of a long name ("view mirror") is a tag only where captions write it by itself
    return {name for name, count in totals.items() if count >= min_count and (" " not in name or merged[name] > 1)}


def _majority_kinds(counts: Mapping[Name, int], naming: Naming) -> dict[str, Kind]:
    votes: dict[str, Counter[Kind]] = defaultdict(Counter)
    for (kind, name), count in counts.items():
        for tag in naming.resolve(name):
            vote = kind if naming.preferred(name) == tag else kind_of_noun(tag) if kind != "action" else kind
            votes[tag][vote] += count
    return {tag: max(KINDS, key=lambda kind: votes[tag][kind]) for tag in votes}


def read(path: Path) -> list[Tag]:
    """A vocabulary that someone wrote or edited: `vocabulary.jsonl`, or a text file with a tag a line, its aliases
    after a colon ("couch: sofa, settee"); `#` starts a remark.

    Raises:
        InputError: missing, empty, a line without a tag, or a tag or alias that stands twice.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file.", cure="Name a vocabulary.jsonl, or a text file with a tag a line.")
    tags = [_tag_of(path, row) for row in files.read_rows(path)] if path.suffix == ".jsonl" else _read_lines(path)
    if not tags:
        raise InputError(f"{path}: no tag in it.", cure="Write one tag a line.")
    owner: dict[str, str] = {}
    for tag in tags:
        for name in dict.fromkeys((tag.tag, *tag.aliases)):
            if not name:
                raise InputError(f"{path}: {tag.tag!r} has an empty alias.", cure="Remove it.")
            if name in owner:
                raise InputError(f"{path}: {name!r} stands for {owner[name]!r} and {tag.tag!r}.", cure="Keep one.")
            owner[name] = tag.tag
    return tags


def _tag_of(path: Path, row: Mapping[str, Any]) -> Tag:
    tag, kind, aliases = row.get("tag"), row.get("kind"), row.get("aliases", [])
    if not isinstance(tag, str) or not tag.strip():
        raise InputError(f'{path}: a row without a "tag": {row}.', cure="Mend that row.")
    if kind not in (*KINDS, None):
        raise InputError(f"{path}: {tag!r} is of kind {kind!r}.", cure=f"Choose from {', '.join(KINDS)}.")
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise InputError(f"{path}: the aliases of {tag!r} are no list of names.", cure="Mend that row.")
    count, gloss = row.get("count", 0), row.get("gloss") or ""
    if not isinstance(gloss, str):
        raise InputError(f"{path}: the gloss of {tag!r} is no text.", cure="Mend that row.")
    return Tag(_tidy(tag), kind, count if isinstance(count, int) else 0, tuple(map(_tidy, aliases)), gloss.strip())


def _read_lines(path: Path) -> list[Tag]:
    tags = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file.", cure="Write one tag a line, in UTF-8.") from None
    for line in text.splitlines():
        name, _, aliases = line.partition("#")[0].partition(":")
        if name.strip():
            found = tuple(_tidy(alias) for alias in aliases.split(",") if alias.strip())
            tags.append(Tag(_tidy(name), None, 0, found))
    return tags


def _tidy(name: str) -> str:
    return " ".join(name.lower().split())
