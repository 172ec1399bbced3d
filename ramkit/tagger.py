"""A trained model, ready to tag: what a model artefact holds, how it is saved, loaded and asked.

model.json                 architecture, thresholds, text encoder's identity, wording of the template
head.safetensors           projection, re-weighting temperature, alignment decoder
image_encoder.safetensors  the timm model
embeddings.safetensors     descriptions' vectors [C, D, E] and their counts [C]
vocabulary.jsonl           the tags, in the order of the vectors; a row may carry a `threshold` of its own
descriptions.jsonl         {"tag", "index", "text"}, the texts behind the vectors, where they are known
sentence_encoder.*, tokenizer.json   where the text encoder travels with the model
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.embeddings import TENSORS, Embedded, read_embeddings, save_embeddings
from ramkit.errors import ArtifactError, InputError, MissingError
from ramkit.files import cache_directory, read_rows, share, write_rows
from ramkit.image_encoder import ImageEncoder, build_timm, spatial_features
from ramkit.photos import Preprocess
from ramkit.ram.model import AlignmentHead, ModelConfig
from ramkit.tensors import Precision, load_tensors, save_tensors
from ramkit.text.encoders import (
    SENTENCE_FILES,
    SentenceEncoder,
    TextEncoder,
    load_text_encoder,
    read_saved_sentence_encoder,
)
from ramkit.text.prompts import LITERAL, described_by_template
from ramkit.token_places import token_places

_CONFIG, _HEAD, _IMAGE_ENCODER, _VOCABULARY = (
    "model.json",
    "head.safetensors",
    "image_encoder.safetensors",
    "vocabulary.jsonl",
)
_CHUNK = 1024  # queries decoded at once; tags do not see one another, so chunks change nothing but memory
_COMPARED = 8  # texts
DESCRIPTIONS = "descriptions.jsonl"
BUNDLED = Path(__file__).parent / "bundled"
MINI = "mini"
Line = tuple[float, float]  # slope, offset


def find_model(root: Path, which: str | None = None) -> Artifact:
    """The model that `which` names: a bundled one, a version of the root, or a folder. None takes the root's newest
    and, where it has none, the bundled mini.

    Raises:
        ArtifactError: there is no such model, or it was changed.
    """
    if which is None and not artifact.versions(root, "model"):
        which = MINI
    if which is not None and (BUNDLED / which / artifact.MANIFEST).is_file():
        return artifact.load(BUNDLED / which, "model")
    return artifact.find(root, "model", which)


class Tagger:
    """Scores photos against its own vocabulary and any other words."""

    def __init__(self, source: Artifact, *, text_encoder: str = "") -> None:
        """
        Args:
            source: a model artefact.
            text_encoder: spec of the encoder for words typed, where the model only names one that is not at hand.

        Raises:
            InputError: a text encoder is given although the model carries its own.
        """
        settings = json.loads(source.file(_CONFIG).read_text(encoding="utf-8"))
        self.source = source
        self.config = _model_config(settings["model"])
        self.threshold: float = settings["threshold"]  # of tags that have none of their own
        self.open_set_threshold: float = settings.get("open_set_threshold", self.threshold)  # of typed words
        self.calibration: Line | None = _line(settings.get("calibration"))  # of tags that have none of their own
        self.open_set_calibration: Line | None = _line(settings.get("open_set_calibration"))
        self.text_identity: dict[str, str] = settings["text_encoder"]
        if text_encoder and self.has_text_encoder:
            raise InputError(f"{source.name} carries its own text encoder.", cure="Leave out --text-encoder.")
        if text_encoder:
            self.text_identity = {**self.text_identity, "spec": text_encoder}
        self.wording: str = settings.get("template", LITERAL)
        self.rows = list(read_rows(source.file(_VOCABULARY)))
        self.tags: list[str] = [row["tag"] for row in self.rows]
        self.preprocess = preprocess_of(self.config)

    @cached_property
    def image_encoder(self) -> nn.Module:
        """The timm model, float32, ready to run."""
        module = build_timm(self.config.image_encoder, size=self.config.image_size)
        module.load_state_dict(load_tensors(self.source.file(_IMAGE_ENCODER)))
        return module.eval().requires_grad_(False)

    @cached_property
    def encoder_identity(self) -> str:
        """Of weights and preprocessing: equal where features are."""
        width = self.config.image_width
        return ImageEncoder(self.config.image_encoder, self.image_encoder, width, self.preprocess).identity()

    @cached_property
    def head(self) -> AlignmentHead:
        head = AlignmentHead(self.config)
        head.load_state_dict(load_tensors(self.source.file(_HEAD)))
        return head.eval().requires_grad_(False)

    @cached_property
    def vocabulary(self) -> Embedded:
        """Descriptions of the model's own tags.

        Raises:
            ArtifactError: not as many as there are tags.
        """
        embedded = read_embeddings(self.source.file(TENSORS))
        if len(embedded.counts) != len(self.tags):
            raise ArtifactError(
                f"{self.source.path}: {len(self.tags)} tags, but embeddings of {len(embedded.counts)}.",
                cure="Train the model anew: ramkit train",
            )
        return embedded

    @cached_property
    def texts(self) -> list[list[str]] | None:
        """The descriptions of each of C tags, in the order of their vectors; None where the model holds vectors alone.

        A text is empty where its vector stays in use but the sentence behind it is not to be shown.

        Raises:
            ArtifactError: not as many as there are vectors.
        """
        if DESCRIPTIONS not in self.source.manifest["files"]:
            return None
        found: dict[str, list[str]] = {tag: [] for tag in self.tags}
        for row in read_rows(self.source.file(DESCRIPTIONS)):
            found.setdefault(row["tag"], []).append(row["text"])
        if [len(found[tag]) for tag in self.tags] != self.vocabulary.counts.tolist():
            raise ArtifactError(
                f"{self.source.path}: {DESCRIPTIONS} does not fit the vectors.", cure="Train the model anew."
            )
        return [found[tag] for tag in self.tags]

    @cached_property
    def token_places(self) -> list[float]:
        """Middles of the n columns, and rows, of the n² image tokens, in shares of the photo's side."""
        return token_places(self.image_encoder, self.config.image_size)

    @cached_property
    def thresholds(self) -> list[float]:
        """Least score at which each of C tags counts as found: its row's own `threshold`, or the model's.

        At 1 a tag is never found, though a score may round to 1.
        """
        return [row.get("threshold", self.threshold) for row in self.rows]

    @cached_property
    def calibrations(self) -> list[Line] | None:
        """Line of each of C tags: the chance that a tag is true is σ(slope · logit + offset). None: not calibrated."""
        if self.calibration is None:
            return None
        return [_line(row.get("calibration")) or self.calibration for row in self.rows]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each tag by its name and aliases, lower case; a name goes before another tag's alias."""
        aliases = {str(alias): number for number, row in enumerate(self.rows) for alias in row.get("aliases", ())}
        names = {tag: number for number, tag in enumerate(self.tags)}
        return {name.lower(): number for name, number in {**aliases, **names}.items()}

    @property
    def has_text_encoder(self) -> bool:
        """Whether the text encoder travels with the model."""
        return SENTENCE_FILES[0] in self.source.manifest["files"]

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """The encoder the model was trained with, from the artefact itself or by its name."""
        if self.has_text_encoder:
            return read_saved_sentence_encoder(self.source.path)
        spec = self.text_identity["spec"]
        try:
            encoder = load_text_encoder(spec)
        except MissingError as error:
            raise MissingError(error.what, cure=_local_cure(spec)) from None
        known = self.text_identity.get("sha256")  # none is known of a published model's
        if encoder.width != self.config.embed_width or known not in (None, encoder.identity()["sha256"]):
            raise ArtifactError(
                f"{spec} is not the text encoder that {self.source.name} was trained with.",
                cure="Name the one that its manifest tells.",
            )
        return encoder

    @property
    def text_agreement(self) -> float | None:
        """Mean cosine of some of the vocabulary's vectors with what the text encoder makes of their texts: 1 for the
        encoder the model was trained with. None where the model does not hold the texts."""
        if DESCRIPTIONS not in self.source.manifest["files"]:
            return None
        numbers = {tag: number for number, tag in enumerate(self.tags)}
        told = (row for row in read_rows(self.source.file(DESCRIPTIONS)) if row["text"])
        rows = list(itertools.islice(told, _COMPARED))
        stored = torch.stack([self.vocabulary.descriptions[numbers[row["tag"]], row["index"]] for row in rows])
        made = self.text_encoder.encode([row["text"] for row in rows])
        return float(torch.nn.functional.cosine_similarity(stored, made).mean())

    @property
    def image_identity(self) -> str:
        """Equal for models that make equal features of a photo."""
        return f"{self.source.manifest['files'][_IMAGE_ENCODER]['sha256']} {self.preprocess!r}"

    def describe(self, words: Sequence[str], texts: Mapping[str, Sequence[str]] | None = None) -> Embedded:
        """Queries for words that are no tags: each by its texts or, where it has none, by the template alone.

        Args:
            texts: descriptions by word, in lower case, as `read_published_descriptions` gives them.
        """
        given = texts or {}
        chosen = [given.get(word.lower()) or [self.text_of(word)] for word in words]
        vectors = self._encode([text for own in chosen for text in own])
        counts = [len(own) for own in chosen]
        return Embedded(pad_sequence(vectors.split(counts), batch_first=True), torch.tensor(counts))

    def text_of(self, word: str) -> str:
        """The one description of a typed word, worded as description 0 of the tags was in training."""
        return described_by_template(word, self.wording)

    def _encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Vectors [N, E], from earlier runs where they are known."""
        from ramkit.text.vector_cache import VectorCache

        files = self.source.manifest["files"]
        if self.has_text_encoder:
            known_by = [files[name]["sha256"] for name in SENTENCE_FILES]
        else:
            known_by = [self.text_identity.get("sha256") or self.text_encoder.identity()["sha256"]]
        cache = VectorCache(cache_directory() / "words.sqlite", json.dumps(known_by), self.config.embed_width)
        return cache.encode(texts, lambda new: self.text_encoder.encode(new))

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Spatial features [B, T, V] of prepared pixels [B, 3, S, S]."""
        with torch.inference_mode():
            return spatial_features(self.image_encoder, pixels)

    def scores(self, features: torch.Tensor, asked: Sequence[Embedded]) -> torch.Tensor:
        """σ(logit) [B, C] of features [B, T, V] for all tags of `asked`, one after another."""
        return torch.cat([self.logits(features, part) for part in asked], dim=1).sigmoid()

    def logits(self, features: torch.Tensor, asked: Embedded) -> torch.Tensor:
        """Logits [B, C] of features [B, T, V] for the tags that `asked` describes."""
        with torch.inference_mode():
            tokens = self.head.project(features)
            parts = [
                self.head.align(self.head.tag_queries(tokens, chunk.descriptions, chunk.present), tokens)
                for chunk in asked.split(_CHUNK)
            ]
            return torch.cat(parts, dim=1)


def text_encoder_named(spec: str) -> TextEncoder:
    """The encoder of a spec as `load_text_encoder` takes it, or of a bundled model by the model's name."""
    if (BUNDLED / spec / artifact.MANIFEST).is_file():
        return Tagger(find_model(Path(), spec)).text_encoder
    return load_text_encoder(spec)


def save_model(
    folder: Path,
    *,
    config: ModelConfig,
    head: AlignmentHead,
    image_encoder: nn.Module,
    embedded: Embedded,
    rows: Sequence[dict[str, Any]],
    text_encoder: TextEncoder,
    threshold: float,
    texts: Sequence[Sequence[str]] = (),
    wording: str = LITERAL,
    weights: Precision = "float16",
    vectors: Precision = "int8",
) -> None:
    """Write all files of a model artefact; a sentence encoder travels with it, an open_clip one is named."""
    save_parts(
        folder,
        config=config,
        head=head.state_dict(),
        image_encoder=image_encoder.state_dict(),
        embedded=embedded,
        rows=rows,
        text_identity=text_encoder.identity(),
        threshold=threshold,
        texts=texts,
        wording=wording,
        weights=weights,
        vectors=vectors,
    )
    if isinstance(text_encoder, SentenceEncoder):
        text_encoder.save(folder)


def save_parts(
    folder: Path,
    *,
    config: ModelConfig,
    head: Mapping[str, torch.Tensor],
    image_encoder: Mapping[str, torch.Tensor],
    embedded: Embedded,
    rows: Sequence[dict[str, Any]],
    text_identity: dict[str, str],
    threshold: float,
    texts: Sequence[Sequence[str]],
    weights: Precision,
    vectors: Precision,
    wording: str = LITERAL,
) -> None:
    """Write the files of a model artefact from state dicts, all but a text encoder that travels with it.

    Args:
        text_identity: the text encoder's `spec`, and its `sha256` where it is known.
        rows: of the vocabulary, a tag each.
        texts: the descriptions of each tag, as many as it has vectors; empty where they are not known.
        wording: of description 0, in which typed words are described too: `worded` or `literal`, see `text.prompts`.
    """
    save_tensors(folder / _HEAD, head, weights)
    save_tensors(folder / _IMAGE_ENCODER, image_encoder, weights)
    save_embeddings(folder / TENSORS, embedded, vectors)
    write_rows(folder / _VOCABULARY, rows)
    if texts:
        write_rows(folder / DESCRIPTIONS, _description_rows([row["tag"] for row in rows], texts))
    settings = {"model": asdict(config), "threshold": threshold, "text_encoder": text_identity, "template": wording}
    (folder / _CONFIG).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _description_rows(tags: Sequence[str], texts: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
    """Rows of descriptions.jsonl."""
    for tag, own in zip(tags, texts, strict=True):
        yield from ({"tag": tag, "index": index, "text": text} for index, text in enumerate(own))


def _local_cure(spec: str) -> str:
    """What helps where a text encoder cannot be fetched. From a file nobody can tell that OpenAI's weights want
    QuickGELU: the model's name has to say it."""
    model, _, weights = spec.partition("/")
    quick = "-quickgelu" if weights == "openai" and not model.endswith("-quickgelu") else ""
    return f"Go online, or name a file of its weights: --text-encoder {model}{quick}/FILE"


def preprocess_of(config: ModelConfig) -> Preprocess:
    """How photos are prepared for this model's image encoder."""
    return Preprocess(config.image_size, config.mean, config.std, config.interpolation)


def save_calibrated(
    folder: Path,
    source: Artifact,
    *,
    threshold: float,
    calibration: Line | None,
    open_set_threshold: float,
    open_set_calibration: Line,
    rows: Sequence[dict[str, Any]],
) -> None:
    """Write all files of a model that differs from its source in thresholds and calibration alone.

    What does not change is shared with the source on disk where the file system can, else copied.
    """
    for name in source.manifest["files"]:
        if name not in (_CONFIG, _VOCABULARY):
            share(source.file(name), folder / name)
    write_rows(folder / _VOCABULARY, rows)
    settings = json.loads(source.file(_CONFIG).read_text(encoding="utf-8"))
    settings["threshold"] = threshold
    if calibration is not None:
        settings["calibration"] = list(calibration)
    settings["open_set_threshold"] = open_set_threshold
    settings["open_set_calibration"] = list(open_set_calibration)
    (folder / _CONFIG).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _line(values: Sequence[float] | None) -> Line | None:
    return None if values is None else (float(values[0]), float(values[1]))


def _model_config(values: dict[str, Any]) -> ModelConfig:
    pairs = {name: tuple(values[name]) for name in ("mean", "std")}  # JSON has lists only
    return ModelConfig(**{**values, **pairs})
