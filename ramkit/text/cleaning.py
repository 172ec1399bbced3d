"""Captions as the parser wants them: no HTML, URLs or emoji, no shouting, hyphens opened, known slips mended.

A caption in another language, or without words, is told apart here, so that it is counted and not parsed.
"""

import html
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from ramkit.text import lexicon
from ramkit.text.languages import is_english

_TAG = re.compile(r"<[^<>]{1,200}>")
_URL = re.compile(r"(?:https?://|www\.)\S+|\b[\w.-]+\.(?:com|org|net|jpg|jpeg|png|gif|html)\b\S*", re.IGNORECASE)
_HANDLE = re.compile(r"[@#](\w+)")
_NOT_TEXT = re.compile(r"[^\w\s.,;:!?'&%$/()\"-]", re.ASCII)
# "double-decker", and "t-shirt", of which spaCy makes three tokens.
_LETTERS_APART = re.compile(r"(?<=[a-z]{2})-(?=[a-z])|(?<=\b[a-z])-(?=[a-z]{3})", re.IGNORECASE)
_CLOSE_UP = re.compile(r"\b(close)[- ]{1,3}(ups?)\b", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_WORD = re.compile(r"[a-z']+", re.IGNORECASE)
_LETTERS = re.compile(r"[^\W\d_]+")
_WITH = re.compile(r"\bw/(o\b)?\s*", re.IGNORECASE)  # as alt-texts have it: "burger w/ fries", "w/o sauce"
_JOINED_STOP = re.compile(r"(?<=[a-z]{2})([.!?])(?=[A-Za-z]{2})")
_QUOTES = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u00b4": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": " - ",
     "\u2026": "...", "\u00a0": " "}
)  # fmt: skip
MAX_WORDS = 80  # a caption longer than this is a page's text: the rest is cut off
_MAX_LETTERS = 20_000  # likewise, before anything is done with it
_LONGEST_WORD = 60  # letters; what is longer is no word


@dataclass(frozen=True)
class Cleaned:
    """A caption ready to be parsed, or why it is not: `other language` or `no words`."""

    text: str
    skipped: str = ""


def clean(caption: str, knows: Callable[[str], bool] = lambda word: True) -> Cleaned:
    """Prepare one caption for the parser; `knows` tells whether a dictionary has a word."""
    text = caption[:_MAX_LETTERS]
    if not (text.isascii() and text.isalpha()) and ("<" in text or "&" in text):
        text = html.unescape(_TAG.sub(" ", html.unescape(text)))
    text = text.translate(_QUOTES)
    if "." in text or ":" in text:
        text = _URL.sub(" ", text)
        text = _JOINED_STOP.sub(r"\1 ", text)
    if "/" in text:
        text = _WITH.sub(lambda found: "without " if found[1] else "with ", text)
    text = _HANDLE.sub(r" \1 ", text)
    if _is_other_script(text) or not is_english(_LETTERS.findall(text), knows):
        return Cleaned("", "other language")
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    text = _NOT_TEXT.sub(" ", text)
    text = _CLOSE_UP.sub(r"\1\2", text)
    text = _LETTERS_APART.sub(" ", text.replace("_", " "))
    words = _WORD.findall(text)
    text = _mend(_quiet(text, words)) if words else ""
    return Cleaned(text, "" if _WORD.search(text) else "no words")


def _mend(text: str) -> str:
    written = (word for word in text.split() if len(word) <= _LONGEST_WORD)
    mended = [_mended(word) for word in islice(written, MAX_WORDS)]
    return _SPACES.sub(" ", " ".join(mended)).strip(" .,;:")


def _mended(word: str) -> str:
    bare = word.rstrip('.,;:!?"/')
    meant = lexicon.SPELLING.get(bare.lower())
    return word if meant is None else meant + word[len(bare) :]


def _quiet(text: str, words: list[str]) -> str:
    """Lower-case text that shouts or is written as a title: its capitals tell no names."""
    long_words = [word for word in words if len(word) > 2]
    capitals = sum(word[0].isupper() for word in long_words)
    letters = sum(map(len, words))
    shouted = sum(letter.isupper() for word in words for letter in word) > 0.6 * letters
    if shouted or (len(long_words) > 2 and capitals > 0.7 * len(long_words)):
        return text.lower()
    first = words[0]
    return text.replace(first, first.lower(), 1) if first[0].isupper() and first != "I" else text


def _is_other_script(text: str) -> bool:
    """Whether at least a third of the letters are not Latin."""
    if text.isascii():
        return False
    letters = [letter for letter in text if letter.isalpha()]
    other = sum(not unicodedata.name(letter, "LATIN").startswith(("LATIN", "FULLWIDTH LATIN")) for letter in letters)
    return bool(letters) and other * 3 >= len(letters)
