"""Distillation from the image encoder's own classifier: it names what captions leave out.

An encoder trained for ImageNet tells a thousand classes apart, most of which no caption in a small set mentions.
Their names, as text queries, are asked beside the tags, with the classifier's probabilities as soft targets. The
part this plays is that of the paper's distillation from CLIP's image encoder: knowledge from before training is
kept for words that training itself does not hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from ramkit.errors import InputError
from ramkit.image_encoder import TIMM
from ramkit.weights import locate, read_state_dict

_RIDGE = 0.1  # λ; 0.03 to 1 make no difference beyond one point of mAP
_WITHOUT = "without a teacher: teacher_loss = 0 and teacher_start = false."
SOFTEN = 0.5  # exponent of the probabilities, so that second and third guesses count too

Encode = Callable[[list[str]], torch.Tensor]


@dataclass(frozen=True)
class Lesson:
    """Some classes' names for each image of a batch, and how far the teacher believes in them."""

    queries: torch.Tensor  # [B, M, E]
    targets: torch.Tensor  # [B, M], in [0, 1]
    weights: torch.Tensor  # [B, M], what each answer counts

    def loss(self, logits: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy with soft targets, weighted and summed, above its least possible value."""
        cross = F.binary_cross_entropy_with_logits(logits, self.targets, reduction="none")
        least = F.binary_cross_entropy(self.targets, self.targets, reduction="none")
        return ((cross - least) * self.weights).sum()


@dataclass(frozen=True)
class Teacher:
    """A linear classifier over mean features, and its classes' names as text vectors."""

    weight: torch.Tensor  # [K, V]
    bias: torch.Tensor  # [K]
    names: torch.Tensor  # [K, E], unit vectors

    def to(self, device: torch.device) -> "Teacher":
        return Teacher(self.weight.to(device), self.bias.to(device), self.names.to(device))

    def lesson(self, features: torch.Tensor, count: int, generator: torch.Generator) -> Lesson:
        """For each image half of `count` classes it most likely shows, half at random; all classes where 0.

        Args:
            features: spatial features [B, T, V].
        """
        with torch.no_grad():
            belief = F.linear(features.float().mean(dim=1), self.weight, self.bias).softmax(dim=-1) ** SOFTEN
        batch, classes = belief.shape
        if count == 0 or count >= classes:
            return Lesson(self.names.expand(batch, -1, -1), belief, torch.ones_like(belief))
        likely = belief.topk(count // 2, dim=1).indices
        others = torch.randint(classes, (batch, count - count // 2), generator=generator).to(belief.device)
        chosen = torch.cat([likely, others], dim=1)
        # The random ones stand for all that are not likely, as in `training.draw_questions`.
        unlikely = torch.ones_like(belief).scatter(1, likely, 0.0).gather(1, others)
        weights = torch.cat(
            [torch.ones_like(unlikely[:, :1]).expand(likely.shape), unlikely * (classes / max(others.shape[1], 1))],
            dim=1,
        )
        return Lesson(self.names[chosen], belief.gather(1, chosen), weights)

    def projection(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(P [E, V], centre [E]): a map of features into the space of texts that needs no training photo.

        Ridge regression from the classes' text vectors T to their classifier weights W, both centred: P minimises
        ‖W − T P‖² + λ‖P‖², so ⟨t, P v⟩ is about the classifier's logit of a class named t, and a guess for any
        other text.
        """
        centre = self.names.mean(dim=0)
        texts, weights = self.names - centre, self.weight - self.weight.mean(dim=0)
        gram = texts.T @ texts + _RIDGE * torch.eye(texts.shape[1])
        return torch.linalg.solve(gram, texts.T @ weights), centre


def imagenet_teacher(weights: str, encode: Encode, *, width: int) -> Teacher:
    """The classifier that ends a published ImageNet-1k weights file, with the names timm carries for its classes.

    Args:
        weights: a file, or `package:NAME`.
        encode: texts → unit vectors [N, E].
        width: V, channels of the image encoder's features.

    Raises:
        InputError: the file does not end in a linear classifier of 1,000 classes.
    """
    if weights in ("", TIMM):
        raise InputError(
            "The teacher's classifier is in no file.", cure=f"Name one as image_weights, or train {_WITHOUT}"
        )
    path: Path = locate(weights)
    shapes = [(1000, width), (1000,)]
    last = list(read_state_dict(path).values())[-2:]
    if [tuple(tensor.shape) for tensor in last] != shapes:
        raise InputError(f"{path}: ends in no ImageNet-1k classifier of {width} channels.", cure=f"Train {_WITHOUT}")
    weight, bias = last
    return Teacher(weight.float(), bias.float(), _class_vectors(encode))


def _class_vectors(encode: Encode) -> torch.Tensor:
    """Unit vectors [1000, E]: the mean over each class's synonyms."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    synonyms = [info.index_to_description(index).lower().split(",") for index in range(1000)]
    flat = encode([f"a photo of a {name.strip()}." for names in synonyms for name in names])
    means = [part.mean(dim=0) for part in flat.split([len(names) for names in synonyms])]
    return F.normalize(torch.stack(means), dim=-1)
