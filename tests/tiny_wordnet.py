"""A WordNet of two dozen hand-made senses in WordNet's own file format, so that tests need none installed."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_POS_FILE = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}
_HEADER = "  1 Made by hand for tests: WordNet 9.9 Copyright nobody  \n"
HYPERNYM, HYPONYM, PART, WHOLE, SIMILAR, ANTONYM, MATERIAL, USAGE = "@", "~", "%p", "#p", "&", "!", "%s", ";u"


class Sense(NamedTuple):
    name: str  # how other senses point to it
    pos: str
    file: int  # lexicographer file: 5 animal, 6 artifact, 18 person …
    words: str  # parted by blanks, blanks in words as _
    gloss: str
    points: tuple[tuple[str, str], ...] = ()


SENSES = (
    Sense("entity", "n", 3, "entity", "that which is"),
    Sense("animal", "n", 5, "animal creature", "a living thing that moves", ((HYPERNYM, "entity"),)),
    Sense("canine", "n", 5, "canine", "a long-muzzled meat eater", ((HYPERNYM, "animal"), (HYPONYM, "dog"))),
    Sense(
        "dog", "n", 5, "dog domestic_dog Canis_familiaris",
        'a tame canine (kept since early times) with four legs; barks at strangers; "the dog barked at the moon"',
        ((HYPERNYM, "canine"), (HYPONYM, "corgi"), (HYPONYM, "poodle"), (PART, "tail"), (PART, "paw")),
    ),
    Sense("scold", "n", 18, "dog", "an unkind word for a dull person", ((HYPERNYM, "entity"),)),
    Sense("corgi", "n", 5, "corgi", "a low dog with large ears", ((HYPERNYM, "dog"),)),
    Sense("poodle", "n", 5, "poodle", "a dog with curly hair", ((HYPERNYM, "dog"),)),
    Sense("tail", "n", 8, "tail", "what wags at the hind end"),
    Sense("paw", "n", 8, "paw", "a foot with claws"),
    Sense("rodent", "n", 5, "mouse", "any of the small rodents with a thin tail", ((HYPERNYM, "animal"),)),
    Sense("pointer", "n", 6, "mouse computer_mouse", "a hand-operated electronic thing that moves a cursor"),
    Sense("feeling", "n", 12, "glow", "a feeling of joy"),
    Sense("shine", "n", 19, "glow", "a steady light without flames"),
    Sense("bus", "n", 6, "bus coach", "a long vehicle that carries many passengers", ((PART, "window"),)),
    Sense("window", "n", 6, "window", "a pane in a wall"),
    Sense("shears", "n", 6, "scissors", "a tool with two crossing blades", ((MATERIAL, "steel"),)),
    Sense("steel", "n", 27, "steel", "a hard grey metal"),
    Sense("bicycle", "n", 6, "bicycle", "a vehicle with two wheels and pedals", ((HYPERNYM, "vehicle"),)),
    Sense("vehicle", "n", 6, "vehicle", "what carries people or loads"),
    Sense("horse", "n", 5, "horse", "a large hoofed grazer", ((HYPERNYM, "animal"),)),
    Sense("sit on", "v", 38, "ride", 'sit on the back of an animal; "they ride over the hills"'),
    Sense("be carried", "v", 38, "ride", "be carried in or on a vehicle"),
    Sense("move fast", "v", 38, "run hurry", 'move fast on foot; "children run home"', ((HYPONYM, "jog"),)),
    Sense("jog", "v", 38, "jog", "to run slowly for exercise", ((HYPERNYM, "move fast"),)),
    Sense("tall", "a", 0, "tall", 'great in height; "tall buildings"', ((SIMILAR, "lofty"),)),
    Sense("lofty", "s", 0, "lofty", "of imposing height", ((SIMILAR, "tall"),)),
)  # fmt: skip


def write_wordnet(folder: Path, senses: Iterable[Sense] = SENSES) -> Path:
    """Write the dict files; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = list(senses)
    offsets: dict[str, int] = {}
    for name in ("noun", "verb", "adj", "adv"):
        mine = [sense for sense in listed if _POS_FILE[sense.pos] == name]
        at = len(_HEADER)
        for sense in mine:  # every offset has eight digits, so lines are as long before as after they are known
            offsets[sense.name] = at
            at += len(_line(sense, dict.fromkeys((other.name for other in listed), 0), listed))
    for name in ("noun", "verb", "adj", "adv"):
        mine = [sense for sense in listed if _POS_FILE[sense.pos] == name]
        data = _HEADER + "".join(_line(sense, offsets, listed) for sense in mine)
        (folder / f"data.{name}").write_text(data, encoding="utf-8")
        (folder / f"index.{name}").write_text(_HEADER + _index(mine, offsets), encoding="utf-8")
    (folder / "verb.exc").write_text("running run\n", encoding="utf-8")
    (folder / "noun.exc").write_text("mice mouse\n", encoding="utf-8")
    return folder


def _line(sense: Sense, offsets: dict[str, int], senses: list[Sense]) -> str:
    pos = {other.name: other.pos for other in senses}
    words = " ".join(f"{word} 0" for word in sense.words.split())
    points = "".join(f" {mark} {offsets[name]:08d} {pos[name]} 0000" for mark, name in sense.points)
    frames = " 01 + 02 00" if sense.pos == "v" else ""
    count = len(sense.words.split())
    return (
        f"{offsets[sense.name]:08d} {sense.file:02d} {sense.pos} {count:02x} {words} {len(sense.points):03d}{points}"
        f"{frames} | {sense.gloss}  \n"
    )


def _index(senses: list[Sense], offsets: dict[str, int]) -> str:
    by_word: dict[str, list[Sense]] = {}
    for sense in senses:
        for word in sense.words.split():
            by_word.setdefault(word.lower(), []).append(sense)
    lines = []
    for word, of_word in sorted(by_word.items()):
        pos = "a" if of_word[0].pos == "s" else of_word[0].pos
        places = " ".join(f"{offsets[sense.name]:08d}" for sense in of_word)
        lines.append(f"{word} {pos} {len(of_word)} 0 {len(of_word)} 0 {places}  \n")
    return "".join(lines)
