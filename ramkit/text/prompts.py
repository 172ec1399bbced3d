"""What is asked about a tag, and the template that needs no asking.

Source: RAM++ (arXiv 2310.15200), section on LLM tag descriptions: five prompts, ten answers each. The template is
the published code's first description. Articles, plurals and the verb that agrees with them are set here, so that
"an umbrella looks" and "scissors look" are asked for, never "a umbrella" or "a scissors".
"""

import re
from collections.abc import Sequence
from pathlib import Path

from ramkit.errors import InputError

TEMPLATE = "a photo of a {}."
# How description 0 is worded: by `template`, or literally, as in the published model and in mini's open set.
WORDED, LITERAL = "worded", "literal"

# The paper's wording, not that of the published code (which says "identifying characteristics").
PAPER_PROMPTS = (
    "Describe concisely what a {} looks like.",
    "How can you identify a {} concisely?",
    "What does a {} look like concisely?",
    "What are the identified characteristics of a {}",
    "Please provide a concise description of the visual characteristics of {}",
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLURAL_ONLY = _words(
    "scissors glasses sunglasses eyeglasses goggles binoculars pants trousers jeans shorts leggings tights pajamas "
    "pyjamas overalls pliers tongs tweezers shears clippers headphones earphones people clothes groceries stairs "
    "slacks panties boxers briefs suspenders handcuffs knickers thongs cattle police outskirts feet teeth geese mice "
    "men women children oxen leaves knives shelves wolves loaves halves calves wives scarves hooves cacti fungi "
    "bacteria skis dice"
)
# Singular in spite of the final s.
_SINGULAR_S = _words(
    "bus grass glass dress cross class moss chess tennis gas lens iris cactus walrus octopus hippopotamus canvas "
    "compass mattress harness fortress waitress actress hostess princess business congress circus campus virus "
    "asparagus hummus citrus lotus crocus hibiscus venus christmas atlas bias sis trellis pelvis penis basis oasis "
    "tennis analysis chassis abacus platypus rhinoceros cosmos asbestos lass mess press mass pass bass brass boss "
    "kiss loss albatross lettuces buss puss minibus omnibus trolleybus terminus fetus nexus status stylus syllabus "
    "species series headquarters gymnastics athletics politics mathematics physics aerobics billiards news molasses "
    "outdoors indoors"
)
_MASS = _words(
    "water grass snow ice sand mud dirt soil gravel food rice bread butter milk juice coffee tea beer wine meat "
    "beef pork bacon fruit broccoli lettuce cabbage celery spinach cheese cream chocolate honey sugar salt pepper "
    "flour pasta spaghetti ketchup mustard mayonnaise jam jelly gravy cereal corn popcorn toast furniture luggage "
    "baggage equipment clothing jewelry footwear traffic smoke fog mist steam rain lightning sunlight sunshine "
    "shade moonlight darkness weather air oil gasoline paint ink glue metal plastic leather fabric cloth cotton "
    "wool silk denim lace fur hair skin paper cardboard concrete cement asphalt marble granite steel iron gold "
    "silver copper bronze aluminum brass foam foliage vegetation greenery hay straw moss ivy bamboo tennis soccer "
    "golf hockey cricket rugby polo surfing skiing skating snowboarding skateboarding graffiti artwork art music "
    "scenery wildlife cattle poultry produce seafood breakfast lunch dinner brunch trash garbage litter rubble "
    "debris money cash makeup lipstick mascara lingerie underwear swimwear sushi tofu yogurt granola oatmeal "
    "guacamole hummus salsa icing frosting asparagus cauliflower garlic ginger parsley cilantro basil photography "
    "agriculture architecture electricity machinery wallpaper carpeting plywood tinfoil chess checkers billiards "
    "gymnastics athletics mathematics physics aerobics news data molasses jewellery wood couscous outdoors indoors "
    "downtown winter summer autumn springtime nighttime daytime dusk dawn twilight"
)
# Activities that are nouns: what one does with them.
_PLAYED = _words(
    "tennis baseball soccer basketball football volleyball cricket golf hockey polo rugby badminton lacrosse croquet "
    "softball billiards chess checkers poker dodgeball kickball frisbee pong"
)
_DONE = _words("yoga karate judo gymnastics archery motocross rodeo homework laundry makeup")
_DONE_ONCE = _words("trick stunt handstand wheelie haircut ollie")
_GERUNDS = _words(
    "skating skiing surfing boarding sailing diving fishing climbing riding racing jumping fighting rafting gliding "
    "cycling swimming hiking boxing wrestling bathing watching dancing walking"
)
_SILENT_H = ("hour", "honest", "honor", "honour", "heir")
_SOUNDS_LIKE_CONSONANT = re.compile(
    r"(uni([^nm]|$)|unim?[aeiou]|use|usu|(usb|url)\b|uten|ukul|eu|ewe|one(s|\b)|once|ufo\b|urin|ura|uran)"
)
# Letters that are spelled out, as tags in small letters have them: an suv, an x-ray, an rv.
_SPELLED_OUT = re.compile(
    r"(?!(st|mrs?|ms|ft|mt)\b)[fhlmnrsx](-|[bcdfghjklmnpqrstvwxz0-9]{1,3}\b)|(suv|led|mri|nba|fbi|nato|xbox)\b"
)
_NUMBER_WITH_VOWEL = re.compile(r"8|1[18](\D|$)")  # eight, eleven, eighteen


def template(tag: str, kind: str = "object") -> str:
    """Description 0 of a tag: "a photo of a dog.", "… an umbrella.", "… scissors.", "… riding.", "… something red."."""
    return f"a photo of something {tag}." if kind == "attribute" else fill(TEMPLATE, tag, kind)


def described_by_template(word: str, wording: str) -> str:
    """The one description of a word that is no tag, worded as description 0 of a model's tags is."""
    return TEMPLATE.format(word) if wording == LITERAL else template(word)


def ask(prompt: str, tag: str, kind: str = "object") -> str:
    """A prompt about one tag, article and verb set right."""
    return fill(prompt, tag, kind)


def fill(pattern: str, tag: str, kind: str = "object") -> str:
    """Put a tag where `{}` stands; "a {}" takes the article that the tag takes, a plural turns the verb, and an action
    is named by what one is doing."""
    if kind == "action":
        tag = gerund_phrase(tag)
    if is_plural(tag, kind):
        pattern = re.sub(r"\bdoes a \{\}", "do a {}", pattern)
        pattern = re.sub(r"\ba \{\} looks\b", "a {} look", pattern)

    def put_in(match: re.Match[str]) -> str:
        article = match[1] or ""
        phrase = with_article(tag, kind) if article else tag
        return phrase[:1].upper() + phrase[1:] if article[:1] == "A" else phrase

    return re.sub(r"(\b[Aa]n? )?\{\}", put_in, pattern)


def with_article(tag: str, kind: str = "object") -> str:
    """ "a dog", "an umbrella", "scissors", "water", "riding a bike", "red"."""
    if kind in ("action", "attribute") or is_plural(tag, kind) or _is_mass(tag) or _has_determiner(tag):
        return tag
    return f"{'an' if _starts_with_vowel_sound(tag) else 'a'} {tag}"


def gerund_phrase(action: str) -> str:
    """ "ride a bike" → "riding a bike", "tennis" → "playing tennis"; "riding a bike" and "ice skating" stay."""
    first, _, rest = action.partition(" ")
    last = action.rpartition(" ")[2].lower()
    if last in _PLAYED and (not rest or first.lower() in ("table", "water", "ice", "ping", "beach", "air")):
        return f"playing {action}"
    if action.lower() in _DONE:
        return f"doing {action}"
    if action.lower() in _DONE_ONCE:
        return f"doing a {action}"
    if not first or last in _GERUNDS:
        return action
    return f"{_gerund(first)} {rest}".strip()


def is_plural(tag: str, kind: str = "object") -> bool:
    """Whether a tag takes "are": judged by the head noun's ending and a list of the exceptions."""
    if kind in ("action", "attribute"):
        return False
    head = head_of(tag).lower()
    if head in _PLURAL_ONLY:
        return True
    return len(head) > 3 and head.endswith("s") and not head.endswith(("ss", "us", "is")) and head not in _SINGULAR_S


def head_of(tag: str) -> str:
    """The noun that a tag is about: the last word, or the one before "of"/"with"/"in"/"on" ("slice of pizza")."""
    words = tag.split()
    for index, word in enumerate(words):
        if index and word in ("of", "with", "in", "on", "for", "at"):
            return words[index - 1]
    return words[-1] if words else ""


def read_prompts(path: Path) -> tuple[str, ...]:
    """Own prompts, one a line, `{}` where the tag goes; blank lines and lines that begin with # are passed over.

    Raises:
        InputError: no such file, a line without `{}`, or no prompt at all.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.", cure="Check the path given to --prompts.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}).", cure="Give a UTF-8 text file.") from None
    prompts = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if "{}" not in text:
            raise InputError(
                f"{path}, line {number}: no {{}} in {text!r}.", cure="Write {} where the tag goes, one prompt a line."
            )
        prompts.append(text)
    if not prompts:
        raise InputError(f"{path}: holds no prompt.", cure="Write one prompt a line, {} where the tag goes.")
    return tuple(prompts)


def context_of(tag: str, kind: str, gloss: str) -> str:
    """What tells an LLM which sense is meant ("crane", "bat"); empty where there is nothing to tell."""
    if gloss:
        return f'Here "{tag}" means: {gloss.rstrip(".")}.'
    if kind in ("attribute", "action", "scene"):
        name = gerund_phrase(tag) if kind == "action" else tag
        said = {"attribute": "a visual attribute of things", "action": "an action", "scene": "a place or scene"}[kind]
        return f'Here "{name}" names {said} as seen in photos.'
    return ""


def listed(words: Sequence[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def _is_mass(tag: str) -> bool:
    return head_of(tag).lower() in _MASS


def _has_determiner(tag: str) -> bool:
    return tag.lower().startswith(("a ", "an ", "the ", "some ", "two ", "three ", "several ", "many "))


def _starts_with_vowel_sound(text: str) -> bool:
    word = text.lower().lstrip("\"'(")
    if word.startswith(_SILENT_H):
        return True
    first = re.split(r"[\s-]", text, maxsplit=1)[0]
    if first.isupper() and (len(first) > 1 or text != first):  # letters spelled out: an SUV, a TV, an X-ray
        return first[0] in "AEFHILMNORSX"
    if _SPELLED_OUT.match(word) or _NUMBER_WITH_VOWEL.match(word):
        return True
    return word[:1] in tuple("aeiou") and _SOUNDS_LIKE_CONSONANT.match(word) is None


def is_english(prompt: str) -> bool:
    """Whether a prompt is English, by its small words: lists of English words must not judge answers in another."""
    return re.search(r"\b(what|the|looks?|how|appearance|concisely|briefly|visual)\b", prompt.lower()) is not None


def _is_gerund(word: str) -> bool:
    """Whether a word in small letters has an ending -ing after a syllable of its own, as "spring" has not."""
    return re.search(r"[aeiouy]\w*ing$", word) is not None


def _gerund(verb: str) -> str:
    """The -ing form of an English verb."""
    lower = verb.lower()
    if _is_gerund(lower):
        return verb
    if lower in ("be", "see", "flee"):
        return f"{verb}ing"
    if lower.endswith("ic"):
        return f"{verb}king"
    if lower.endswith("ie"):
        return f"{verb[:-2]}ying"
    if lower.endswith("e") and not lower.endswith(("ee", "oe", "ye")):
        return f"{verb[:-1]}ing"
    one_syllable = re.fullmatch(r"(qu|[^aeiou])*[aeiou][bdgklmnprtz]", lower)
    if one_syllable or re.search(r"(run|put|set|begin|forget|swim|cut|spin|nap|trot)$|^(baby|house)?sit$", lower):
        return f"{verb}{verb[-1]}ing"
    return f"{verb}ing"
