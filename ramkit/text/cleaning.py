"""Captions as the parser wants them: no HTML, URLs or emoji, no shouting, hyphens opened, known slips mended.

A caption in another language, or without words, is told apart here, so that it is counted and not parsed.
"""

import html
import re
import unicodedata
from dataclasses import dataclass

from ramkit.text import lexicon

_TAG = re.compile(r"<[^<>]{1,200}>")
_URL = re.compile(r"(?:https?://|www\.)\S+|\b[\w.-]+\.(?:com|org|net|jpg|jpeg|png|gif|html)\b\S*", re.IGNORECASE)
_HANDLE = re.compile(r"[@#](\w+)")
_NOT_TEXT = re.compile(r"[^\w\s.,;:!?'&%$/()\"-]", re.ASCII)
_LETTERS_APART = re.compile(r"(?<=[a-z]{2})-(?=[a-z])", re.IGNORECASE)
_CLOSE_UP = re.compile(r"\b(close)[- ]{1,3}(ups?)\b", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_WORD = re.compile(r"[a-z']+", re.IGNORECASE)
_JOINED_STOP = re.compile(r"(?<=[a-z]{2})([.!?])(?=[A-Za-z]{2})")
_QUOTES = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u00b4": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": " - ",
     "\u2026": "...", "\u00a0": " "}
)  # fmt: skip
MAX_WORDS = 80  # a caption longer than this is a page's text: the rest is cut off

# Words that make a text English, and words that make it something else.
_ENGLISH = lexicon.words(
    """a an the of in on at with and is are to for by from near next under over through while this that these those
    there his her its their he she it they two three some several into up down out man woman people person playing
    standing sitting holding riding wearing"""
)
_FOREIGN = (
    lexicon.words(
        """der die das ein eine einen einem und mit auf im am von zu ist sind nicht den dem des für auch ihr el los las
    una unos unas de del y con en por para es son que su sus le les un une du dans avec sur est sont et pour qui ses
    il lo gli di che nel nella sul sulla della dei una per con uno o os as um uma no na nos nas do da dos das com e
    het een van met op zijn en te der voor en att och som på av är till med ett jeg og av til er som"""
    )
    - _ENGLISH
    - {"no", "do", "as", "die", "per", "am", "en", "con", "o", "e", "y", "son", "los", "las", "de", "la", "le"}
)


@dataclass(frozen=True)
class Cleaned:
    """A caption ready to be parsed, or why it is not: `other language` or `no words`."""

    text: str
    skipped: str = ""


def clean(caption: str) -> Cleaned:
    """Prepare one caption for the parser."""
    text = caption
    if not (text.isascii() and text.isalpha()) and ("<" in text or "&" in text):
        text = html.unescape(_TAG.sub(" ", html.unescape(text)))
    text = text.translate(_QUOTES)
    if "." in text or ":" in text:
        text = _URL.sub(" ", text)
        text = _JOINED_STOP.sub(r"\1 ", text)
    text = _HANDLE.sub(r" \1 ", text)
    if not text.isascii():
        if _is_other_script(text):
            return Cleaned("", "other language")
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    text = _NOT_TEXT.sub(" ", text)
    text = _CLOSE_UP.sub(r"\1\2", text)
    text = _LETTERS_APART.sub(" ", text.replace("_", " "))
    words = _WORD.findall(text)
    if not words:
        return Cleaned("", "no words")
    if _is_foreign(words):
        return Cleaned("", "other language")
    text = _quiet(text, words)
    return Cleaned(_mend(text))


def _mend(text: str) -> str:
    mended = [_mended(word) for word in text.split()[:MAX_WORDS]]
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
    letters = [letter for letter in text if letter.isalpha()]
    other = sum(not unicodedata.name(letter, "LATIN").startswith(("LATIN", "FULLWIDTH LATIN")) for letter in letters)
    return bool(letters) and other * 3 >= len(letters)


def _is_foreign(words: list[str]) -> bool:
    """Whether function words of other languages outnumber the English ones."""
    lower = [word.lower() for word in words]
    foreign = sum(word in _FOREIGN for word in lower)
    return foreign > 0 and foreign * 2 > len(lower) * 0.3 and foreign > 2 * sum(word in _ENGLISH for word in lower)
