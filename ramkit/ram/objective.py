"""The objective of RAM++'s training: one pass of the decoder over tags and captions together, and their losses."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from ramkit.config import TrainConfig
from ramkit.embeddings import Embedded
from ramkit.errors import InputError
from ramkit.image_encoder import spatial_features
from ramkit.ram.decoder import AlignmentDecoder
from ramkit.ram.losses import asymmetric_loss
from ramkit.ram.model import AlignmentHead
from ramkit.ram.questions import Questions
from ramkit.ram.teacher import Teacher

LOSSES = ("tag", "text", "teacher", "distillation")


@dataclass(frozen=True)
class Losses:
    """Tag, text and teacher: each summed over what an image was asked, and over the images as `reduction` says, their
    mean or, as published, their plain sum. Distillation is a mean over images and channels either way.

    With the plain sum the published objective is tag + text + distillation, every weight 1. The mean divides the first
    two by the batch size B and not the third: the same objective at a distillation weight of 1/B, over B. AdamW does
    not see that last factor; a limit to the gradient's norm does.
    """

    tag: torch.Tensor
    text: torch.Tensor
    teacher: torch.Tensor
    distillation: torch.Tensor

    def total(self, config: TrainConfig) -> torch.Tensor:
        return (
            config.tag_loss * self.tag
            + config.text_loss * self.text
            + config.teacher_loss * self.teacher
            + config.distillation_loss * self.distillation
        )


@dataclass(frozen=True)
class Inputs:
    """What the losses of a batch, or of a part of it, are computed from."""

    images: torch.Tensor  # pixels [B, 3, S, S] where the image encoder is trained, else spatial features [B, T, V]
    tags: Questions
    texts: Questions
    captions: torch.Tensor  # unit vectors [N, E]
    guide: torch.Tensor | None  # CLIP's image features [B, E], to be distilled
    counted: float  # images the sums are divided by for a mean: those of the whole batch, be this a part of it

    def of(self, images: slice) -> "Inputs":
        """Some of the images, asked about all captions all the same."""
        guide = None if self.guide is None else self.guide[images]
        return replace(
            self, images=self.images[images], tags=self.tags.of(images), texts=self.texts.of(images), guide=guide
        )


class Objective(nn.Module):
    """All that is trained, and its losses. `forward` is one call, so that what wraps a module sees all of it."""

    def __init__(
        self,
        head: AlignmentHead,
        image_encoder: nn.Module | None,
        embedded: Embedded,
        teacher: Teacher | None,
        config: TrainConfig,
    ) -> None:
        super().__init__()
        self.head, self.image_encoder = head, image_encoder
        self.teacher, self.config = teacher, config
        self.descriptions, self.present = embedded.descriptions, embedded.present  # no buffers: DDP would send them

    def forward(self, inputs: Inputs, generator: torch.Generator) -> Losses:
        """Tags, captions and the teacher's classes in one pass of the decoder."""
        config, tags, texts = self.config, inputs.tags, inputs.texts
        features = inputs.images
        if self.image_encoder is not None:
            features = spatial_features(self.image_encoder, inputs.images)
        tokens = self.head.project(features)
        batch = len(inputs.images)
        asked = [self._tag_queries(tokens, tags), _for_each_image(texts.choose(inputs.captions), batch)]
        lesson = None
        if self.teacher is not None:
            lesson = self.teacher.lesson(features, config.tags_per_image, generator)
            asked.append(lesson.queries)
        sizes = [queries.shape[1] for queries in asked]
        logits = self.head.align(torch.cat(asked, dim=1), tokens).float().split(sizes, dim=1)
        over = inputs.counted if config.reduction == "mean" else 1
        none = logits[0].new_zeros(())
        return Losses(
            tag=tags.weigh(asymmetric_loss(logits[0], tags.targets, negative_focus=config.tag_focus)) / over,
            text=texts.weigh(asymmetric_loss(logits[1], texts.targets, negative_focus=config.text_focus)) / over,
            teacher=none if lesson is None else lesson.loss(logits[2]) / over,
            distillation=none if inputs.guide is None else _distance(tokens[:, 0], inputs.guide) / inputs.counted,
        )

    def place(self, device: torch.device) -> "Objective":
        """All that the losses need, on one device."""
        self.descriptions, self.present = self.descriptions.to(device), self.present.to(device)
        self.teacher = None if self.teacher is None else self.teacher.to(device)
        return self.to(device)

    @property
    def leaves_weights_out(self) -> bool:
        """Whether some weights take no part in the losses: the temperature where nothing is re-weighted, the tokens of
        the decoder's memory where another paradigm stands in its place."""
        plain = self.head.reweighting and self.descriptions.shape[1] > 1
        return not (plain and isinstance(self.head.decoder, AlignmentDecoder))

    def recompute_activations(self) -> None:
        """Keep the activations at the borders of blocks only, and compute those within again in the backward pass."""
        self.head.decoder.recompute_activations = True
        if self.image_encoder is not None:
            try:
                self.image_encoder.set_grad_checkpointing(True)  # type: ignore[operator]
            except (AttributeError, AssertionError) as error:
                raise InputError(
                    f"{type(self.image_encoder).__name__} cannot recompute its activations ({error}).",
                    cure="Set recompute_activations = false.",
                ) from None

    def _tag_queries(self, tokens: torch.Tensor, tags: Questions) -> torch.Tensor:
        descriptions, present = tags.choose(self.descriptions), tags.choose(self.present)
        return _for_each_image(self.head.tag_queries(tokens, descriptions, present), len(tokens))


def _distance(global_feature: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """Sum over images of the L1 distance between V_global and CLIP's image feature, both [B, E], mean over E.

    Neither is normalised, as published.
    """
    return F.l1_loss(global_feature.float(), guide, reduction="sum") / guide.shape[1]


def _for_each_image(queries: torch.Tensor, batch: int) -> torch.Tensor:
    return queries if queries.ndim == 3 else queries.expand(batch, -1, -1)
