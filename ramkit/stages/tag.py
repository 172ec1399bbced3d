"""photos + model → tags: the model's own vocabulary, and any words a person types."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ramkit.embeddings import Embedded
from ramkit.errors import InputError
from ramkit.features import read_batches
from ramkit.photos import find_photos
from ramkit.progress import Track, silent
from ramkit.tagger import Tagger
from ramkit.thresholds import NEVER, chances, relative

Scale = Literal["raw", "relative", "chance"]
_BATCH = 4  # photos decoded and scored together: more are hardly faster and take more memory


@dataclass(frozen=True)
class TagScore:
    """A tag with its score, σ(logit) or what the scale makes of it."""

    tag: str
    score: float
    open_set: bool = False  # a word that was typed
    unsure: bool = False  # below the threshold


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

    Raises:
        InputError: a name that leads to no photo, a threshold outside [0, 1], or chances of a model that has none.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"--threshold {threshold} is no score.", cure="Give a number from 0 to 1.")
    references = find_photos(photos, keep_missing=True)
    questions = _Questions(tagger, open_set, descriptions or {}, scale)
    limits = _Limits(threshold, top_k, 0) if threshold is not None else _Limits(None, top_k, at_least, True)
    done = 0
    found = read_batches(references, lambda photo, _: tagger.preprocess(photo), size=_BATCH)
    for positions, pixels, unreadable in track(found, total=-(-len(references) // _BATCH), what="tagging"):
        rows = iter(questions.scores(tagger.features(pixels))) if pixels is not None else iter(())
        for position in range(done, done + len(positions) + len(unreadable)):
            if position in unreadable:
                yield TaggedPhoto(references[position], error=unreadable[position])
            else:
                yield TaggedPhoto(references[position], questions.told(next(rows), limits))
        done += len(positions) + len(unreadable)


def read_words(given: Sequence[str]) -> list[str]:
    """Words of `--open-set` values: comma-separated, or `@FILE` with one a line; each once, in order.

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
    return list(dict.fromkeys(words))


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
    """Everything that is asked of each photo: the vocabulary, then the typed words that it lacks, K tags in all.

    A typed word that is a tag, or an alias of one, is asked with that tag's descriptions, under the name typed, unless
    it came with its own.
    """

    def __init__(
        self, tagger: Tagger, open_set: Sequence[str], descriptions: Mapping[str, Sequence[str]], scale: Scale
    ) -> None:
        self._tagger = tagger
        texts = {word.lower(): own for word, own in descriptions.items()}
        self._typed: dict[int, str] = {}
        new = []
        for word in open_set:
            number = tagger.numbers.get(word.lower()) if word.lower() not in texts else None
            if number is None or number in self._typed:
                new.append(word)
            else:
                self._typed[number] = word
        self._typed.update(enumerate(new, start=len(tagger.tags)))
        self._names = [*tagger.tags, *new]
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
            score, typed = float(scores[number]), number in self._typed
            if limits.threshold is None:
                fits = self._thresholds[number] <= score and not self._never[number]
            else:
                fits = limits.threshold <= score and limits.threshold < NEVER
            if (fits or limits.all_typed) if typed else limits.admit(fits, own):
                told.append(TagScore(self._typed.get(number, self._names[number]), score, typed, not fits))
                own += not typed
        return told


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
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not readable as a list of words ({error}).", cure="One word or phrase a line."
        ) from None
