"""Training of RAM++: weights, optimiser and step count of a run, in one process or in several.

All that is random in a step is seeded by the step's number, so a run that goes on from a checkpoint gives the same
weights as one that was never interrupted.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ramkit.checkpoints import Checkpoints
from ramkit.config import TrainConfig
from ramkit.distributed import ALONE, Team
from ramkit.embeddings import Embedded
from ramkit.ram.distillation import Distillation
from ramkit.ram.model import AlignmentHead
from ramkit.ram.objective import LOSSES, Inputs, Losses, Objective
from ramkit.ram.questions import alike, draw_questions, tags_key
from ramkit.ram.sharding import average_scalars, clip_gradient, laid_out_as, parameter_groups, shard, whole
from ramkit.ram.teacher import Teacher


class Trainer:
    """Weights, optimiser and step count of one training run.

    In a team every process makes a trainer of the same weights, which stay the same: each step's gradient is the mean
    over the processes. With `reduction = "mean"` that is the gradient of one process on all their images together; with
    `"sum"` it is that over the number of processes, as published.

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
        *,
        distillation: Distillation | None = None,
        team: Team = ALONE,
    ) -> None:
        self.head, self.image_encoder, self.config, self.team = head, image_encoder, config, team
        self.distillation = distillation
        self.steps_an_epoch = steps_an_epoch
        self.steps_done = 0
        self.objective = Objective(head, image_encoder, embedded, teacher, config).place(team.device)
        if config.recompute_activations:
            self.objective.recompute_activations()
        if config.compile:
            self.objective.compile()
        self._plain = copy.deepcopy((head, image_encoder)) if config.shard and team.size > 1 else None
        self._runner = self._wrapped()
        self.optimizer = torch.optim.AdamW(parameter_groups(self.objective), weight_decay=config.weight_decay)

    def step(
        self,
        images: torch.Tensor,
        tags: Sequence[Sequence[int]],
        captions: torch.Tensor,
        owners: Sequence[int],
        guide: torch.Tensor | None = None,
    ) -> Losses | None:
        """One update of the weights. Returns the losses, in a team their mean over the processes; None where there is
        no image, in a team in no process: the step counts then and changes nothing, so that the steps after it are what
        they would have been.

        Args:
            images: pixels [B, 3, S, S] where the image encoder is trained, else spatial features [B, T, V]; of a
                process of a team they may be none.
            tags: numbers of each image's tags, B lists.
            captions: unit vectors [N, E] of the batch's captions.
            owners: for each caption the image in the batch that it belongs to.
            guide: what CLIP's image encoder looks at, or has seen: see `Distillation.target`.
        """
        generator = step_generator(self.config.seed, self.steps_done, self.team.rank)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.steps_done, self.steps_an_epoch, self.config)
        self.steps_done += 1
        counted = float(self.team.total(torch.tensor(float(len(images))))) / self.team.size
        if not counted:
            return None
        weight = 1.0 if len(images) else 0.0
        if not len(images):  # this process has to take part in what the others do
            images, tags, guide = _blank(images), [[]], None if guide is None else _blank(guide)
        inputs = self._inputs(images, tags, captions, owners, guide, counted, generator)
        self.optimizer.zero_grad()
        losses = self._backward(inputs, generator, weight)
        if self.config.clip_gradient:
            clip_gradient(self.objective, self.config.clip_gradient)
        self.optimizer.step()
        return losses

    def save(self, checkpoints: Checkpoints) -> None:
        """Write a checkpoint after the steps done; of a team all have to call this, the first writes."""
        tensors = {f"module.{name}": whole(tensor) for name, tensor in self.objective.state_dict().items()}
        for name, parameter in self.objective.named_parameters():
            for entry, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{entry}"] = whole(value)
        if self.team.first:
            counts = {"step": self.steps_done, "steps_an_epoch": self.steps_an_epoch}
            checkpoints.save(self.steps_done, tensors, counts)

    def resume(self, checkpoints: Checkpoints, tell: Callable[[str], None] = lambda message: None) -> int:
        """Go on from the newest checkpoint, where there is one; also from one that more or fewer processes wrote.

        Returns the step at which it was written, 0 where there is none. Of a team all have to call this.
        """
        found = checkpoints.newest(tell) if self.team.first else None
        # The first process chooses: another might look before the newest is whole, and go on from an earlier one.
        step = int(self.team.total(torch.tensor(found.counts["step"] if found else 0)))
        if not step:
            return 0
        found = found or checkpoints.written_at(step)
        with torch.no_grad():
            for name, tensor in self.objective.state_dict().items():
                tensor.copy_(laid_out_as(tensor, found.tensors[f"module.{name}"]))
        for name, parameter in self.objective.named_parameters():
            prefix = f"optimizer.{name}."
            stored = {key.removeprefix(prefix): at for key, at in found.tensors.items() if key.startswith(prefix)}
            if stored:  # moments lie where the weights lie, the count of steps on the CPU
                self.optimizer.state[parameter] = {
                    entry: laid_out_as(parameter, value)
                    if value.shape == parameter.shape and entry != "step"
                    else value
                    for entry, value in stored.items()
                }
        self.steps_done = same_place(found.counts["step"], found.counts["steps_an_epoch"], self.steps_an_epoch)
        return found.counts["step"]

    def finish(self) -> tuple[AlignmentHead, nn.Module | None]:
        """(head, image encoder) of the trained weights, on the CPU; of a team all have to call this."""
        if self._plain is None:
            self.objective.to("cpu")
            return self.head, self.image_encoder
        trained = {name: whole(tensor).cpu() for name, tensor in self.objective.state_dict().items()}
        for name, module in zip(("head.", "image_encoder."), self._plain, strict=True):
            if module is not None:
                own = {key.removeprefix(name): tensor for key, tensor in trained.items() if key.startswith(name)}
                module.load_state_dict(own)
        return self._plain

    def _wrapped(self) -> Any:
        """The objective, so that its gradients are averaged over the team."""
        if self.team.size == 1:
            return self.objective
        if self.config.shard:
            return shard(self.objective, self.team)
        devices = [self.team.device] if self.team.device.type == "cuda" else None
        idle = self.objective.leaves_weights_out
        return DistributedDataParallel(self.objective, device_ids=devices, find_unused_parameters=idle)

    def _inputs(
        self,
        images: torch.Tensor,
        tags: Sequence[Sequence[int]],
        captions: torch.Tensor,
        owners: Sequence[int],
        guide: torch.Tensor | None,
        counted: float,
        generator: torch.Generator,
    ) -> Inputs:
        config, device = self.config, self.team.device
        image_keys = torch.tensor([tags_key(own) for own in tags], dtype=torch.long)
        caption_keys = image_keys[torch.tensor(owners, dtype=torch.long)]
        first = 0  # number of this process's first caption among those asked
        if config.gather_captions:
            parts = self.team.gather(captions)
            captions, caption_keys = torch.cat(parts), torch.cat(self.team.gather(caption_keys))
            first = sum(len(part) for part in parts[: self.team.rank])
        own = [[first + n for n, owner in enumerate(owners) if owner == image] for image in range(len(images))]
        unclear = alike(own, captions, image_keys, caption_keys) if config.pass_over_alike else None
        asked = draw_questions(tags, len(self.objective.descriptions), config.tags_per_image, generator)
        texts = draw_questions(own, len(captions), config.captions_per_image, generator, unclear)
        target = None if self.distillation is None or guide is None else self.distillation.target(guide.to(device))
        return Inputs(images.to(device), asked.to(device), texts.to(device), captions.to(device), target, counted)

    def _backward(self, inputs: Inputs, generator: torch.Generator, weight: float) -> Losses:
        """The gradient of the whole batch, worked through in `accumulate` parts; the parts' losses added up.

        Every part asks all captions of the batch, so what is added up is the objective of the undivided batch.
        """
        config = self.config
        size = -(-len(inputs.images) // config.accumulate)
        starts = range(0, len(inputs.images), size)
        found = []
        for start in starts:
            with self._holding_back(start != starts[-1]):
                with torch.autocast(self.team.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                    losses = self._runner(inputs.of(slice(start, start + size)), generator)
                (losses.total(config) * weight).backward()
            found.append(torch.stack([getattr(losses, name).detach() for name in LOSSES]) * weight)
        average_scalars(self.objective, self.team)
        mean = self.team.total(torch.stack(found).sum(dim=0)) / self.team.size
        return Losses(*mean.unbind())

    def _holding_back(self, more_to_come: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged once, after the last part."""
        if isinstance(self._runner, DistributedDataParallel):
            return self._runner.no_sync() if more_to_come else nullcontext()
        if self.config.shard and self.team.size > 1:
            self._runner.set_requires_gradient_sync(not more_to_come)
        return nullcontext()


def _blank(images: torch.Tensor) -> torch.Tensor:
    return images.new_zeros(1, *images.shape[1:])


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


def step_generator(seed: int, step: int, rank: int = 0) -> torch.Generator:
    """The source of everything random in a step of a process; dropout draws from the global one, seeded alike."""
    number = seed * 1_000_003 + step + rank * 9_999_991
    torch.manual_seed(number)
    return torch.Generator().manual_seed(number)


def epoch_order(count: int, epoch: int, seed: int) -> torch.Tensor:
    """The order in which an epoch visits the examples [count]."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 7919 + epoch))


def batches(order: torch.Tensor, size: int, team: Team = ALONE) -> Iterator[list[int]]:
    """Positions batch by batch, of a team's those of this process: together the team sees what one process would see
    in batches of its size times theirs. What does not fill the last batch waits for another epoch's order.
    """
    together = size * team.size
    for start in range(0, max(len(order) - together + 1, 1), together):
        own = order[start : start + together]
        yield own[team.rank * len(own) // team.size : (team.rank + 1) * len(own) // team.size].tolist()


def same_place(step: int, steps_an_epoch: int, now_an_epoch: int) -> int:
    """The step of an epoch of another length that has seen as much of it."""
    epoch, within = divmod(step, steps_an_epoch)
    return epoch * now_an_epoch + within * now_an_epoch // steps_an_epoch
