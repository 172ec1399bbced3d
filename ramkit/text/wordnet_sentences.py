"""Natural sentences from one WordNet sense: what a thing is, has, is made of, what sorts there are of it.

Each function yields the most telling sentences first; who calls takes as many as wanted. Senses are NLTK's Synset
objects, given from outside: this module reads no files.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ramkit.text.prompts import gerund_phrase, is_plural, listed, with_article
from ramkit.text.unkind_words import is_person, is_unkind, is_unkind_name

MAX_WORDS = 40  # of one sentence: CLIP reads 77 tokens, and long glosses stop being about looks


def _names_in(text: str) -> frozenset[str]:
    return frozenset(text.split(","))


# Too wide to picture: "X is a kind of entity" teaches nothing.
_TOO_WIDE = _names_in(
    "entity,physical entity,abstraction,abstract entity,object,physical object,whole,unit,thing,matter,substance,part,"
    "piece,artifact,artefact,instrumentality,instrumentation,living thing,animate thing,organism,being,causal agent,"
    "cause,causal agency,psychological feature,attribute,relation,group,grouping,measure,quantity,amount,event,state,"
    "cognition,content,communication,act,deed,human action,human activity,activity,process,physical process,"
    "region,location,shape,form,happening,occurrence,natural event,commodity,consumer goods,trade good,way,"
    "creation,product,chordate,vertebrate,craniate,placental,eutherian,vascular plant,tracheophyte,equipment,device,"
    "article,covering,structure,construction,implement,body part,nutriment,nourishment,nutrition,sustenance,"
    "aliment,alimentation,victuals,change,move,travel,go,locomote,be,have,make,get,do,interact,touch,"
    "collection,aggregation,accumulation,assemblage,material,stuff,reproductive structure,plant organ,plant part,"
    "natural object,definite quantity,indefinite quantity,small indefinite quantity,fundamental quantity,adult,"
    "solid,foodstuff,food product,external body part,extremity,geological formation,formation,attire,property,area,"
    "line,system,facility,signal,concept,idea,role,position,relative,leader,gathering,social group,organization,"
    "male,female,male person,female person,act upon"
)
_SORTS = {
    "animal": "an animal", "plant": "a plant", "person": "a person", "food": "something to eat or drink",
    "body": "a part of the body", "artifact": "a man-made thing", "object": "a thing of nature",
    "location": "a place", "substance": "a material", "phenomenon": "something seen in nature",
    "group": "a group", "event": "an event", "act": "an activity", "shape": "a shape",
}  # fmt: skip
# Words that WordNet lists among a thing's names or sorts but nobody should find in a caption tool.
_SLURRED = re.compile(
    r"offensive|slang|disparag|obscen|derogat|vulgar|prostitut|bastard|informal|colloquial|terms? (of|for)|White|Black"
)
_PREDICATES = {"a", "an", "the", "any", "one", "used", "usually", "often", "sometimes", "in", "of", "on", "for", "with"}
_VERBS = {
    "has",
    "have",
    "is",
    "are",
    "can",
    "may",
    "occurs",
    "consists",
    "includes",
    "lives",
    "grows",
    "comes",
    "feeds",
}


def of_noun(sense: Any, tag: str) -> Iterator[str]:
    """About a thing: its gloss, kind, parts, other names, sorts, material, whole, examples."""
    subject = with_article(tag)
    clauses = clauses_of(sense)
    yield say(f"{subject} {_is(tag)} {clauses[0]}")
    yield from _kind_and_parts(sense, tag, subject)
    for clause in clauses[1:3]:
        if len(clause.split()) > 2:
            yield _clause_sentence(subject, _is(tag), clause)
    yield from _material_and_whole(sense, tag, subject)
    yield from _sort_sentences(sense, tag, subject)
    yield from _example_sentences(sense, tag)
    yield from _family(sense, tag, subject)


def of_verb(sense: Any, tag: str, base: str) -> Iterator[str]:
    """About an action: what doing it means, how it is also called, ways of doing it, examples."""
    doing = gerund_phrase(tag)
    clauses = clauses_of(sense)
    yield say(f"a photo of someone {doing}")
    yield say(f"{doing} is to {clauses[0]}")
    if tag == base or tag == gerund_phrase(base):
        yield from _other_words_for(sense, doing, base)
        yield from _example_sentences(sense, base)
    for clause in clauses[1:3]:
        yield say(f"{doing} also is to {clause}")
    for parent in _plainest(sense.hypernyms())[:2]:
        if name_of(parent) not in _TOO_WIDE and name_of(parent) != base:
            yield say(f"{doing} is a way of {gerund_phrase(name_of(parent))}")
    if " " in tag:
        return  # ways of riding in general need not be ways of riding a bike
    yield from _ways_of(sense, doing)
    for needed in _plainest(sense.entailments())[:1]:
        yield say(f"{doing} goes with {gerund_phrase(name_of(needed))}")
    for noun in _derived_nouns(sense, base)[:2]:
        yield say(f"{with_article(name_of(noun))}, {definition_of(noun)}")


def of_adjective(sense: Any, tag: str) -> Iterator[str]:
    """About a quality: what it means, near and opposite qualities, what it is a quality of, examples."""
    clauses = clauses_of(sense)
    yield say(f"a photo of something {tag}")
    yield _clause_sentence(f"something {tag}", "is", clauses[0])
    for example in _examples(sense, tag):
        yield say(f"a photo of {example}") if len(example.split()) < 5 else say(example)
    near = _unique([*names_of(sense, but=tag), *_names(_plainest(sense.similar_tos()))], but=tag)
    if near:
        yield say(f"something {tag}, or {listed(near[:3], 'or')}")
    for clause in clauses[1:3]:
        yield _clause_sentence(f"something {tag}", "is", clause)
    for opposite in sorted(other.name() for lemma in sense.lemmas() for other in lemma.antonyms())[:1]:
        yield say(f"something {tag}, the opposite of {_plain(opposite)}")
    for quality in _plainest(sense.attributes())[:2]:
        yield say(f"{tag} tells the {name_of(quality)} of a thing: {definition_of(quality)}")
    for noun in _derived_nouns(sense, tag)[:2]:
        yield say(f"{name_of(noun)}, {definition_of(noun)}")
    for other in _plainest(sense.similar_tos())[:4]:
        yield say(f"a photo of something {name_of(other)}: {definition_of(other)}")


def frames(tag: str, kind: str) -> Iterator[str]:
    """Photo phrases for a word of which nothing more is known; they never say anything that may be false."""
    subject = with_article(tag, kind)
    if kind == "action":
        doing = gerund_phrase(tag)
        phrases = (f"a photo of someone {doing}", f"people {doing}", f"a person who is {doing}")
    elif kind == "attribute":
        phrases = (f"a photo of something {tag}", f"things that are {tag}", f"a {tag} thing in a photo")
    elif kind == "scene":
        phrases = (f"a view of {subject}", f"a place: {subject}", f"a photo that shows {subject}")
    else:
        phrases = (f"{subject} in a photo", f"a picture of {subject}", f"a close-up of {subject}")
    yield from map(say, phrases)


def say(text: str) -> str:
    """A sentence: whole, first letter large, one mark at its end. Photo phrases stay small, as the template is."""
    words = text.split()
    text = " ".join(words if len(words) <= MAX_WORDS else _at_a_break(words)).rstrip(" .;,:")
    if not text.startswith(("a photo", "a picture", "a close-up", "a view")):
        text = text[:1].upper() + text[1:]
    return text if text.endswith(("!", "?")) else f"{text}."


def clauses_of(sense: Any) -> list[str]:
    """The parts of a sense's gloss, without what stands in brackets; never empty."""
    parts = [clause for part in sense.definition().split(";") if (clause := clean(part))]
    return parts or [clean(sense.definition()) or "something"]


def definition_of(sense: Any) -> str:
    """The first part of its gloss."""
    return clauses_of(sense)[0]


def clean(text: str) -> str:
    """A gloss as running text."""
    text = re.sub(r"\([^)]*\)?", " ", text).replace("`", "'").replace("--", ", ")
    return re.sub(r"\s+([,.])", r"\1", " ".join(text.split())).strip(' .,:;)"')


def name_of(sense: Any) -> str:
    """A sense's first name, as written in text."""
    return _plain(sense.lemma_names()[0])


def names_of(sense: Any, *, but: str) -> list[str]:
    """Its names other than `but`; Latin ones only where there are no others."""
    plain = [_plain(name) for name in sense.lemma_names()]
    kind = [name for name in plain if not (is_person(sense) and is_unkind_name(name))]
    names = _unique(kind, but=but)
    common = [name for name in names if not re.match(r"(genus )?[A-Z][a-z]+ [a-z]+|genus ", name)]
    return common or names[:1]


def _kind_and_parts(sense: Any, tag: str, subject: str) -> Iterator[str]:
    parents = _parents(sense, tag)
    if parents:
        yield say(f"{subject} {_is(tag)} a kind of {parents[0]}")
    parts = _unique(_names(_plainest(sense.part_meronyms())), but=tag)
    if parts:
        yield say(f"a photo of {subject} with {_listed_things(parts[:4])}")
    if others := names_of(sense, but=tag):
        yield say(f"{subject}, also called {_listed_things(others[:3], 'or')}")
    if sorts := _names(_sorts_of(sense, tag)):
        yield say(f"{subject}, such as {_listed_things(sorts[:3], 'or')}")
    if len(parts) > 4:
        yield say(f"{subject} {'have' if is_plural(tag) else 'has'} {_listed_things(parts[4:8])}")


def _material_and_whole(sense: Any, tag: str, subject: str) -> Iterator[str]:
    if materials := _unique(_names(_plainest(sense.substance_meronyms())), but=tag):
        yield say(f"{subject} {_is(tag)} made of {listed(materials[:3])}")
    wholes = _unique(_names(_plainest([*sense.part_holonyms(), *sense.member_holonyms()])), but=tag)
    if wholes := [name for name in wholes if not name[:1].isupper() and not name.startswith("genus ")]:
        yield say(f"a photo of {subject}, part of {with_article(wholes[0])}")


def _sort_sentences(sense: Any, tag: str, subject: str) -> Iterator[str]:
    parents = _parents(sense, tag)
    for parent in _plainest(sense.hypernyms())[:1]:
        if name_of(parent) in parents:
            yield say(f"like any {name_of(parent)}, {subject} {_is(tag)} {definition_of(parent)}")
    if len(parents) > 1:
        yield say(f"a photo of {subject}, {with_article(parents[1])}")
    sorts = _sorts_of(sense, tag)
    for sort in sorts[:5]:
        yield say(f"a photo of {with_article(name_of(sort))}, {definition_of(sort)}")
    if len(sorts) > 6:
        yield say(f"kinds of {tag} are {listed(_names(sorts[5:10]))}")


def _family(sense: Any, tag: str, subject: str) -> Iterator[str]:
    if name := _SORTS.get(sense.lexname().partition(".")[2]):
        yield say(f"{subject} {_is(tag)} {name}")
    parents = [parent for parent in _plainest(sense.hypernyms()) if name_of(parent) not in _TOO_WIDE]
    sisters = [sister for parent in parents[:1] for sister in parent.hyponyms() if sister != sense]
    if names := _unique(_names(_plainest(sisters)), but=tag):
        yield say(f"{subject}, which {'look' if is_plural(tag) else 'looks'} somewhat like "
                  f"{_listed_things(names[:2], 'or')}")  # fmt: skip


def _other_words_for(sense: Any, doing: str, base: str) -> Iterator[str]:
    others = [gerund_phrase(name) for name in names_of(sense, but=base)]
    if others := [other for other in dict.fromkeys(others) if other != doing]:
        yield say(f"someone {doing}, in other words {listed(others[:3], 'or')}")


def _ways_of(sense: Any, doing: str) -> Iterator[str]:
    ways = [way for way in _plainest(sense.hyponyms()) if gerund_phrase(name_of(way)) != doing]
    if ways:
        names = dict.fromkeys(gerund_phrase(name) for name in _names(ways))
        yield say(f"people {doing}, for example {listed(list(names)[:3], 'or')}")
    for way in ways[:3]:
        yield say(f"someone {gerund_phrase(name_of(way))}: to {definition_of(way).removeprefix('to ')}")


def _clause_sentence(subject: str, verb: str, clause: str) -> str:
    """A gloss's clause as a sentence about the subject, by the look of its first word."""
    first = clause.split()[0].lower()
    if first in _VERBS:
        return say(f"{subject} {clause}")
    if first.endswith("ing") and verb == "is":
        return say(f"{subject}, {clause}")
    if first in _PREDICATES or first.endswith(("ed", "ly")) or first in ("made", "worn", "found", "having"):
        return say(f"{subject} {verb} {clause}")
    return say(f"{subject}: {clause}")


def _examples(sense: Any, word: str) -> list[str]:
    """Usage examples of a sense that have the word in them and name no one."""
    texts = [clean(example) for example in sense.examples()]
    stem = word.lower()[:4]
    return [text for text in texts if len(text.split()) > 1 and stem in text.lower() and "--" not in text][:3]


def _example_sentences(sense: Any, word: str) -> Iterator[str]:
    yield from (say(text) for text in _examples(sense, word) if len(text.split()) > 2)


def _parents(sense: Any, tag: str, depth: int = 3) -> list[str]:
    """Names of the classes above a sense that can still be pictured, nearest first."""
    found: list[str] = []
    level = [sense]
    for _ in range(depth):
        level = [parent for one in level for parent in _plainest(one.hypernyms())][:3]
        found.extend(name_of(one) for one in level if name_of(one) not in _TOO_WIDE)
    return _unique(found, but=tag)


def _sorts_of(sense: Any, tag: str) -> list[Any]:
    """Hyponyms, the plainest words first, one a name."""
    by_name: dict[str, Any] = {}
    for sort in _plainest(sense.hyponyms()):
        by_name.setdefault(name_of(sort).lower(), sort)
    by_name.pop(tag.lower(), None)
    return [sort for sort in by_name.values() if not _SLURRED.search(sort.definition())]


def _plainest(senses: Iterable[Any]) -> list[Any]:
    """Senses that people have words for come first: frequent, then not a proper name, then short; without unkind ones.

    The rest of the key makes the order the same in every run: NLTK keeps relations in sets.
    """

    def key(sense: Any) -> tuple[int, bool, int, str, int]:
        name = sense.lemma_names()[0]
        return (-max(lemma.count() for lemma in sense.lemmas()), name[:1].isupper(), len(name), name, sense.offset())

    return sorted((sense for sense in senses if not is_unkind(sense)), key=key)


def _derived_nouns(sense: Any, word: str) -> list[Any]:
    """Nouns of the same stem: surf → surfer, red → redness."""
    found = [other.synset() for lemma in sense.lemmas() for other in lemma.derivationally_related_forms()]
    return [one for one in _plainest(set(found)) if one.pos() == "n" and name_of(one)[:3] == word[:3]]


def _listed_things(names: Sequence[str], last: str = "and") -> str:
    return listed([with_article(name) for name in names], last)


def _names(senses: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(name_of(sense) for sense in senses))


def _plain(name: str) -> str:
    return name.replace("_", " ").strip()


def _unique(names: Iterable[str], *, but: str) -> list[str]:
    """Names once each, without the word itself in its spellings."""

    def bare(name: str) -> str:
        return re.sub(r"[^a-z]", "", name.lower())

    return list({bare(name): name for name in names if bare(name) != bare(but)}.values())


def _is(tag: str) -> str:
    return "are" if is_plural(tag) else "is"


def _at_a_break(words: list[str]) -> list[str]:
    """The beginning of a long sentence, ended where a clause ends."""
    kept = words[:MAX_WORDS]
    for index in range(len(kept) - 1, len(kept) // 2, -1):
        if kept[index].endswith((",", ";", ":")):
            return kept[: index + 1]
    return kept
