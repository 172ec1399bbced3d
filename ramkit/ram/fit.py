"""The loop of training: all epochs, from the newest checkpoint where there is one."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ramkit.checkpoints import Checkpoints
from ramkit.errors import InputError
from ramkit.progress import Track
from ramkit.ram.captions import CaptionVectors, one_of
from ramkit.ram.objective import LOSSES, Losses
from ramkit.ram.photo_batches import ImageBatch, ImageSource
from ramkit.ram.training import Trainer, batches, epoch_order
from ramkit.ram.training_log import TrainingLog
from ramkit.triplets import Triplets

_SPEED_OVER = 20  # steps


@dataclass(frozen=True)
class Examples:
    """What is trained on."""

    triplets: Triplets
    usable: npt.NDArray[np.int64]  # positions of photos that may be read
    source: ImageSource
    captions: CaptionVectors


def fit(
    trainer: Trainer,
    examples: Examples,
    checkpoints: Checkpoints,
    log: TrainingLog,
    track: Track,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Train to the end. Returns what is to be told of it: steps, and whether an earlier run went before.

    Raises:
        InputError: no photo could be read.
    """
    config, team = trainer.config, trainer.team
    written_at = trainer.resume(checkpoints, tell)
    resumed = trainer.steps_done > 0
    if resumed:
        tell(f"going on after step {trainer.steps_done:,} of an earlier run")
    if team.first:
        log.go_on(written_at, trainer.steps_done)
    meter = Meter(trainer)
    total = config.epochs * trainer.steps_an_epoch
    steps = _steps(examples, trainer)
    for epoch, batch in track(steps, total=total, what="training", done=trainer.steps_done, detail=meter.told):
        losses = _step(trainer, batch, examples, epoch)
        meter.count(losses)
        if team.first:
            _write(log, trainer, epoch, losses, tell)
        if trainer.steps_done % config.checkpoint_steps == 0:
            trainer.save(checkpoints)
    if not trainer.optimizer.state:  # not one step has changed a weight
        raise none_readable()
    if trainer.steps_done % config.checkpoint_steps:
        trainer.save(checkpoints)  # what follows may be interrupted, too
    log.close()
    return {"steps": trainer.steps_done, "resumed": resumed}


class Meter:
    """How a run goes, for the person who watches it."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._ends = deque([time.monotonic()], maxlen=_SPEED_OVER + 1)
        self._loss: float | None = None

    def count(self, losses: Losses | None) -> None:
        self._ends.append(time.monotonic())
        if losses is not None:
            self._loss = float(losses.total(self._trainer.config))

    def told(self) -> str:
        """`loss 12.3  lr 1.0e-04  52 images/s`, the speed over the last steps."""
        trainer = self._trainer
        rate = trainer.optimizer.param_groups[0]["lr"]
        seen = (len(self._ends) - 1) * trainer.config.batch * trainer.team.size
        speed = seen / max(self._ends[-1] - self._ends[0], 1e-9)
        loss = "" if self._loss is None else f"loss {self._loss:.4g}  "
        return f"{loss}lr {rate:.1e}  {speed:,.0f} images/s"


def none_readable() -> InputError:
    return InputError("None of the photos to train on can be read.", cure="Check that they are where they were.")


def _steps(examples: Examples, trainer: Trainer) -> Iterator[tuple[int, ImageBatch]]:
    """(epoch, images) of every step that is not done yet; of a team's, those of this process."""
    config, done = trainer.config, trainer.steps_done
    for epoch in range(done // trainer.steps_an_epoch, config.epochs):
        order = torch.from_numpy(examples.usable)[epoch_order(len(examples.usable), epoch, config.seed)]
        skip = max(done - epoch * trainer.steps_an_epoch, 0)
        positions = islice(batches(order, config.batch, trainer.team), skip, None)
        for batch in examples.source.batches(positions, epoch):
            yield epoch, batch


def _step(trainer: Trainer, batch: ImageBatch, examples: Examples, epoch: int) -> Losses | None:
    """One step; None where no process could read a photo."""
    own = [examples.triplets.at(position) for position in batch.positions]
    chosen = [(number, one_of(example.captions, epoch)) for number, example in enumerate(own)]
    if not trainer.config.text_loss:
        chosen = []  # nothing would be learnt from them
    owners = [number for number, text in chosen if text]
    captions = examples.captions([text for _, text in chosen if text])
    return trainer.step(batch.images, [example.tags for example in own], captions, owners, batch.guide)


def _write(log: TrainingLog, trainer: Trainer, epoch: int, losses: Losses | None, tell: Callable[[str], None]) -> None:
    rate = trainer.optimizer.param_groups[0]["lr"]
    if losses is not None:
        log.step(trainer.steps_done, epoch, rate, losses)
    if trainer.steps_done % trainer.steps_an_epoch == 0:
        means = log.epoch(trainer.steps_done, epoch, rate)
        told = ", ".join(f"{name} loss {means[name]:.3f}" for name in LOSSES if means.get(name))
        tell(f"epoch {epoch + 1} of {trainer.config.epochs}: {told}")
