"""The two stages of MP-FGVC's training (arXiv 2309.08912, "Optimization").

    stage 1   L = L_v + L_i2T      the image encoder, its classifier and the prompts X; the text encoder rests
    stage 2   L = L_2              VLFM and its classifier; all else rests, so E_V and E_T are computed once

L_v and L_2 are cross-entropies of ŷ_1 and ŷ_2, L_i2T that of softmax_c(cos(V_i, T_c) / τ). A step of a team of
processes is that of one process with the whole batch: losses are divided by the photos of all, gradients summed. Only
BatchNorm, where an encoder trains it, sees each process's part alone; the first one's statistics are kept.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ramkit.checkpoints import Checkpoint
from ramkit.config import FineTrainConfig
from ramkit.distributed import ALONE, Team
from ramkit.fgvc.model import FineHead
from ramkit.fgvc.prompts import Prompts
from ramkit.fgvc.vision import Vision

_MOMENTUM = 0.9  # of SGD


@dataclass(frozen=True)
class Outcome:
    """Sums over the photos of a step, of all processes."""

    photos: float
    loss: float
    right: float  # photos whose kind came out first


class Trainer:
    """Weights, optimiser and step count of one stage.

    Args:
        module: what the stage trains, and what rests of it; saved in checkpoints.
        groups: parameter groups with a `scale` each, of the learning rate.
        steps: of the whole stage; `warmup` of them with a rising rate.
    """

    def __init__(
        self, module: nn.Module, groups: list[dict[str, object]], *, rate: float, steps: int, warmup: int,
        config: FineTrainConfig, team: Team = ALONE,
    ) -> None:  # fmt: skip
        self.module, self.config, self.team = module, config, team
        self._rate, self._steps, self._warmup = rate, steps, warmup
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(groups, lr=rate)
            if config.optimizer == "adamw"
            else torch.optim.SGD(groups, lr=rate, momentum=_MOMENTUM)
        )
        self.weights = [weight for group in groups for weight in group["params"]]  # type: ignore[attr-defined]
        self.steps_done = 0

    def step(self, loss: torch.Tensor, right: torch.Tensor, photos: int) -> Outcome:
        """One update of the weights by the sum of this process's losses.

        Args:
            loss: summed over the photos, 0 where there is none.
            right: how many of them came out right.
        """
        counted = torch.tensor([photos, float(loss.detach()), float(right)], device=self.team.device)
        total = Outcome(*self.team.total(counted).tolist())
        rate = self._rate * schedule(self.steps_done, self._steps, self._warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad()
        if loss.requires_grad:
            (loss / max(total.photos, 1)).backward()  # type: ignore[no-untyped-call]
        if self.team.size > 1:
            for weight in self.weights:
                weight.grad = self.team.total(torch.zeros_like(weight) if weight.grad is None else weight.grad)
        if total.photos:
            if self.config.clip_gradient:
                nn.utils.clip_grad_norm_(self.weights, self.config.clip_gradient)
            self.optimizer.step()
        self.steps_done += 1
        return total

    def state(self) -> dict[str, torch.Tensor]:
        """Weights and the optimiser's moments, by name."""
        tensors = {f"module.{name}": tensor for name, tensor in self.module.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()})
        return tensors

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from what `state` gave."""
        weights: dict[str, torch.Tensor] = {}
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in checkpoint.tensors.items():
            part, _, rest = name.partition(".")
            if part == "module":
                weights[rest] = tensor
            elif part == "optimizer":
                index, _, entry = rest.partition(".")
                moments.setdefault(int(index), {})[entry] = tensor
        self.module.load_state_dict(weights)
        self.optimizer.load_state_dict({"state": moments, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.steps_done = checkpoint.counts["step"]


class StageOne:
    """The image encoder, its classifier and the prompts, trained together."""

    def __init__(
        self, vision: Vision, head: FineHead, prompts: Prompts | None, config: FineTrainConfig, steps_an_epoch: int,
        team: Team = ALONE,
    ) -> None:  # fmt: skip
        self.vision, self.head, self.prompts, self.config, self.team = vision, head, prompts, config, team
        parts = {"vision": vision, "head": head, **({"prompts": prompts} if prompts is not None else {})}
        new = [head.classifier, *(part for part in (head.projection, prompts) if part is not None)]
        groups = parameter_groups(vision, new, config)
        steps = config.epochs * steps_an_epoch
        self.trainer = Trainer(
            nn.ModuleDict(parts), groups, rate=config.learning_rate, steps=steps,
            warmup=round(config.warmup_epochs * steps_an_epoch), config=config, team=team,
        )  # fmt: skip

    def step(self, inputs: torch.Tensor, kinds: torch.Tensor, *, frozen_done: bool) -> Outcome:
        """One update.

        Args:
            inputs: pixels [B, 3, S, S] or, where `frozen_done`, what the encoder's frozen part gave of them.
            kinds: numbers [B].
        """
        if not len(kinds):
            return self.trainer.step(torch.zeros(()), torch.zeros(()), 0)
        with autocast(self.config, inputs.device):
            image = self.vision.trained(inputs if frozen_done else self.vision.frozen(inputs))  # E_V [B, V]
            logits = self.head.classifier(image).float()
            loss = F.cross_entropy(logits, kinds, label_smoothing=self.config.label_smoothing, reduction="sum")
            if self.prompts is not None:
                similar = self.head.image_to_text(image, self.prompts(), self.config.temperature).float()
                loss = loss + F.cross_entropy(similar, kinds, reduction="sum")
        return self.trainer.step(loss, (logits.argmax(1) == kinds).sum(), len(kinds))


class StageTwo:
    """VLFM and its classifier, trained on features that no longer change."""

    def __init__(self, head: FineHead, config: FineTrainConfig, steps_an_epoch: int) -> None:
        self.head, self.config = head, config
        groups = decayed_apart(head.stage_two().parameters(), 1.0, config.weight_decay)
        self.trainer = Trainer(
            head, groups, rate=config.fusion_learning_rate, steps=config.fusion_epochs * steps_an_epoch,
            warmup=round(min(config.warmup_epochs, 1.0) * steps_an_epoch), config=config,
        )  # fmt: skip
        head.requires_grad_(False)
        for weight in self.trainer.weights:
            weight.requires_grad_(True)

    def step(self, image: torch.Tensor, kinds: torch.Tensor) -> Outcome:
        """One update, of image features E_V [B, V] and the numbers of their kinds [B]."""
        with autocast(self.config, image.device):
            logits = self.head.fused(image).float()
        loss = F.cross_entropy(logits, kinds, label_smoothing=self.config.label_smoothing, reduction="sum")
        return self.trainer.step(loss, (logits.argmax(1) == kinds).sum(), len(kinds))


def schedule(step: int, steps: int, warmup: int) -> float:
    """The learning rate's factor: a linear rise, then half a cosine down to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))) / 2


def parameter_groups(vision: Vision, new: Sequence[nn.Module], config: FineTrainConfig) -> list[dict[str, object]]:
    """Weights by how fast they learn: an encoder's layer `layer_decay` times the one above it, new modules
    `head_factor` times the last. Norms, biases and single vectors do not decay."""
    by_level: dict[int, list[nn.Parameter]] = {}
    for weight, above in vision.levels().items():
        by_level.setdefault(above, []).append(weight)
    groups: list[dict[str, object]] = []
    for above, weights in sorted(by_level.items()):
        groups += decayed_apart(weights, config.layer_decay**above, config.weight_decay)
    return groups + decayed_apart(
        (weight for module in new for weight in module.parameters()), config.head_factor, config.weight_decay
    )


def decayed_apart(weights: Iterable[nn.Parameter], scale: float, decay: float) -> list[dict[str, object]]:
    """Groups of one scale: matrices and filters, which decay; norms, biases, tokens and position embeddings, which do
    not (in tensors as [1, T, D] or [D])."""
    listed = list(weights)
    still = [weight for weight in listed if weight.ndim < 2 or weight.shape[0] == 1]
    rest = [weight for weight in listed if weight.ndim >= 2 and weight.shape[0] != 1]
    groups = [(rest, decay), (still, 0.0)]
    return [{"params": own, "scale": scale, "weight_decay": amount} for own, amount in groups if own]


def epoch_batches(count: int, size: int, epoch: int, seed: int) -> list[list[int]]:
    """An epoch's batches of positions below `count`, in random order; what fills no batch waits for another epoch."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 7919 + epoch)).tolist()
    return [order[start : start + size] for start in range(0, max(count - size + 1, 1), size)]


def autocast(config: FineTrainConfig, device: torch.device) -> torch.autocast:
    """The configuration's precision for what runs within."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16")
