"""From "dog" to "Pembroke Welsh corgi": fine models for photos in which tagging found their super-category.

A photo waits until enough others do, so that fine models run in batches; photos come out in the order they went in.
Nothing is computed twice: a photo is decoded once, a fine model that several words ask for answers once, and one whose
image encoder is the tagging model's own, weights and preprocessing, reads the features that are there already.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import torch
from PIL import Image

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.errors import InputError
from ramkit.fgvc.classifier import KIND, Classifier, KindScore
from ramkit.tagger import Tagger

_BATCH = 8  # photos that a fine model sees together
_WAIT = 64  # most photos that wait, so that output does not stop where finds are rare
_TOLD = 3  # kinds of an answer

Photo = TypeVar("Photo")


@dataclass(frozen=True)
class Refined:
    """A fine model's answer for one photo: its best kinds, the best first."""

    model: str  # "fine:v2"
    kinds: tuple[KindScore, ...]
    sure: bool = True  # whether the best one is told

    @property
    def best(self) -> KindScore:
        return self.kinds[0]


@dataclass(frozen=True)
class Finding:
    """What tagging says of a word in a photo: its score, the least one that counts as found, and whether it is."""

    score: float
    least: float
    found: bool


@dataclass(frozen=True)
class Seen(Generic[Photo]):
    """A photo that was tagged, and what was found of the words with a fine model; nothing, if it could not be read."""

    photo: Photo
    findings: Mapping[str, Finding] = field(default_factory=dict)
    image: Image.Image | None = None  # where any word was found
    features: torch.Tensor | None = None  # of the tagging model [T, V], likewise

    @property
    def words(self) -> list[str]:
        """Those that were found."""
        return [word for word, finding in self.findings.items() if finding.found]


@dataclass
class Tally:
    """Of a word: photos looked at, those it was found in, those whose kind was told; its best score, and the least that
    counts."""

    photos: int = 0
    found: int = 0
    told: int = 0
    best: float = 0.0
    least: float = 0.0

    def add(self, finding: Finding, told: bool) -> None:
        self.photos += 1
        self.found += finding.found
        self.told += told
        self.best, self.least = max(self.best, finding.score), finding.least


@dataclass
class _Waiting(Generic[Photo]):
    seen: Seen[Photo]
    inputs: dict[str, torch.Tensor]  # name of a fine model → what it reads of the photo
    answers: dict[str, Refined] = field(default_factory=dict)


class Cascade:
    """Fine models by the words that ask for them.

    Args:
        sources: word → fine artefact.
        confidence: least probability of an answer; where it is less, the photo stays with the super-category.
        least: word → score from which on it counts as found, where that is not left to the tagging model.
    """

    def __init__(
        self,
        tagger: Tagger,
        sources: Mapping[str, Artifact],
        confidence: float,
        least: Mapping[str, float] | None = None,
    ) -> None:
        if not 0 <= confidence <= 1:
            raise InputError(f"--refine-confidence {confidence} is no score.", cure="Give a number from 0 to 1.")
        self.confidence = confidence
        self.least = dict(least or {})
        self.tallies = {word: Tally() for word in sources}
        self._tagger = tagger
        self._model_of = {word: source.name for word, source in sources.items()}
        distinct = {source.name: source for source in sources.values()}
        self._models = {name: _FineModel(source, tagger) for name, source in distinct.items()}

    @property
    def words(self) -> list[str]:
        return list(self._model_of)

    def model_of(self, word: str) -> str:
        """The name of the fine model that a word asks."""
        return self._model_of[word]

    @property
    def other_supercategories(self) -> dict[str, str]:
        """Word → what its fine model tells kinds of, where tagging knows that as something else."""

        def meant(name: str) -> int | str:
            return self._tagger.numbers.get(name.lower(), name.lower())

        kinds_of = {word: self._models[name].supercategory for word, name in self._model_of.items()}
        return {word: name for word, name in kinds_of.items() if name and meant(name) != meant(word)}

    def refine(self, photos: Iterable[Seen[Photo]]) -> Iterator[tuple[Photo, dict[str, Refined]]]:
        """Every photo, in order, with word → answer for each word that was found in it."""
        waiting: list[_Waiting[Photo]] = []
        for seen in photos:
            asked = dict.fromkeys(self._model_of[word] for word in seen.words)
            waiting.append(_Waiting(seen, {name: self._models[name].read(seen) for name in asked}))
            if self._due(waiting):
                yield from self._answered(waiting)
                waiting = []
        yield from self._answered(waiting)

    def _due(self, waiting: Sequence[_Waiting[Photo]]) -> bool:
        """Whether a batch is full, or nobody waits for anything, or the first has waited long enough."""
        counts = [sum(name in entry.inputs for entry in waiting) for name in self._models]
        return max(counts) in (0, _BATCH) or len(waiting) == _WAIT

    def _answered(self, waiting: Sequence[_Waiting[Photo]]) -> Iterator[tuple[Photo, dict[str, Refined]]]:
        for name, model in self._models.items():
            asked = [entry for entry in waiting if name in entry.inputs]
            if asked:
                answers = model.answers(torch.stack([entry.inputs[name] for entry in asked]))
                for entry, answer in zip(asked, answers, strict=True):
                    entry.answers[name] = replace(answer, sure=answer.best.score >= self.confidence)
        for entry in waiting:
            answers_of = {word: entry.answers[self._model_of[word]] for word in entry.seen.words}
            for word, finding in entry.seen.findings.items():
                self.tallies[word].add(finding, word in answers_of and answers_of[word].sure)
            yield entry.seen.photo, answers_of


class _FineModel:
    """A fine model, and how it reads a photo beside a tagging model."""

    def __init__(self, source: Artifact, tagger: Tagger) -> None:
        self._name, self._tagger = source.name, tagger
        self._classifier = Classifier(source)

    @property
    def supercategory(self) -> str:
        return self._classifier.supercategory

    @cached_property
    def _shares(self) -> bool:
        """Whether the tagging model's features are those that its own image encoder would give."""
        return self._classifier.shares_encoder(self._tagger.encoder_identity, self._tagger.preprocess)

    def read(self, seen: Seen[Photo]) -> torch.Tensor:
        """What it needs of a photo: features [T, V] where the encoder is shared, else pixels [3, S, S]."""
        assert seen.image is not None
        assert seen.features is not None
        return seen.features.clone() if self._shares else self._classifier.prepare(seen.image)

    def answers(self, inputs: torch.Tensor) -> list[Refined]:
        """Of what was read of B photos."""
        model = self._classifier
        features = model.features_of_map(inputs) if self._shares else model.features(inputs)
        scores = model.predict_features(features).tolist()
        return [Refined(self._name, tuple(model.ranked(row, _TOLD))) for row in scores]


def open_cascade(tagger: Tagger, root: Path, values: Sequence[str], confidence: float) -> Cascade | None:
    """The cascade of `--refine` values such as `dog=fine:v2` or `dog=fine:v2@0.3`; None for no value.

    Args:
        root: artefact root in which versions are looked up.

    Raises:
        InputError: a value of another form, a word that comes twice, or a confidence outside [0, 1].
        ArtifactError: a model that is not there, is no fine model, or was changed.
    """
    found: dict[str, Artifact] = {}
    least: dict[str, float] = {}
    for value in values:
        word, _, which = value.partition("=")
        word, which = " ".join(word.split()), which.strip()
        if "@" in which and not os.path.exists(which):
            which, _, score = which.rpartition("@")
            least[word] = _score(value, score)
        if not word or not which:
            raise InputError(
                f"--refine {value!r} does not name a word and a model.", cure="Give them as in --refine dog=fine:v2"
            )
        if word in found:
            raise InputError(f"--refine names {word!r} twice.", cure="Name one model for a word.")
        found[word] = artifact.find(root, KIND, which)
    return Cascade(tagger, found, confidence, least) if found else None


def _score(value: str, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0 <= score <= 1:
        raise InputError(f"--refine {value!r}: {text!r} is no score.", cure="Give a number from 0 to 1 after the @.")
    return score
