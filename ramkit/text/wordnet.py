"""Descriptions without a language model: sentences composed from WordNet's glosses and relations, offline.

WordNet says what a thing is, what it has, what sorts of it there are and how it is also called: much of what a photo
of it shows. It does not say which sense a photo tag means, and its first sense is often not the one that can be
photographed; `choose_senses` goes by the tag's kind, the lexicographer file (animal, artifact, plant … before
feeling, state, time), frequency, and a short list of words that photos use in their own way ("mouse", "bat", "tie").

    WordNet().describe("dog")[:2]
    ["a photo of a dog.", "A dog is a member of the genus Canis that has been domesticated by man since …"]
"""

import io
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ramkit.errors import MissingError
from ramkit.text.photo_words import PHOTO_SENSES, READ_BY_PARTS, SAID_IN_WORDNET, SEEN
from ramkit.text.prompts import gerund_phrase, is_plural, template, with_article
from ramkit.text.unkind_words import holds_unkind
from ramkit.text.wordnet_sentences import (
    clean,
    definition_of,
    frames,
    names_of,
    of_adjective,
    of_noun,
    of_verb,
    say,
)

LICENCE = "WordNet License, Princeton University: free to use and pass on with its copyright notice"
ENVIRONMENT = "RAMKIT_WORDNET"
_FILES = tuple(f"{part}.{name}" for part in ("index", "data") for name in ("noun", "verb", "adj", "adv"))
_PLACES = (
    "/usr/share/wordnet",
    "/usr/local/share/wordnet",
    "/usr/share/wordnet/dict",
    "/usr/local/WordNet-3.0/dict",
    "/opt/homebrew/opt/wordnet/dict",
)
_CURE = "apt install wordnet-base, or python -m nltk.downloader wordnet, or name its folder with --wordnet."


def _words(text: str) -> list[str]:
    return text.split()


_SMALL_WORDS = _words("a an the on in at with of to his her their some")

# Classes so wide that a verb's gloss which mentions one says nothing about the object at hand.
_SAYS_LITTLE = frozenset(_words("object whole thing entity unit part something person body artifact act matter state"))

# Marks of senses that captions do not mean.
_ODD = re.compile(r"offensive|slang|informal|colloquial|archaic|obscen|cocaine|prostitut|radicals|Party\b")

# lexnames(5WN): the lexicographer files in order; Debian's package leaves the file out.
_LEXNAMES = _words(
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition "
    "noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object "
    "noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape "
    "noun.state noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition "
    "verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession "
    "verb.social verb.stative verb.weather adj.ppl"
)
# The parts of speech to look a tag up under, by its kind.
_PARTS = {"object": "nav", "scene": "nav", "attribute": "anv", "action": "vn"}


def find_wordnet(given: Path | None = None) -> Path:
    """The folder (or NLTK's zip file) of WordNet's dict files: given, $RAMKIT_WORDNET, the system's, NLTK's.

    Raises:
        MissingError: none found, or the one that was named holds no dict files.
    """
    named = given or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    if named is not None:
        for place in (named, named / "dict"):
            if _is_wordnet(place):
                return place
        raise MissingError(f"{named}: holds no WordNet ({_FILES[0]} and others are missing).", cure=f"Use {_CURE}")
    for place in (*map(Path, _PLACES), *_nltk_places()):
        if _is_wordnet(place):
            return place
    raise MissingError("WordNet is not installed.", cure=f"Install it: {_CURE}")


class WordNet:
    """Descriptions of tags from one WordNet's dict files."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = find_wordnet(folder)
        self._reader = _open_reader(self.folder)

    @cached_property
    def source(self) -> str:
        """What to write beside text made from it, such as "wordnet 3.0"."""
        return f"wordnet {self._reader.get_version() or 'of unknown version'}"

    def describe(
        self, tag: str, kind: str = "object", limit: int = 12, *, gloss: str = "", aliases: Sequence[str] = ()
    ) -> list[str]:
        """Up to `limit` distinct sentences about a tag, the template first.

        `gloss` and `aliases`, as a vocabulary may have them, help to choose the sense and to find words that WordNet
        spells otherwise. A compound that WordNet lacks gets what its parts tell; any tag at least photo phrases.
        What names people unkindly is left out, see `text.unkind_words`.
        """
        kept = {_bare(template(tag, kind)): template(tag, kind)}
        for sentence in self._sentences(tag, kind, gloss, aliases):
            if len(kept) >= limit:
                break
            if not holds_unkind(sentence, but=tag):
                kept.setdefault(_bare(sentence), sentence)
        return list(kept.values())[:limit]

    def senses(self, tag: str, kind: str = "object", *, gloss: str = "") -> list[str]:
        """The glosses of the one or two senses that `describe` goes by, best first; empty for an unknown word."""
        return [str(sense.definition()) for sense in self._choose(tag, kind, gloss)]

    def _sentences(self, tag: str, kind: str, gloss: str, aliases: Sequence[str]) -> Iterator[str]:
        if gloss:
            yield say(f"{with_article(tag, kind)} {_is(tag, kind)} {clean(gloss)}")
        for name in (tag, *aliases):
            if senses := self._choose(name, kind, gloss):
                yield from self._of_senses(senses, tag)
                break
        else:
            yield from self._of_parts(tag, kind)
        yield from frames(tag, kind)

    def _of_senses(self, senses: list[Any], tag: str) -> Iterator[str]:
        """All of the best sense; the beginning of a second one stands early enough to survive a limit."""
        first = list(self._of_sense(senses[0], tag))
        second = list(self._of_sense(senses[1], tag))[:3] if len(senses) > 1 else []
        yield from (*first[:6], *second, *first[6:])

    def _of_sense(self, sense: Any, tag: str) -> Iterator[str]:
        if sense.pos() == "v":
            return of_verb(sense, tag, self._base(tag.split()[0], "v"))
        if sense.pos() != "n":
            return of_adjective(sense, tag)
        return of_noun(sense, self._singular(tag, sense) if is_plural(tag) else tag)

    def _singular(self, tag: str, sense: Any) -> str:
        """ "men" → "man": what a man is reads better than "men are an adult person". "Scissors" stay."""
        names = [name.replace("_", " ") for name in sense.lemma_names()]
        return next((name for name in (tag, self._base(tag, "n")) if name in names), names[0])

    def _of_parts(self, tag: str, kind: str) -> Iterator[str]:
        """A compound that WordNet lacks."""
        words = tag.split()
        if len(words) < 2:
            return
        if kind == "action":
            yield from self._of_action(words, tag)
        elif " of " in tag:
            yield from self._of_amount(*tag.split(" of ", 1), tag=tag)
        else:
            yield from self._of_compound(words, tag)

    def _of_action(self, words: list[str], tag: str) -> Iterator[str]:
        """ "riding a bike": what riding is, and what the bike is."""
        thing = " ".join(word for word in words[1:] if word not in _SMALL_WORDS)
        things = self._choose(thing, "object") if thing else []
        if action := self._action_upon(words[0], things):
            yield from list(of_verb(action, tag, self._base(words[0], "v")))[:4]
        if things:
            doing = gerund_phrase(tag)
            yield say(f"someone {doing}; {with_article(thing)} {_is(thing)} {definition_of(things[0])}")
            yield say(f"a photo of {with_article(thing)} and someone {doing}")
            yield from (say(f"{doing}, with {with_article(name)}") for name in names_of(things[0], but=thing)[:1])
            yield from list(self._of_sense(things[0], thing))[1:4]

    def _action_upon(self, verb: str, things: list[Any]) -> Any:
        """The verb's sense that mentions what its object is: one rides on animals, and in another sense in vehicles."""
        senses = self._look_up(verb, "v")
        for thing in things[:1]:
            kinds = {name for parent in thing.closure(lambda one: one.hypernyms()) for name in parent.lemma_names()}
            for sense in senses:
                if kinds & set(re.findall(r"[a-z]+", sense.definition())) - _SAYS_LITTLE:
                    return sense
        return next(iter(self._choose(verb, "action")), None)

    def _of_amount(self, head: str, of_what: str, *, tag: str) -> Iterator[str]:
        """ "slice of pizza": what a slice is, what pizza is."""
        for name in (head, of_what):
            if senses := self._choose(name, "object"):
                yield say(f"{with_article(tag)}; {with_article(name)} {_is(name)} {definition_of(senses[0])}")
        for name in (of_what, head):
            if senses := self._choose(name, "object"):
                yield from list(self._of_sense(senses[0], name))[1:6]

    def _of_compound(self, words: list[str], tag: str) -> Iterator[str]:
        """ "double decker bus": what its head is, narrowed by what stands before it."""
        head, modifier = self._split(words)
        senses = self._choose(head, "object")
        if not senses:
            return
        yield say(f"{with_article(tag)} {_is(tag)} {with_article(head)}, {definition_of(senses[0])}")
        yield say(f"{with_article(tag)} {_is(tag)} a kind of {head}")
        yield from self._of_modifier(modifier, head, senses[0], tag)
        yield from list(self._of_sense(senses[0], head))[1:]

    def _of_modifier(self, modifier: str, head: str, sense: Any, tag: str) -> Iterator[str]:
        noun = with_article(head)
        qualities = [one for one in self._choose(modifier, "attribute") if one.pos() in "as"]
        for quality in qualities[:1]:
            yield say(f"{with_article(tag)} {_is(tag)} {noun} that {_is(head)} {modifier}: {definition_of(quality)}")
        things = [one for one in self._choose(modifier, "object") if one.pos() == "n" and one != sense]
        for thing in things[: 0 if qualities else 1]:
            yield say(f"{with_article(tag)}, {noun}; {with_article(modifier)} {_is(modifier)} {definition_of(thing)}")

    def _split(self, words: list[str]) -> tuple[str, str]:
        """Head and what narrows it: the longest ending, else the part before a preposition, that WordNet knows."""
        for index, word in enumerate(words):
            if index and word in ("with", "in", "on", "for", "at"):
                return " ".join(words[:index]), " ".join(words[index + 1 :])
        for start in range(1, len(words)):
            if self._look_up(head := " ".join(words[start:]), "n"):
                return head, " ".join(words[:start])
        return words[-1], " ".join(words[:-1])

    def _choose(self, tag: str, kind: str, gloss: str = "") -> list[Any]:
        name = SAID_IN_WORDNET.get(tag.lower(), tag)
        if name.lower() in READ_BY_PARTS:
            return []
        for part in _PARTS.get(kind, "nav"):
            if senses := self._look_up(name, part):
                # A noun may name an attribute or an action, too ("stripe", "surfing"): it is judged as what it is.
                judged = {"v": "action", "a": "attribute"}.get(part, "scene" if kind == "scene" else "object")
                return choose_senses(senses, (tag.lower(), self._base(name, part)), judged, gloss)
        return []

    def _look_up(self, name: str, part: str) -> list[Any]:
        """All senses of a word under its spellings, frequent ones first; not persons and towns of that name."""
        words = name.strip().lower()
        for spelled in dict.fromkeys((words.replace(" ", "_"), words.replace(" ", "-"), words.replace(" ", ""))):
            if found := self._reader.synsets(spelled, part):
                return [sense for sense in found if not sense.instance_hypernyms()] or list(found)
        return []

    def _base(self, word: str, part: str) -> str:
        """The form that WordNet lists: "dogs" → "dog", "mice" → "mouse", "running" → "run"."""
        lower = word.lower()
        return str(self._reader.morphy(lower.replace(" ", "_"), part) or lower).replace("_", " ")


def choose_senses(senses: Sequence[Any], spellings: Sequence[str], kind: str, gloss: str = "") -> list[Any]:
    """The senses that a photo tag means, best first: one, or two where photos show both.

    Args:
        senses: NLTK Synsets of one word, the frequent ones first.
        spellings: the word as given and in its base form.
        kind: the tag's kind, which says what sort of sense is to be expected.
        gloss: what the vocabulary says that the tag means; it outweighs everything else.
    """
    if not gloss:
        pieces = next((PHOTO_SENSES[word] for word in spellings if word in PHOTO_SENSES), ())
        named = [sense for piece in pieces for sense in senses if piece in sense.definition()]
        if named:
            return list(dict.fromkeys(named))[:2]
    ranked = sorted(
        enumerate(senses), key=lambda item: (-_likely(item[0], item[1], spellings[-1], kind, gloss), item[0])
    )
    return [sense for _, sense in ranked[:1]]


def _likely(place: int, sense: Any, word: str, kind: str, gloss: str) -> float:
    """How likely a sense is meant: what it is a sense of, how frequent it is, how near to the gloss."""
    seen = SEEN.get(kind, SEEN["object"]).get(sense.lexname().partition(".")[2], 0.0)
    counts = [lemma.count() for lemma in sense.lemmas() if lemma.name().lower() == word.replace(" ", "_")]
    often = min(max(counts, default=0), 60) ** 0.5 * 0.35
    odd = 3 if _ODD.search(sense.definition()) else 0
    return float(seen + often - 0.45 * place - odd + 10 * _overlap(sense.definition(), gloss))


def _overlap(definition: str, gloss: str) -> float:
    """Share of a given gloss's longer words that a definition has."""
    mine = {word for word in re.findall(r"[a-z]+", gloss.lower()) if len(word) > 3}
    theirs = set(re.findall(r"[a-z]+", definition.lower()))
    return len(mine & theirs) / len(mine) if mine else 0.0


def _bare(sentence: str) -> str:
    return re.sub(r"\W+", " ", sentence).strip().lower()


def _is(tag: str, kind: str = "object") -> str:
    return "are" if is_plural(tag, kind) else "is"


def _is_wordnet(place: Path) -> bool:
    if place.suffix == ".zip":
        return place.is_file()
    return all((place / name).is_file() for name in _FILES)


def _nltk_places() -> list[Path]:
    """Where NLTK's downloader puts WordNet, unpacked or as the zip file that it leaves."""
    homes = [Path(part) for part in os.environ.get("NLTK_DATA", "").split(os.pathsep) if part]
    homes += [Path.home() / "nltk_data", *(Path(base) / "nltk_data" for base in ("/usr/share", "/usr/local/share"))]
    names = ("wordnet", "wordnet31", "wordnet.zip", "wordnet31.zip")
    return [home / "corpora" / name for home in homes for name in names]


def _read(folder: Path, name: str) -> bytes:
    """One dict file's bytes, from a folder or from NLTK's zip file; empty where it is left out."""
    try:
        if folder.suffix != ".zip":
            return (folder / name).read_bytes()
        with zipfile.ZipFile(folder) as archive:
            return archive.read(f"{folder.stem}/{name}")
    except (FileNotFoundError, KeyError):
        return b""


def _open_reader(folder: Path) -> Any:
    """NLTK's reader over these files, held in memory (30 MB).

    So it leaves no files open, reads a zip file as well, and needs neither lexnames, which Debian leaves out, nor
    NLTK's own data to map versions to.
    """
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    rows = (line.split() for line in _read(folder, "cntlist.rev").decode().splitlines())
    counts = {row[0]: int(row[2]) for row in rows if len(row) == 3}

    class DictFiles(WordNetCorpusReader):  # type: ignore[misc]
        def open(self, file: str) -> io.TextIOBase:
            if file == "lexnames":
                return io.StringIO("".join(f"{number:02}\t{name}\t0\n" for number, name in enumerate(_LEXNAMES)))
            return io.TextIOWrapper(io.BytesIO(_read(folder, file)), encoding="utf-8")

        def map_wn(self, version: str = "wordnet") -> None:
            """No mapping to other versions: it would look for NLTK's own WordNet."""

        def lemma_count(self, lemma: Any) -> int:
            """From a table, where NLTK's searches the file at each call."""
            return counts.get(lemma.key(), 0)

    root = str((folder.parent if folder.suffix == ".zip" else folder).resolve())
    if root not in nltk.data.path:  # NLTK refuses to read outside of these
        nltk.data.path.append(root)
    with warnings.catch_warnings():  # it warns that no other languages are at hand; none are wanted
        warnings.simplefilter("ignore")
        return DictFiles(root, None)
