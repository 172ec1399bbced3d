"""The course of one training stage: its epochs in order, a checkpoint now and then, a line in the log for each epoch.

A stopped stage goes on from its newest checkpoint and ends as if it had never stopped, its log included.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ramkit.checkpoints import Checkpoints
from ramkit.fgvc.training import Outcome, Trainer
from ramkit.files import read_rows, write_rows
from ramkit.progress import Track

LOG = "log.jsonl"

Tell = Callable[[str], None]
# (epoch, steps of it that are done already) → outcomes of the steps that follow in that epoch
Steps = Callable[[int, int], Iterator[Outcome]]


def run(
    trainer: Trainer,
    steps: Steps,
    *,
    stage: str,
    epochs: int,
    steps_an_epoch: int,
    checkpoints: Checkpoints,
    every: int,
    folder: Path,
    track: Track,
    tell: Tell,
) -> bool:
    """Run a stage to its end; returns whether an earlier run went before.

    Args:
        every: steps between two checkpoints.
        folder: where the log is written.
    """
    meter = torch.zeros(3, dtype=torch.float64)  # photos, loss, right; of the epoch so far
    checkpoint = checkpoints.newest(tell)
    if checkpoint is not None:
        trainer.resume(checkpoint)
        meter = checkpoint.tensors["meter"]
    resumed = trainer.steps_done > 0
    if resumed:
        tell(f"{stage} goes on after step {trainer.steps_done:,} of an earlier run")
    first, total = trainer.team.first, epochs * steps_an_epoch
    rows = _earlier(folder / LOG, stage, trainer.steps_done // steps_an_epoch)
    outcomes = (
        outcome
        for epoch in range(trainer.steps_done // steps_an_epoch, epochs)
        for outcome in steps(epoch, max(trainer.steps_done - epoch * steps_an_epoch, 0))
    )
    for outcome in track(outcomes, total=total, what=stage, done=trainer.steps_done):
        meter += torch.tensor([outcome.photos, outcome.loss, outcome.right], dtype=torch.float64)
        ended = trainer.steps_done % steps_an_epoch == 0
        if ended:
            rows.append(_row(stage, trainer.steps_done // steps_an_epoch, meter))
            meter.zero_()
        if first and ended:
            write_rows(folder / LOG, rows)
            tell("{stage}, epoch {epoch}: loss {loss}, right {right:.1%}".format(**rows[-1]))
        if first and (trainer.steps_done % every == 0 or trainer.steps_done == total):
            state = {**trainer.state(), "meter": meter}
            checkpoints.save(trainer.steps_done, state, {"step": trainer.steps_done})
    return resumed


def _row(stage: str, epoch: int, meter: torch.Tensor) -> dict[str, Any]:
    photos, loss, right = meter.tolist()
    return {
        "stage": stage, "epoch": epoch, "photos": int(photos), "loss": round(loss / max(photos, 1), 4),
        "right": round(right / max(photos, 1), 4),
    }  # fmt: skip


def _earlier(path: Path, stage: str, epochs: int) -> list[dict[str, Any]]:
    """Lines of the log that still hold: of the stages before, and of this one's finished epochs."""
    rows = list(read_rows(path)) if path.exists() else []
    return [row for row in rows if row["stage"] < stage or (row["stage"] == stage and row["epoch"] <= epochs)]
