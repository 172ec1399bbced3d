"""Lemmas of caption words: "women" → woman, "riding" → ride (never "rid"), "glasses" as they are worn.

The tables of spaCy's English pipelines say which words exist and which are irregular; the rules here decide among
the candidates by spelling: a verb of one short syllable doubles its consonant ("ridding" would be rid), so a single
consonant before -ing means that an e was dropped ("riding" is ride).
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from ramkit.text import lexicon

_VOWELS = frozenset("aeiou")
_IRREGULAR_NOUNS = {
    "men": "man", "women": "woman", "people": "person", "persons": "person", "children": "child", "mice": "mouse",
    "geese": "goose", "feet": "foot", "teeth": "tooth", "knives": "knife", "leaves": "leaf", "loaves": "loaf",
    "shelves": "shelf", "wolves": "wolf", "calves": "calf", "halves": "half", "scarves": "scarf", "hooves": "hoof",
    "wives": "wife", "elves": "elf", "lives": "life", "oxen": "ox", "buses": "bus", "busses": "bus", "gases": "gas",
    "cacti": "cactus", "tomatoes": "tomato", "potatoes": "potato", "skis": "ski", "taxis": "taxi", "pies": "pie",
    "ties": "tie", "cookies": "cookie", "hoodies": "hoodie", "movies": "movie", "selfies": "selfie",
    "veggies": "veggie", "brownies": "brownie", "smoothies": "smoothie", "selves": "self", "axes": "axe",
    "shoes": "shoe", "canoes": "canoe", "toes": "toe", "horses": "horse", "houses": "house", "vases": "vase",
    "roses": "rose", "noses": "nose", "cases": "case", "suitcases": "suitcase", "bookcases": "bookcase",
    "purses": "purse", "blouses": "blouse", "hoses": "hose", "nurses": "nurse", "cheeses": "cheese",
    "bases": "base", "surfaces": "surface", "lenses": "lens", "bread": "bread", "clothes": "clothes",
    "pizzas": "pizza", "bras": "bra", "cheerios": "cheerios", "dice": "dice", "lice": "louse", "gauze": "gauze",
    "zombies": "zombie", "species": "species", "series": "series", "daises": "daisy", "rotaries": "rotary",
    "kiddies": "child", "doggies": "dog", "birdies": "bird", "ladies": "lady", "guys": "guy", "scarfs": "scarf",
    "roofs": "roof", "chefs": "chef", "chiefs": "chief", "cliffs": "cliff", "reefs": "reef", "beliefs": "belief",
    "giraffes": "giraffe", "photos": "photo", "kangaroos": "kangaroo", "pianos": "piano", "radios": "radio",
    "caves": "cave", "waves": "wave", "gloves": "glove", "stoves": "stove", "sleeves": "sleeve", "graves": "grave",
    "olives": "olive", "beehives": "beehive", "valves": "valve", "doves": "dove", "chives": "chives",
    "microwaves": "microwave", "eves": "eve", "drives": "drive", "curves": "curve",
}  # fmt: skip
_SAME_IN_PLURAL = lexicon.words(
    """sheep deer fish bison moose aircraft spacecraft swiss glass grass bus gas dress cross mattress lens cactus
    octopus walrus hippopotamus compass bass chess tennis news mess canvas christmas iris dish series species
    hovercraft watercraft swimwear graffiti wilderness fitness business princess actress waitress hostess mistress
    kiss pass glasses harness wheelless campus circus virus citrus asparagus hummus status abacus crocus eucalyptus
    papyrus focus bonus fungus genus atlas pancreas pants address process class brass moss boss loss toss gloss
    albatross fortress buttress cypress express stress success access trellis pelvis tennis basis oasis chassis
    clematis penis bliss debris bourgeois asbestos chaos rhinoceros us wheelies alps gymnastics checkers billiards
    cross-country lacrosse molasses thermos cosmos kudos watercress countess goddess headdress overpass underpass
    bypass windlass hourglass eyeglass surplus nexus plus versus corpus hibiscus platypus apparatus ruckus sinus
    jesus santa-claus claus mars texas dallas paris headquarters barracks crossroads woods stairs"""
)
_IRREGULAR_VERBS = {
    "sat": "sit", "stood": "stand", "rode": "ride", "ridden": "ride", "held": "hold", "flew": "fly", "flown": "fly",
    "laid": "lay", "lain": "lie", "lying": "lie", "tying": "tie", "dying": "die", "ate": "eat", "eaten": "eat",
    "wore": "wear", "worn": "wear", "took": "take", "taken": "take", "made": "make", "did": "do", "done": "do",
    "does": "do", "has": "have", "had": "have", "having": "have", "is": "be", "are": "be", "was": "be", "were": "be",
    "been": "be", "being": "be", "am": "be", "'s": "be", "'re": "be", "went": "go", "gone": "go", "goes": "go",
    "caught": "catch", "threw": "throw", "thrown": "throw", "hung": "hang", "ran": "run", "swam": "swim",
    "swum": "swim", "fed": "feed", "led": "lead", "drove": "drive", "driven": "drive", "drew": "draw",
    "drawn": "draw", "broke": "break", "broken": "break", "wrote": "write", "written": "write", "saw": "see",
    "seen": "see", "slept": "sleep", "swung": "swing", "spun": "spin", "struck": "strike", "stuck": "stick",
    "bitten": "bite", "bit": "bite", "hid": "hide", "hidden": "hide", "blew": "blow", "blown": "blow", "fell": "fall",
    "fallen": "fall", "grew": "grow", "grown": "grow", "bent": "bend", "built": "build", "bought": "buy",
    "brought": "bring", "came": "come", "dug": "dig", "drank": "drink", "drunk": "drink", "fought": "fight",
    "found": "find", "got": "get", "gotten": "get", "gave": "give", "given": "give", "knelt": "kneel",
    "leapt": "leap", "left": "leave", "lit": "light", "met": "meet", "paid": "pay", "sold": "sell", "sent": "send",
    "shook": "shake", "shaken": "shake", "shone": "shine", "shot": "shoot", "sang": "sing", "sung": "sing",
    "sank": "sink", "sunk": "sink", "slid": "slide", "spoke": "speak", "spoken": "speak", "sprang": "spring",
    "stole": "steal", "stolen": "steal", "swept": "sweep", "taught": "teach", "tore": "tear", "torn": "tear",
    "told": "tell", "thought": "think", "woke": "wake", "woken": "wake", "wound": "wind", "dove": "dive",
    "shown": "show", "skiing": "ski", "skied": "ski", "skies": "ski", "skis": "ski", "taxiing": "taxi",
    "taxied": "taxi", "eyeing": "eye", "dyed": "dye", "dyeing": "dye", "singeing": "singe", "bored": "bore",
    "sewn": "sew", "mown": "mow", "shorn": "shear", "sheared": "shear", "lighted": "light", "bathing": "bathe",
    "bathed": "bathe", "bathes": "bathe", "canoeing": "canoe", "tiptoeing": "tiptoe", "hoeing": "hoe",
    "busing": "bus", "bussing": "bus", "snowboarding": "snowboard", "picnicking": "picnic", "frolicking": "frolic",
    "mimicking": "mimic", "panicking": "panic", "cycling": "cycle", "lounging": "lounge", "bicycling": "bicycle",
    "motorcycling": "motorcycle", "paddling": "paddle", "juggling": "juggle", "snuggling": "snuggle",
    "cuddling": "cuddle", "tackling": "tackle", "battling": "battle", "huddling": "huddle", "huddled": "huddle",
    "nestling": "nestle", "nestled": "nestle", "nuzzling": "nuzzle", "handling": "handle", "nibbling": "nibble",
    "dribbling": "dribble", "straddling": "straddle", "wrestling": "wrestle", "bustling": "bustle",
    "shuffling": "shuffle", "waddling": "waddle", "tumbling": "tumble", "sprinkling": "sprinkle",
    "sprinkled": "sprinkle", "travelling": "travel", "travelled": "travel", "modelling": "model",
    "kneeling": "kneel", "peeling": "peel", "wheeling": "wheel", "assembling": "assemble",
    "assembled": "assemble", "circling": "circle", "circled": "circle", "ogling": "ogle", "angling": "angle",
    "dangling": "dangle", "mingling": "mingle", "tangled": "tangle", "bundled": "bundle", "saddled": "saddle",
    "peddling": "peddle", "pedaling": "pedal", "pedalling": "pedal",
}  # fmt: skip


@dataclass(frozen=True)
class Lemmatizer:
    """Lemmas by part of speech. `nouns`, `verbs`, `adjectives`, `others`: words known to exist; `irregular_*`: form →
    lemma."""

    nouns: Set[str] = frozenset()
    verbs: Set[str] = frozenset()
    adjectives: Set[str] = frozenset()
    others: Set[str] = frozenset()
    irregular_nouns: Mapping[str, str] = field(default_factory=dict)
    irregular_verbs: Mapping[str, str] = field(default_factory=dict)
    _nouns_seen: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    _verbs_seen: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def noun(self, word: str) -> str:
        """Singular of a noun in lower case; plural-only nouns stay plural."""
        if (known := self._nouns_seen.get(word)) is None:
            known = _bounded(self._nouns_seen)[word] = self._singular(word)
        return known

    def verb(self, word: str) -> str:
        """Base form of a verb in lower case."""
        if (known := self._verbs_seen.get(word)) is None:
            known = _bounded(self._verbs_seen)[word] = self._base(word)
        return known

    def knows(self, word: str) -> bool:
        """Whether a word in lower case is English, in any form; true of all words where there is no dictionary."""
        if not self.nouns or word in self.others or word in self.adjectives or word in lexicon.LISTED:
            return True
        return not self.nouns.isdisjoint((word, self.noun(word))) or not self.verbs.isdisjoint((word, self.verb(word)))

    def _singular(self, word: str) -> str:
        if word in lexicon.PLURAL_ONLY:
            return lexicon.PLURAL_ONLY[word]
        if word in _IRREGULAR_NOUNS:
            return _IRREGULAR_NOUNS[word]
        if word in _SAME_IN_PLURAL or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
            return self._irregular_singular(word)
        for ending, instead in (
            ("ies", "y"),
            ("ches", "ch"),
            ("shes", "sh"),
            ("sses", "ss"),
            ("xes", "x"),
            ("oes", "o"),
        ):
            if word.endswith(ending) and len(word) > len(ending) + 1:
                return word[: -len(ending)] + instead
        if word.endswith("zzes") or (word.endswith("ses") and word[:-2] in self.nouns and word[:-1] not in self.nouns):
            return word[:-2]
        return word[:-1]

    def _irregular_singular(self, word: str) -> str:
        if word.endswith("men") and len(word) > 4 and word[:-2] + "an" in self.nouns:
            return word[:-2] + "an"
        if word.endswith("people") and word != "people":
            return word.removesuffix("people") + "person"
        return word if word in self.nouns else self.irregular_nouns.get(word, word)

    def _base(self, word: str) -> str:
        if word in _IRREGULAR_VERBS:
            return _IRREGULAR_VERBS[word]
        if word in lexicon.VERB_FORMS:
            return lexicon.VERB_FORMS[word]
        if word.endswith("ing") and any(letter in _VOWELS or letter == "y" for letter in word[:-3]):
            return self._restored(word[:-3])
        if word.endswith(("ied", "ies")):
            return word[:-3] + "y" if len(word) > 4 else word[:-1]
        if word.endswith("ed") and len(word) > 3:
            return self._restored(word[:-2])
        if word.endswith(("ches", "shes", "sses", "xes", "zzes")):
            return word[:-2]
        if word.endswith("s") and len(word) > 2 and not word.endswith(("ss", "us", "is")):
            return word[:-1]
        return self.irregular_verbs.get(word, word) if word not in self.verbs else word

    def _restored(self, stem: str) -> str:
        """The verb whose -ing or -ed form has this stem."""
        if len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in "lsz" and stem[-1] not in _VOWELS:
            return stem if stem in self.verbs and stem[:-1] not in self.verbs else stem[:-1]
        if stem[-2:] in ("ll", "ss", "zz"):
            return stem if stem in self.verbs or stem[:-1] not in self.verbs else stem[:-1]
        if _is_short_syllable(stem):
            return stem + "e"
        if stem in self.verbs and not (stem + "e" in self.verbs and stem.endswith(("at", "iv", "as", "v", "c", "u"))):
            return stem
        if stem + "e" in self.verbs:
            return stem + "e"
        return stem + "e" if stem.endswith(("v", "c", "u", "dg", "rg", "ng")) and stem not in self.verbs else stem


def _is_short_syllable(stem: str) -> bool:
    """Whether the stem would double its consonant before -ing: one vowel between consonants ("rid", "skat")."""
    if len(stem) < 2 or stem[-1] in _VOWELS or stem[-1] in "wxy":
        return False
    vowels = [index for index, letter in enumerate(stem) if letter in _VOWELS or (letter == "y" and index > 0)]
    return len(vowels) == 1 and vowels[0] == len(stem) - 2


def _bounded(seen: dict[str, str]) -> dict[str, str]:
    if len(seen) > 200_000:  # web captions bring words without end
        seen.clear()
    return seen
