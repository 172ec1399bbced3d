"""Whether a caption is English: by its small words, its letters, and whether a dictionary knows the others.

A few words are too little for statistics over letters, and captions are full of names: "El Capitan at sunset" and
"jalapeño poppers" are English, "Kinder spielen Fußball" and "Due uomini a cavallo" are not. So no sign decides alone:
small words of another language count against those of English, words that no English dictionary knows only where they
are written small, as names are not, and letters that English never borrows only beside unknown words.
"""

import unicodedata
from collections.abc import Callable, Sequence

from ramkit.text import lexicon

# Small words that make a text English; nearly none of them is a word of a neighbour, too.
_ENGLISH = lexicon.words(
    """the of with and are from near next through while this that these those there his their she it its two three some
    several into up down out woman people person playing standing sitting holding riding wearing behind under front top
    outside inside between across around along other has have white black photo picture"""
)
# Small words of other languages that are none in English.
_FOREIGN = lexicon.words(
    """der das ein eine einen einem einer und mit auf im vor zu zum zur ist sind nicht dem den für auch bei aus wird
    nach über ihr ihre seine zwei drei mann frau kinder durch neben hinter
    el una unos unas del y por para es que su sus dos tres sobre entre junto hombre mujer niño niña niños un al uno
    le les une du dans avec sur est et pour qui ses deux trois devant sous près au aux homme femme enfants
    il lo gli di che nel nella sul sulla della dei degli sono uomo donna tre
    um uma nas nos das ao pela pelo são em homem mulher
    een het met op zijn voor naar aan uit bij twee drie
    och som på av är till ett jeg og til er ved med den det två kvinna
    się jest bir ve ile çok"""
)
# Of those, what stands in English texts as well: tells something only beside another one.
_SHARED = lexicon.words(
    "die das den des de la las los con en es le o y son am al el du em er i di il op um na dos et un"
)
_IN_NAMES = lexicon.words("de del der di da do du la las los le van von")  # "Playa del Carmen" tells of no language
# Letters that words borrowed by English hardly ever bring along, as "café" and "piñata" bring theirs.
_NEVER_BORROWED = frozenset("äöüßøåæœłşğıőűřěůżźśćąęđăţșț")


def is_english(words: Sequence[str], knows: Callable[[str], bool]) -> bool:
    """Whether words of one text, as they are written, are English.

    Args:
        knows: whether an English dictionary has a word, given in plain small letters.
    """
    lower = [word.lower() for word in words]
    if any(word in _ENGLISH for word in lower):
        foreign = sum(word in _FOREIGN and word not in _SHARED for word in lower)
        return foreign <= 2 * sum(word in _ENGLISH for word in lower)
    small = _small_words(words)
    if len(small & (_FOREIGN | _SHARED)) > 1:
        return False
    unknown = [word for word in words if not _is_known(word.lower(), knows)]
    share = len(unknown) / max(1, len(words))
    if small & (_FOREIGN - _SHARED):
        return share < 0.4
    odd = [word for word in words if any(letter in _NEVER_BORROWED for letter in word.lower())]
    if odd:
        return share < 0.5 or (share == 0.5 and not any(word in small for word in odd))
    new = sum(word.lower() in small for word in unknown)
    return new < 2 or 2 * new < len(words)


def _small_words(words: Sequence[str]) -> set[str]:
    """Words that are no names: written small, and not between the words of one; the first one, whose capital tells
    nothing, unless all words have one."""
    small = set()
    for number, word in enumerate(words):
        around = words[max(0, number - 1) : number + 2]
        if word.islower() and not (
            word in _IN_NAMES and len(around) > 2 and around[0].istitle() and around[2].istitle()
        ):
            small.add(word)
    return small | {word.lower() for word in words[:1] if small}


def _is_known(word: str, knows: Callable[[str], bool]) -> bool:
    if word in _FOREIGN or any(letter in _NEVER_BORROWED for letter in word):
        return False
    return len(word) < 3 or knows(unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode())
