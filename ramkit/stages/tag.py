"""photos + model → tags: the model's own vocabulary, and any words a person types."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from ramkit.cascade import Cascade, Finding, Refined, Seen
from ramkit.embeddings import Embedded
from ramkit.errors import InputError
from ramkit.features import read_batches
from ramkit.measuring.thresholds import NEVER, chances, relative
from ramkit.photos import find_photos
from ramkit.progress import Track, silent
from ramkit.tagger import Tagger

Scale = Literal["raw", "relative", "chance"]
_BATCH = 4  # photos decoded and scored together: more are hardly faster and take more memory


@dataclass(frozen=True)
class TagScore:
    """A tag with its score, σ(logit) or what the scale makes of it."""

    tag: str
    score: float
    open_set: bool = False  # a word that was typed
    unsure: bool = False  # below the threshold
    refined: Refined | None = None  # which kind of it, where a fine model was asked


@dataclass(frozen=True)
class TaggedPhoto:
    """The tags of one photo, best first; or the reason why it has none."""

    image: str
    tags: list[TagScore] = field(default_factory=list)
    error: str = ""


def tag(
    *,
    photos: Sequence[str | Path],
    tagger: Tagger,
    open_set: Sequence[str] = (),
    descriptions: Mapping[str, Sequence[str]] | None = None,
    threshold: float | None = None,
    top_k: int = 20,
    at_least: int = 5,
    scale: Scale = "raw",
    cascade: Cascade | None = None,
    track: Track = silent,
) -> Iterator[TaggedPhoto]:
    """Tags of every photo that the arguments name, one after another.

    Args:
        photos: files, folders, `.tar` shards.
        open_set: words and phrases to score beside the vocabulary; they are told whatever their score, unless a
            threshold is given.
        descriptions: texts of words of `open_set`; a word without any is asked by the template.
        threshold: least score, without exception; None takes the model's own, with the exceptions named here.
        top_k: most tags of the vocabulary for a photo; 0 for all.
        at_least: tags of the vocabulary that a photo gets whatever their scores, unless a threshold is given.
        scale: what scores are told, and compared with a given threshold: `raw` σ(logit); `relative` to each tag's own
            threshold, which is at 0.5; `chance` that the tag is true, as a calibrated model knows it.
        cascade: fine models for words, which are scored beside the vocabulary too. Where a word's score reaches the
            threshold, or the least one that came with the word, it is told, top_k or not, and refined.

    Raises:
        InputError: a name that leads to no photo, a threshold outside [0, 1], or chances of a model that has none.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"--threshold {threshold} is no score.", cure="Give a number from 0 to 1.")
    references = find_photos(photos, as_typed=True)
    refined = {word: cascade.least.get(word) for word in cascade.words} if cascade else {}
    questions = _Questions(tagger, open_set, descriptions or {}, scale, refined)
    limits = _Limits(threshold, top_k, 0) if threshold is not None else _Limits(None, top_k, at_least, True)
    seen = _look(references, tagger, questions, limits, track)
    if cascade is None:
        yield from (entry.photo for entry in seen)
        return
    for photo, answers in cascade.refine(seen):
        told = [replace(entry, refined=answers.get(questions.word_of(entry))) for entry in photo.tags]
        yield replace(photo, tags=told)


def _look(
    references: Sequence[str], tagger: Tagger, questions: "_Questions", limits: "_Limits", track: Track
) -> Iterator[Seen[TaggedPhoto]]:
    """Every photo with its tags and with the words found in it that a cascade asks for."""
    images: dict[int, Image.Image] = {}  # of the batch, so that what is refined is not decoded again

    def prepare(photo: Image.Image, position: int) -> torch.Tensor:
        if questions.refined:
            images[position] = photo
        return tagger.preprocess(photo)

    done = 0
    batches = read_batches(references, prepare, size=_BATCH)
    for positions, pixels, unreadable in track(batches, total=-(-len(references) // _BATCH), what="tagging"):
        features = tagger.features(pixels) if pixels is not None else None
        rows = iter(zip(features, questions.scores(features), strict=True)) if features is not None else iter(())
        for position in range(done, done + len(positions) + len(unreadable)):
            if position in unreadable:
                yield Seen(TaggedPhoto(references[position], error=unreadable[position]))
                continue
            own, scores = next(rows)
            photo = TaggedPhoto(references[position], questions.told(scores, limits))
            findings = questions.findings(scores, limits)
            found = any(finding.found for finding in findings.values())
            yield Seen(photo, findings, images[position], own) if found else Seen(photo, findings)
        images.clear()
        done += len(positions) + len(unreadable)


def read_words(given: Sequence[str]) -> list[str]:
    """Words of `--open-set` values: comma-separated, or `@FILE` with one a line; each once, in any case, in order.

    Raises:
        InputError: a file that cannot be read, or no word at all in a value.
    """
    words: list[str] = []
    for value in given:
        parts = _lines_of(value[1:]) if value.startswith("@") else value.split(",")
        own = [" ".join(part.split()) for part in parts]
        if not any(own):
            raise InputError(f"--open-set {value!r} holds no word.", cure='Give words, as in --open-set "corgi, sled".')
        words.extend(word for word in own if word)
    once: dict[str, str] = {}
    for word in words:
        once.setdefault(word.lower(), word)
    return list(once.values())


@dataclass(frozen=True)
class _Limits:
    """Which tags of a photo are told."""

    threshold: float | None  # None: the model's own
    top_k: int
    at_least: int
    all_typed: bool = False

    def admit(self, fits: bool, before: int) -> bool:
        """Whether a tag of the vocabulary is told, after `before` others."""
        return (fits or before < self.at_least) and (before < self.top_k or self.top_k == 0)


class _Questions:
    """Everything that is asked of each photo: the vocabulary, then the words that it lacks, K tags in all.

    A typed word that is a tag, or an alias of one, is asked with that tag's descriptions, under the name typed, unless
    it came with its own.

    Args:
        open_set: words that are told whatever their score.
        refined: words that are refined where they are found, each with the score from which on it is; None leaves that
            to its threshold.
    """

    def __init__(
        self,
        tagger: Tagger,
        open_set: Sequence[str],
        descriptions: Mapping[str, Sequence[str]],
        scale: Scale,
        refined: Mapping[str, float | None],
    ) -> None:
        self._tagger = tagger
        texts = {word.lower(): own for word, own in descriptions.items()}
        self._names = list(tagger.tags)
        self._typed: set[int] = set()
        for word in open_set:
            number = tagger.numbers.get(word.lower()) if word.lower() not in texts else None
            if number is None or number in self._typed:
                self._typed.add(len(self._names))
                self._names.append(word)
            else:
                self._typed.add(number)
                self._names[number] = word
        self.refined: dict[int, str] = {}
        for word in refined:
            self._refine(word)
        self._least = refined
        new = self._names[len(tagger.tags) :]
        self._new = tagger.describe(new, texts) if new else None
        # A word with descriptions is asked as a tag is; by the template alone logits are lower.
        described = [bool(texts.get(word.lower())) for word in new]
        limits = [tagger.threshold if flag else tagger.open_set_threshold for flag in described]
        own = [*tagger.thresholds, *limits]
        self._scaled = _scaling(tagger, scale, own, described)
        self._thresholds = self._scaled(torch.tensor(own, dtype=torch.float64)).tolist()
        self._never = [threshold >= NEVER for threshold in own]

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        """Scores [B, K] of features [B, T, V] on the scale that is told."""
        asked: list[Embedded] = [self._tagger.vocabulary, *([self._new] if self._new else [])]
        return self._scaled(self._tagger.scores(features, asked))

    def told(self, scores: torch.Tensor, limits: _Limits) -> list[TagScore]:
        """What is told of one photo's scores [K], best first."""
        told: list[TagScore] = []
        own = 0
        for number in scores.argsort(descending=True).tolist():
            score, typed = float(scores[number]), self._is_typed(number)
            found = number in self.refined and self._found(number, score, limits)
            fits = found or self._fits(number, score, limits)
            if found:
                admitted = True
            elif typed:
                admitted = fits or (limits.all_typed and number in self._typed)
            else:
                admitted = limits.admit(fits, own)
            if admitted:
                told.append(TagScore(self._names[number], score, typed, not fits))
                own += not typed
        return told

    def findings(self, scores: torch.Tensor, limits: _Limits) -> dict[str, Finding]:
        """What one photo's scores [K] say of each word to refine."""
        told = {}
        for number, word in self.refined.items():
            score = float(scores[number])
            least = next(
                limit for limit in (self._least[word], limits.threshold, self._thresholds[number]) if limit is not None
            )
            told[word] = Finding(score, least, self._found(number, score, limits))
        return told

    def word_of(self, told: TagScore) -> str:
        """The word that asks to refine what was told; empty for none. A word with texts of its own may be named as a
        tag is."""
        name = (told.tag, told.open_set)
        return next((word for at, word in self.refined.items() if (self._names[at], self._is_typed(at)) == name), "")

    def _refine(self, word: str) -> None:
        """Take a word to refine: as it was typed, else as the tag of that name or alias, else as one word more."""
        number = self._tagger.numbers.get(word.lower())
        new = self._names[len(self._tagger.tags) :]
        if word in new or number is None:
            if word not in new:
                self._names.append(word)
            number = self._names.index(word, len(self._tagger.tags))
        if number in self.refined:
            raise InputError(
                f"--refine names {self.refined[number]!r} and {word!r}, which are one tag.", cure="Name one of them."
            )
        self.refined[number] = word

    def _found(self, number: int, score: float, limits: _Limits) -> bool:
        """Whether a word to refine counts as found."""
        least = self._least[self.refined[number]]
        return self._fits(number, score, limits) if least is None else least <= score

    def _fits(self, number: int, score: float, limits: _Limits) -> bool:
        """Whether a score reaches the least one, which no score reaches at NEVER."""
        if limits.threshold is None:
            return self._thresholds[number] <= score and not self._never[number]
        return limits.threshold <= score and limits.threshold < NEVER

    def _is_typed(self, number: int) -> bool:
        return number in self._typed or number >= len(self._tagger.tags)


def _scaling(
    tagger: Tagger, scale: Scale, thresholds: Sequence[float], described: Sequence[bool]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """What makes scores [..., K] of σ(logit); the last of the K are words that are no tags, `described` or not."""
    if scale == "relative":
        least = np.array(thresholds)
        return lambda scores: torch.from_numpy(relative(scores.numpy(), least))
    if scale == "chance":
        if tagger.calibrations is None or tagger.open_set_calibration is None:
            raise InputError(
                f"{tagger.source.name} is not calibrated: it knows no chances.", cure="Calibrate it: ramkit calibrate"
            )
        typed = [tagger.calibration if flag else tagger.open_set_calibration for flag in described]
        lines = np.array([*tagger.calibrations, *typed])
        return lambda scores: torch.from_numpy(chances(scores.numpy(), lines[:, 0], lines[:, 1]))
    return lambda scores: scores


def _lines_of(path: str) -> list[str]:
    if not path:
        raise InputError("--open-set @ names no file.", cure="Give it as in --open-set @words.txt")
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InputError(
            f"{path}: not readable as a list of words ({reason}).", cure="One word or phrase a line."
        ) from None
