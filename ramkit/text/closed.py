"""A closed vocabulary: only the tags that someone gave, wherever a caption names them.

Names of several words are matched as such, the longest first, in any inflection and by any alias ("two traffic
lights", "riding a horse" for "ride horse"). Names of one word are matched against what the rules found, so that
"stop sign" is no "stop", "hot dog" no "dog" and "no dogs" nothing; a compound that is not in the vocabulary stands for
its last words ("school bus" → "bus"), a curated synonym for the name in the vocabulary ("sofa" → "couch").
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ramkit.text import lexicon
from ramkit.text.caption_parser import Kind, Mention, Parsed, Tree, kind_of_noun
from ramkit.text.lemmas import Lemmatizer
from ramkit.text.vocabulary import Naming, Tag, with_synonyms

# What the rules refuse as a tag of their own, but someone may want by name.
_WANTED_BY_NAME = frozenset(
    {"abstract", "locative", "empty adjective", "empty verb", "number", "proper name", "medium"}
)
_ARTICLES = frozenset({"a", "an", "the"})


class ClosedVocabulary:
    """Matches a given vocabulary in parsed captions."""

    def __init__(self, tags: Sequence[Tag], lemmas: Lemmatizer) -> None:
        self._lemmas = lemmas
        self._kinds = {tag.tag: tag.kind for tag in tags if tag.kind is not None}
        self._naming = with_synonyms(tags)
        self._phrases: dict[tuple[str, ...], str] = {}
        for tag in tags:
            for name in (tag.tag, *tag.aliases):
                words = tuple(name.replace("-", " ").split())
                if len(words) > 1:
                    self._phrases.setdefault(words, tag.tag)
                    self._phrases.setdefault((*words[:-1], lemmas.noun(words[-1])), tag.tag)
        self._prefixes = {words[:size] for words in self._phrases for size in range(1, len(words))}

    def match(self, tree: Tree, parsed: Parsed) -> Parsed:
        """The parse with its mentions replaced by the vocabulary's tags."""
        negated = {mention.at for mention in parsed.dropped if mention.rule == "negated"}
        spans = [span for span in self._spans(tree) if span[1] - 1 not in negated]
        taken = {index for first, end, _ in spans for index in range(first, end)}
        mentions = [
            Mention(self._kind(tag, _kind_of_phrase(tree, first)), tag, "phrase", first) for first, _, tag in spans
        ]
        wanted = (mention for mention in parsed.dropped if mention.rule in _WANTED_BY_NAME)
        for mention in (*parsed.mentions, *wanted):
            if mention.at not in taken:
                mentions.extend(self._resolved(mention))
        found = {mention.tag: mention for mention in sorted(mentions, key=lambda mention: -mention.at)}
        return replace(parsed, mentions=tuple(sorted(found.values(), key=lambda mention: (mention.at, mention.tag))))

    @property
    def naming(self) -> Naming:
        return self._naming

    def _resolved(self, mention: Mention) -> Iterator[Mention]:
        for tag in self._naming.resolve(mention.tag)[:1]:
            yield replace(mention, tag=tag, kind=self._kind(tag, mention.kind))

    def _kind(self, tag: str, found: Kind) -> Kind:
        return self._kinds.get(tag) or (found if found != "object" else kind_of_noun(tag))

    def _spans(self, tree: Tree) -> Iterator[tuple[int, int, str]]:
        """(first, end, tag) of every phrase, the longest at each place, none inside another."""
        if not self._phrases:
            return
        forms = [self._forms(tree, index) for index in range(len(tree.words))]
        index = 0
        while index < len(forms):
            found = self._longest_at(forms, index)
            if found is None:
                index += 1
            else:
                yield (index, *found)
                index = found[0]

    def _longest_at(self, forms: Sequence[set[str]], index: int) -> tuple[int, str] | None:
        """(end, tag) of the longest phrase that starts here; articles inside a phrase may be there or not."""
        best: tuple[int, str] | None = None
        reached: list[tuple[int, tuple[str, ...]]] = [(index + 1, (form,)) for form in sorted(forms[index])]
        while reached:
            end, words = reached.pop()
            if (tag := self._phrases.get(words)) is not None and (best is None or end > best[0]):
                best = (end, tag)
            if end == len(forms) or words not in self._prefixes:
                continue
            reached.extend((end + 1, (*words, form)) for form in sorted(forms[end]))
            if forms[end] & _ARTICLES and end + 1 < len(forms):
                reached.extend((end + 2, (*words, form)) for form in sorted(forms[end + 1]))
        return best

    def _forms(self, tree: Tree, index: int) -> set[str]:
        """All that the token may stand for: itself, its singular, its base form."""
        word = tree.lower[index]
        forms = {word, self._lemmas.noun(word)}
        if tree.tags[index].startswith("VB") or word in lexicon.VERB_FORMS:
            forms.add(self._lemmas.verb(word))
        return forms


def _kind_of_phrase(tree: Tree, first: int) -> Kind:
    """ "rides a horse" is an action, "stop sign" is none."""
    names = tree.deps[first] in ("compound", "amod", "nmod", "nn")
    return "action" if tree.tags[first].startswith("VB") and not names else "object"
