"""Which of an LLM's answers are worth embedding, and what of them.

An answer is mended where it can be (list marks, thoughts, talk before and after, an echoed prompt removed, trimmed at a
sentence's end, shortened to what CLIP reads) and refused where it cannot: empty, a refusal, cut before its first
sentence ends, an echo and nothing else, a repeat of another answer, or about anything but looks. What is refused is
asked for again.
"""

import re
import unicodedata
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

Fault = Literal["empty", "refusal", "cut", "echo", "repeat", "too long", "not visual", ""]
Mend = Literal["trimmed", "list", "echo removed", "preamble removed", "closing removed", "shortened"]

FAULTS: tuple[Fault, ...] = ("empty", "refusal", "cut", "echo", "repeat", "too long", "not visual")
_REFUSED_WITHIN = 300  # characters: a refusal comes first, and the search is dear
LONGEST = 4000  # characters looked at; a server gone wild may send megabytes
_REFUSAL = re.compile(
    r"\bas an? (\w+ )?(ai|artificial|language model|large language)\b|\bi('m| am) (just )?an? (ai|language model)"
    r"|\bi('m| am) (really |very |so )?sorry\b|\bi (apologi[sz]e|can(no|')t|am unable|'m unable|do not have|don't have"
    r"|am not able|won't|will not)\b|\bmy apologies\b"
    r"|\bcannot (assist|provide|fulfil|help) (with|you|a|an|any|this|that)\b|\bthere is no such\b"
    r"|^(sorry|unfortunately)\b|\bi('m| am) not familiar with\b|\bwithout (more|further|additional) (context|info)"
    r"|\bcould you (please )?(provide|clarify|specify)\b"
    r"|\bals (ki|sprachmodell)|\ben tant qu'(ia|intelligence|modèle)|\bcomo (una? )?(ia|modelo de l)"
    r"|^(es tut mir leid|(je suis )?désolé|lo siento|mi dispiace|desculpe|sinto muito)\b"
    r"|^(很?抱歉|对不起|申し訳|죄송)|作为(一个|一名)?(ai|人工智能|语言模型)",
    re.IGNORECASE,
)
# One of which every refusal has.
_REFUSAL_WORD = re.compile(
    r"\b(?:i|as|als|en|my|there|cannot|sorry|unfortunately|without|could|como|tut|désolé|siento|mi|desculpe|sinto)\b"
    r"|抱歉|对不起|申し訳|죄송|作为"
)
_PREAMBLE = re.compile(
    r"^(sure|certainly|of course|absolutely|okay|ok|great question|here('s| is| are)|below (is|are)|answer|description"
    r"|assistant|response)\b[^.!?\n]{0,80}?[:!]\s*",
    re.IGNORECASE,
)
# What is said to the asker after the description.
_CLOSING = re.compile(
    r"(?:(?<=[.!?])\s+|\n\s*)(?:i hope (?:this|that)\b|let me know|feel free|would you like|is there anything"
    r"|if you (?:need|have|want|would|'d)|(?:please )?note(?: that\b|:)).*",
    re.IGNORECASE | re.DOTALL,
)
_TURN = re.compile(
    r"(?:^|\n)\s*(?:user|human|question|q|###\s*(?:user|instruction|human))\s*:.*", re.IGNORECASE | re.DOTALL
)
_THOUGHT = re.compile(r"^.*?</think>|<think>.*", re.DOTALL)  # of models that reason aloud
_LINE_END = re.compile(r"(?<=\w)[ \t]*\n\s*(?=[A-Z])")  # where a line ends without a mark
_LIST_MARK = re.compile(r"^\s*(?:[-*\u2022\u2013+]|\(?\d{1,2}[.)]|[a-h]\))\s+", re.MULTILINE)
_MARKDOWN = re.compile(r"\*\*|__|```\w*\n|`+|^\s{0,3}#{1,6}\s+|^\s*>\s+", re.MULTILINE)
# Control, invisible, private and lone surrogate characters: never text, and some end a terminal's or a file's sanity.
_CONTROLS = re.compile(
    "[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ud800-\\udfff\\ue000-\\uf8ff]"
)
_NO_WORD = re.compile(r"[\W_]+")
_SPECIAL = re.compile(r"<\|[^|>]{1,30}\|>|</?(s|answer)>|\[/?INST\]")
# A sentence's end: its mark, closing quotes, then a blank or the end; not after single letters or "e.g.".
_END = re.compile(
    r"(?<![ (]\w)(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\betc)[.!?][\"')\]\u201d\u2019]*(?=\s|$)"
    r"|[\u3002\uff01\uff1f][\"')\]\u300d\u300f\u201d\u2019]*"
)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Words of looks: shape, size, colour, matter, parts, place, light. One is enough; of some the beginning is.
_VISUAL = frozenset(
    _words(
        "aerial antenna antennae apron arm arms back background baked bark beak beard bed beds beige bell belly bench "
        "bent big black blunt body boots bottom bow brick bridge brim broad building buildings bushy button buttons "
        "cabinet cabinets cap carpet ceramic chair chairs characterised characterized cheek cheeks chest chin chubby "
        "circular claw claws clear closed cloth coat compact concrete couch counter covered crisp crossed crowd crown "
        "curly curtain curtains cushion cushions desk desks distinctive dress dressed drizzled ear ears elbow elbows "
        "elevated engine engines eye eyes fabric face feet fin finger fingers fins flat floor flower flowers fluffy "
        "folded foliage foot form fried fringe front fur furry fuzzy garment glass gloves grass grilled groove "
        "grooves ground hair hairy hand handheld hands hard hat hats head heavy held helmet helmets high hill hills "
        "hollow hoof hooked hooves horizontal horn horns huge jacket knee knees knitted knob ladder lamp lamps large "
        "leaf leather leaves leg legs lens lever line lines lips look looking looks low made mane massive mast mat "
        "matte mountain mountains mouth muscular narrow neck nose oblong opaque open orange oval pale pants paper "
        "paved paw paws pile pillow pillows pink plastic pocket pockets pointed pole purple rails raised refrigerator "
        "ribs ridge ridges river rough row rows rug rugged rusty sail sails sand seat seats see seen sharp shelf "
        "shell shelves shirt shirts shoes shoulder shoulders side sides similar sink skin skirt sky sleeve sleeves "
        "slender sliced slim small smooth snout snow sofa soft spike spikes spine spiral square stacked standing "
        "stone stool stove straight strap straps strings table tables tall tan tassel teeth television thick thin tie "
        "tiny toe toes tongue tooth toothed top topped topping tower transparent tree trees trousers trunk tube tusk "
        "tusks uniform uniforms vertical visor water waves wavy whiskers wide worn woven wrapped wrinkled"
    )
)
_VISUAL_BEGINNINGS = _words(
    "appear blue branch bright brown centimet color colour consist corner curv cylind dark decorat design detail "
    "door dot edge feather feature figure frame gloss gold gray green grey handle hold inch indoor landscape "
    "layer light long metal meter outdoor panel pattern petal piece rectang red resembl roof round scale scene "
    "shap shin short silver sit siz spot stand stem stripe structure surface tail textur triang view visib "
    "visual wall wear wheel white window wing wood yellow"
)


@dataclass(frozen=True)
class Verdict:
    """What became of an answer: the text to keep, or the fault for which it is asked again."""

    text: str
    fault: Fault = ""
    mended: tuple[Mend, ...] = ()
    print: int = 0  # the text's fingerprint

    @property
    def good(self) -> bool:
        return not self.fault


def judge(
    answer: str,
    *,
    prompt: str = "",
    cut: bool = False,
    seen: Collection[int] = (),
    count: Callable[[str], int] | None = None,
    longest: int = 77,
    english: bool = True,
) -> Verdict:
    """Mend an answer or say what is wrong with it.

    Args:
        answer: as the server sent it.
        prompt: what was asked, to recognise an echo.
        cut: the server says that it ran into the token limit.
        seen: fingerprints of the tag's other answers.
        count: counts tokens; no limit when None.
        longest: most tokens.
        english: whether the list of visual words applies.
    """
    if "think>" in answer:
        answer = _THOUGHT.sub("", answer).lstrip()
    if is_refusal(answer[:_REFUSED_WITHIN]):
        return Verdict("", "refusal")
    cut = cut or len(answer) > LONGEST
    text, mended = _plain(answer[:LONGEST], prompt, cut)
    if not text:
        return Verdict("", "echo" if "echo removed" in mended else "empty")
    if text.endswith("?") and all(sentence.endswith("?") for sentence in sentences_of(text)):
        return Verdict("", "echo")  # asks back, or asks on
    text, ended = _to_sentence_end(text, cut=cut)
    if not text:
        return Verdict("", "cut")
    if ended:
        mended = (*mended, "trimmed")
    if count is not None and count(text) > longest:
        text, mended = _shortened(text, count, longest), (*mended, "shortened")
        if not text:
            return Verdict("", "too long")
    if english and not is_visual(text):
        return Verdict(text, "not visual")
    mark = fingerprint(text)
    if mark in seen:
        return Verdict(text, "repeat")
    return Verdict(text, "", mended, mark)


def is_refusal(text: str) -> bool:
    """Whether a text says that it will not describe; most lack every word that such a text has."""
    return _REFUSAL_WORD.search(text.lower()) is not None and _REFUSAL.search(text) is not None


def is_visual(text: str) -> bool:
    """Whether an English text has a word that tells of looks."""
    return any(word in _VISUAL or word.startswith(_VISUAL_BEGINNINGS) for word in re.findall(r"[a-z]+", text.lower()))


def fingerprint(text: str) -> int:
    """Equal for texts that differ in case, punctuation and blanks alone; the same in every process."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    bare = _NO_WORD.sub(" ", plain.lower()).strip().encode()
    return zlib.crc32(bare) << 32 | zlib.adler32(bare)


def sentences_of(text: str) -> list[str]:
    """A text cut at its sentences' ends; what follows the last end is left out."""
    ends = [match.end() for match in _END.finditer(text)]
    return [text[start:end].strip() for start, end in zip([0, *ends], ends, strict=False)]


def _plain(answer: str, prompt: str, cut: bool) -> tuple[str, tuple[Mend, ...]]:
    """One line of running text, and what was removed for it."""
    mended: list[Mend] = []
    text = _SPECIAL.sub(" ", _CONTROLS.sub(" ", answer)).strip()
    if prompt and (rest := _without_echo(text, prompt)) is not None:
        text = rest
        mended.append("echo removed")
    text = _MARKDOWN.sub("", _TURN.sub("", text))
    stripped = _PREAMBLE.sub("", _PREAMBLE.sub("", text, count=1), count=1)
    if stripped != text:
        mended.append("preamble removed")
    text = _CLOSING.sub("", stripped)
    if text != stripped:
        mended.append("closing removed")
    if len(_LIST_MARK.findall(text)) > 1 or _LIST_MARK.match(text):
        text = _in_sentences(_LIST_MARK.split(text), cut)
        mended.append("list")
    elif len(lines := _LINE_END.split(text)) > 1:
        text = _in_sentences(lines, cut)
    text = " ".join(text.split())
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return text if re.search(r"\w", text) else "", tuple(mended)


def _without_echo(text: str, prompt: str) -> str | None:
    """The text after the prompt that it begins with; None where it begins otherwise."""
    bare = prompt.rstrip(" .?!:")
    head = text.lstrip("\"'* ")
    if not bare or not head.lower().startswith(bare.lower()):
        return None
    return head[len(bare) :].lstrip(" .?!:\"'*\n")


def _in_sentences(items: Sequence[str], cut: bool) -> str:
    """A list's items, or lines, as sentences in one paragraph; the last one stays without an end where it was cut."""
    found = [" ".join(item.split()) for item in items if item.strip()]
    ended = [item if item[-1] in ".!?:" else f"{item}." for item in found]
    return " ".join([*ended[:-1], *(found if cut else ended)[-1:]])


def _to_sentence_end(text: str, *, cut: bool) -> tuple[str, bool]:
    """The text up to its last whole sentence and whether anything fell away; empty where none is whole.

    A short answer without any mark ("a small brown dog with long ears") is whole unless the server says it was cut.
    """
    ends = [match.end() for match in _END.finditer(text)]
    if ends and ends[-1] == len(text):
        return text, False
    if ends:
        return text[: ends[-1]].rstrip(), True
    if cut or len(text.split()) < 3:
        return "", False
    return f"{text.rstrip(' ,;:-')}.", False


def _shortened(text: str, count: Callable[[str], int], longest: int) -> str:
    """As many whole sentences as fit."""
    kept = ""
    for sentence in sentences_of(text):
        longer = f"{kept} {sentence}".strip()
        if count(longer) > longest:
            return kept or _first_clauses(sentence, count, longest)
        kept = longer
    return kept


def _first_clauses(sentence: str, count: Callable[[str], int], longest: int) -> str:
    """The beginning of one endless sentence, ended at a comma or semicolon; empty where that leaves too little."""
    for match in reversed(list(re.finditer(r"[,;:](?=\s)", sentence))):
        text = f"{sentence[: match.start()]}."
        if count(text) <= longest:
            return text if len(text.split()) > 5 else ""
    return ""
