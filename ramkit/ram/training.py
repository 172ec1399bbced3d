"""Training of RAM++: one pass of the decoder over tags and captions together, and the sum of their losses.

All that is random in a step is seeded by the step's number, so a run that goes on from a checkpoint gives the same
weights as one that was never interrupted.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from ramkit.config import TrainConfig
from ramkit.embeddings import Embedded
from ramkit.image_encoder import spatial_features
from ramkit.ram.losses import asymmetric_loss
from ramkit.ram.model import AlignmentHead
from ramkit.ram.teacher import Teacher


@dataclass(frozen=True)
class Questions:
    """What one side of the batch is asked of each image, and the answers."""

    targets: torch.Tensor  # [B, S], 1 where it is true of the image
    selected: torch.Tensor | None = None  # [B, S], numbers of what each image is asked; None asks all S of every image
    weights: torch.Tensor | None = None  # [B, S], what each answer counts; None counts all alike

    def weigh(self, losses: torch.Tensor) -> torch.Tensor:
        """Sum of the losses [B, S]: an unbiased estimate of the sum over all that might be asked."""
        return (losses if self.weights is None else losses * self.weights).sum()


@dataclass(frozen=True)
class Losses:
    """Each summed over what an image was asked, mean over the images (the published sum, over the batch size)."""

    tag: torch.Tensor
    text: torch.Tensor
    teacher: torch.Tensor

    def total(self, config: TrainConfig) -> torch.Tensor:
        return config.tag_loss * self.tag + config.text_loss * self.text + config.teacher_loss * self.teacher


def draw_questions(own: Sequence[Sequence[int]], total: int, count: int, generator: torch.Generator) -> Questions:
    """Choose what to ask each image: its own first, random others up to `count`; all where `count` is 0.

    The random ones stand for all others: each counts `total` over the number of draws, and one that is the image's own,
    which was counted already, nothing. `count` should leave room for some.

    Args:
        own: for each of B images the numbers, below `total`, that are true of it.
    """
    everything = torch.zeros(len(own), total)
    for row, numbers in enumerate(own):
        everything[row, list(numbers)] = 1
    if count == 0 or count >= total:
        return Questions(everything)
    selected = torch.randint(total, (len(own), count), generator=generator)
    weights = torch.ones(len(own), count)
    for row, numbers in enumerate(own):
        first = torch.tensor(list(numbers)[:count], dtype=torch.long)
        selected[row, : len(first)] = first
        drawn = selected[row, len(first) :]
        weights[row, len(first) :] = (total / max(len(drawn), 1)) * (1 - everything[row, drawn])
    return Questions(everything.gather(1, selected), selected, weights)


class Trainer:
    """Weights, optimiser and step count of one training run.

    Args:
        head: the alignment head.
        image_encoder: trained along with the head, or None where features come from a frozen one.
        embedded: descriptions of the tags.
        steps_an_epoch: for the learning rate's schedule.
    """

    def __init__(
        self,
        head: AlignmentHead,
        image_encoder: nn.Module | None,
        embedded: Embedded,
        teacher: Teacher | None,
        config: TrainConfig,
        steps_an_epoch: int,
    ) -> None:
        self.head, self.image_encoder, self.teacher, self.config = head, image_encoder, teacher, config
        self.descriptions, self.present = embedded.descriptions, embedded.present
        self.modules = nn.ModuleList([head] if image_encoder is None else [head, image_encoder])
        self.optimizer = torch.optim.AdamW(self.modules.parameters(), weight_decay=config.weight_decay)
        self.steps_an_epoch = steps_an_epoch
        self.steps_done = 0

    def step(
        self, images: torch.Tensor, tags: Sequence[Sequence[int]], captions: torch.Tensor, owners: Sequence[int]
    ) -> Losses:
        """One update of the weights.

        Args:
            images: pixels [B, 3, S, S] where the image encoder is trained, else spatial features [B, T, V].
            tags: numbers of each image's tags, B lists.
            captions: unit vectors [N, E] of the batch's captions.
            owners: for each caption the image in the batch that it belongs to.
        """
        config = self.config
        generator = step_generator(config.seed, self.steps_done)
        own_captions = [[n for n, owner in enumerate(owners) if owner == image] for image in range(len(images))]
        asked = draw_questions(tags, len(self.descriptions), config.tags_per_image, generator)
        texts = draw_questions(own_captions, len(captions), config.captions_per_image, generator)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.steps_done, self.steps_an_epoch, config)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            losses = self._losses(images, asked, texts, captions, generator)
        self.optimizer.zero_grad()
        losses.total(config).backward()  # type: ignore[no-untyped-call]
        if config.clip_gradient:
            nn.utils.clip_grad_norm_(self.modules.parameters(), config.clip_gradient)
        self.optimizer.step()
        self.steps_done += 1
        return losses

    def skip(self) -> None:
        """Count a step whose photos could not be read, so that the steps after it are what they would have been."""
        self.steps_done += 1

    def save(self, path: Path) -> None:
        save_checkpoint(path, self.modules, self.optimizer, self.steps_done)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, where there is one."""
        self.steps_done = load_checkpoint(path, self.modules, self.optimizer)

    def _losses(
        self,
        images: torch.Tensor,
        tags: Questions,
        texts: Questions,
        captions: torch.Tensor,
        generator: torch.Generator,
    ) -> Losses:
        """Tags, captions and the teacher's classes in one pass of the decoder."""
        features = images if self.image_encoder is None else spatial_features(self.image_encoder, images)
        tokens = self.head.project(features)
        batch = len(images)
        asked = [self._tag_queries(tokens, tags), _for_each_image(_chosen(captions, texts), batch)]
        lesson = None
        if self.teacher is not None:
            lesson = self.teacher.lesson(features, self.config.tags_per_image, generator)
            asked.append(lesson.queries)
        sizes = [queries.shape[1] for queries in asked]
        logits = self.head.align(torch.cat(asked, dim=1), tokens).float().split(sizes, dim=1)
        return Losses(
            tag=tags.weigh(asymmetric_loss(logits[0], tags.targets, negative_focus=self.config.tag_focus)) / batch,
            text=texts.weigh(asymmetric_loss(logits[1], texts.targets, negative_focus=self.config.text_focus)) / batch,
            teacher=lesson.loss(logits[2]) / batch if lesson is not None else logits[0].new_zeros(()),
        )

    def _tag_queries(self, tokens: torch.Tensor, tags: Questions) -> torch.Tensor:
        descriptions, present = _chosen(self.descriptions, tags), _chosen(self.present, tags)
        return _for_each_image(self.head.tag_queries(tokens, descriptions, present), len(tokens))


def learning_rate(step: int, steps_an_epoch: int, config: TrainConfig) -> float:
    """Linear warm-up, then a factor an epoch (as published) or a cosine down to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "exponential":
        return max(config.learning_rate * config.decay ** (step // steps_an_epoch), config.final_learning_rate)
    total = config.epochs * steps_an_epoch
    progress = (step - config.warmup_steps) / max(total - config.warmup_steps, 1)
    span = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + span * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def step_generator(seed: int, step: int) -> torch.Generator:
    """The source of everything random in a step; dropout draws from the global one, seeded alike."""
    torch.manual_seed(seed * 1_000_003 + step)
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def epoch_order(count: int, epoch: int, seed: int) -> torch.Tensor:
    """The order in which an epoch visits the examples [count]."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 7919 + epoch))


def save_checkpoint(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Weights and optimiser state after `step` steps, written whole or not at all."""
    tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()})
    unfinished = path.with_suffix(".tmp")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, unfinished, {"step": str(step)})
    unfinished.replace(path)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint, and what a killed run left of one."""
    path.unlink(missing_ok=True)
    path.with_suffix(".tmp").unlink(missing_ok=True)


def load_checkpoint(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Restore what `save_checkpoint` wrote; returns the number of steps done, 0 where there is no checkpoint."""
    if not path.exists():
        return 0
    weights: dict[str, torch.Tensor] = {}
    moments: dict[int, dict[str, torch.Tensor]] = {}
    with safe_open(path, framework="pt") as stream:
        for name in stream.keys():  # noqa: SIM118 (not a dict)
            part, _, rest = name.partition(".")
            if part == "module":
                weights[rest] = stream.get_tensor(name)
            else:
                index, _, entry = rest.partition(".")
                moments.setdefault(int(index), {})[entry] = stream.get_tensor(name)
        step = int(stream.metadata()["step"])
    module.load_state_dict(weights)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return step


def batches(order: torch.Tensor, size: int) -> Iterator[list[int]]:
    """Positions batch by batch; what does not fill the last batch waits for another epoch's order."""
    for start in range(0, max(len(order) - size + 1, 1), size):
        yield order[start : start + size].tolist()


def _for_each_image(queries: torch.Tensor, batch: int) -> torch.Tensor:
    return queries if queries.ndim == 3 else queries.expand(batch, -1, -1)


def _chosen(rows: torch.Tensor, questions: Questions) -> torch.Tensor:
    """What each image is asked of [C, …]: [B, S, …], or all of it, unchanged."""
    return rows if questions.selected is None else rows[questions.selected]
