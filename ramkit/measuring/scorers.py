"""Models with the questions that an evaluation asks them: taggers, and CLIP's two towers."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ramkit.clip import load_clip
from ramkit.embeddings import Embedded
from ramkit.errors import InputError
from ramkit.features import Encoding
from ramkit.measuring.measured import Name, Scale
from ramkit.tagger import BUNDLED, Tagger
from ramkit.text.encoders import load_text_encoder

Texts = Mapping[str, Sequence[str]]  # descriptions by name, in lower case
CLIP = "open_clip:"


@dataclass(frozen=True)
class Settings:
    """What an ablation is about: how a model was trained and how it was asked; None where its manifest does not say."""

    text: bool | None = None  # trained on image–text pairs
    tag: bool | None = None  # trained on image–tag pairs
    described_in_training: bool | None = None  # tags by several descriptions, not by a template
    described_at_inference: bool | None = None
    reweighting: bool | None = None


class TaggerScorer:
    """A tagger asked for names: tags of its vocabulary by their own descriptions, others by texts or the template."""

    scale: Scale = "logit"

    def __init__(
        self,
        tagger: Tagger,
        names: Sequence[str],
        asked: Mapping[str, str],
        *,
        queries: str = "own",
        texts: Texts | None = None,
        reweighting: bool = True,
    ) -> None:
        """
        Args:
            asked: how a name is asked, where not by itself.
            queries: `own` as above; `template` or `descriptions` ask tags of the vocabulary, too, by the template
                alone or by `texts`.
            reweighting: False takes plain means of the descriptions, whatever the model was trained with.
        """
        self.settings = _settings_of(tagger, queries, texts, reweighting)
        # The head is built when first asked, by this configuration.
        tagger.config = replace(
            tagger.config,
            reweighting=tagger.config.reweighting and reweighting,
            queries="descriptions" if queries == "descriptions" else tagger.config.queries,
        )
        self._tagger, self._queries, self._reweighting = tagger, queries, reweighting
        by_template = (tagger.config.queries if queries == "own" else queries) == "template"
        self._texts = {} if by_template else dict(texts or {})
        self.name = tagger.source.path.name if tagger.source.path.parent == BUNDLED else tagger.source.name
        self.threshold: float | None = tagger.threshold
        self.columns = [_column(tagger, name, asked.get(name, ""), self._texts) for name in names]

    @property
    def identity(self) -> str:
        model = self._tagger
        texts = {column.asked: self._texts.get(column.asked.lower()) for column in self.columns}
        asked = [(column.asked, column.tag) for column in self.columns]
        return _hashed(
            model.source.id, model.text_identity, self._queries, self._reweighting, asked, texts, self.encoding.identity
        )

    @cached_property
    def encoding(self) -> Encoding:
        model = self._tagger
        identity = _hashed("tagger", model.config.image_encoder, model.config.image_size, model.image_identity)
        return Encoding(identity, lambda photo, _: model.preprocess(photo), model.features)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        asked, order = self._questions
        return torch.cat([self._tagger.logits(features, part) for part in asked], dim=1)[:, order]

    @cached_property
    def _questions(self) -> tuple[list[Embedded], list[int]]:
        """Descriptions, tags before other names, and the order [C] that brings answers to columns."""
        own = [column.tag if self._queries == "own" else None for column in self.columns]
        others = [column.asked for column, tag in zip(self.columns, own, strict=True) if tag is None]
        asked = [self._tagger.vocabulary.choose([tag for tag in own if tag is not None])]
        if others:
            asked.append(self._tagger.describe(others, self._texts))
        order = np.argsort(np.argsort([tag is None for tag in own], kind="stable"), kind="stable")
        return asked, order.tolist()


class TwoTowerScorer:
    """Zero-shot by the cosine of image and text (ITC): CLIP and its kin, through open_clip.

    A name's vector is the mean of its prompts' unit vectors, scaled to length 1 again.
    """

    scale: Scale = "cosine"
    threshold: float | None = None  # a cosine has no natural one

    def __init__(
        self,
        spec: str,
        names: Sequence[str],
        asked: Mapping[str, str],
        *,
        templates: Sequence[str] = (),
        texts: Texts | None = None,
    ) -> None:
        """
        Args:
            spec: `open_clip:MODEL/WEIGHTS`.
            templates: `{}` where the name goes; none takes `imagenet_templates`.
            texts: descriptions, used instead of templates for the names that have some.
        """
        self.name, self._texts = spec, dict(texts or {})
        self.settings = Settings(described_at_inference=bool(self._texts))
        self.templates = list(templates) or imagenet_templates()
        if without := [template for template in self.templates if "{}" not in template]:
            raise InputError(f"Template {without[0]!r} has no place for the name.", cure="Write {} where it goes.")
        self.columns = [Name(name, None, None, asked.get(name, "")) for name in names]

    @property
    def identity(self) -> str:
        return _hashed(self.encoding.identity, [self.prompts(column.asked) for column in self.columns])

    def prompts(self, name: str) -> list[str]:
        return list(self._texts.get(name.lower(), ())) or [template.format(name) for template in self.templates]

    @cached_property
    def encoding(self) -> Encoding:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        model, _ = load_clip(self.name.removeprefix(CLIP))
        settings = model.visual.preprocess_cfg
        prepare = image_transform_v2(PreprocessCfg(**settings), is_train=False)

        def encode(pixels: torch.Tensor) -> torch.Tensor:
            return model.encode_image(pixels, normalize=True).float().unsqueeze(1)  # one token an image

        return Encoding(_hashed("clip", self.name, settings, _digest(model)), lambda photo, _: prepare(photo), encode)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(features[:, 0], dim=-1) @ self._vectors.T

    @cached_property
    def _vectors(self) -> torch.Tensor:
        """[C, E]"""
        prompts = [self.prompts(column.asked) for column in self.columns]
        vectors = load_text_encoder(self.name).encode([prompt for own in prompts for prompt in own])
        means = [part.mean(dim=0) for part in vectors.split([len(own) for own in prompts])]
        return torch.nn.functional.normalize(torch.stack(means), dim=-1)


def imagenet_templates() -> list[str]:
    """The 80 prompts that CLIP was published with."""
    import open_clip

    return [template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]


def _settings_of(tagger: Tagger, queries: str, texts: Texts | None, reweighting: bool) -> Settings:
    trained = tagger.source.config
    several = bool((tagger.vocabulary.counts > 1).any())
    by_descriptions = trained.get("queries", "descriptions") == "descriptions"
    own = tagger.config.queries == "descriptions" and (several or bool(texts))
    described = {"own": own, "template": False, "descriptions": True}[queries]
    return Settings(
        text=trained["text_loss"] > 0 if "text_loss" in trained else None,
        tag=trained["tag_loss"] > 0 if "tag_loss" in trained else None,
        described_in_training=by_descriptions and (several or trained.get("queries_at_inference") == "template"),
        described_at_inference=described,
        reweighting=described and tagger.config.reweighting and reweighting,  # a template alone leaves nothing to weigh
    )


def _column(tagger: Tagger, name: str, text: str, texts: Texts) -> Name:
    asked = (text or name).lower()
    number = tagger.numbers.get(asked)
    if number is None:
        return Name(name, None, tagger.threshold if texts.get(asked) else tagger.open_set_threshold, text)
    return Name(name, number, tagger.thresholds[number], text, tagger.tags[number].lower() != asked)


def _digest(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def _hashed(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
