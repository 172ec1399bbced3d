"""What a training run tells of itself: a row a step in steps.csv, a row an epoch in log.jsonl, and TensorBoard.

The files hold nothing that differs between two runs of the same settings, so they are part of the artefact. A run that
goes on from a checkpoint first forgets the rows after it: those steps are done again.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ramkit.errors import MissingError
from ramkit.files import read_rows, to_json_line, write_rows, write_whole
from ramkit.ram.objective import LOSSES, Losses

STEPS, EPOCHS = "steps.csv", "log.jsonl"
COLUMNS = ("step", "epoch", "learning_rate", *LOSSES)


class TrainingLog:
    """Appends to the files of a folder; knows the losses of the epoch at hand."""

    def __init__(self, folder: Path, *, tensorboard: Path | None = None) -> None:
        self._steps, self._epochs, self._board_folder = folder / STEPS, folder / EPOCHS, tensorboard
        self._of_epoch: dict[str, list[float]] = {name: [] for name in LOSSES}
        self._board: Any = None

    def go_on(self, written_at: int, steps_done: int) -> None:
        """Forget what came after the checkpoint, a line that was cut off in the middle too.

        Args:
            written_at: the checkpoint's step; what is kept of the files is numbered anew if it is now another one.
            steps_done: that step as it is counted now.
        """

        def now(step: int) -> int:
            return step if written_at == steps_done else step * steps_done // written_at

        steps = {now(int(row["step"])): row for row in _read_steps(self._steps) if int(row["step"]) <= written_at}
        lines = [",".join([str(step), *list(row.values())[1:]]) for step, row in steps.items()]
        write_whole(self._steps, "\n".join([",".join(COLUMNS), *lines]) + "\n")
        epochs = list(read_rows(self._epochs)) if self._epochs.exists() else []
        epochs = [{**row, "step": now(row["step"])} for row in epochs if row["step"] <= written_at]
        write_rows(self._epochs, epochs)
        ended = epochs[-1]["step"] if epochs else 0
        for name, values in self._of_epoch.items():
            values[:] = [float(row[name]) for step, row in steps.items() if step > ended]
        if self._board_folder is not None:
            self._board = _board(self._board_folder, steps_done)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def step(self, step: int, epoch: int, learning_rate: float, losses: Losses) -> None:
        """After `step` steps, in an epoch counted from 0."""
        values = {name: float(getattr(losses, name)) for name in LOSSES}
        for name, value in values.items():
            self._of_epoch[name].append(float(f"{value:.6g}"))
        row = [str(step), str(epoch + 1), f"{learning_rate:.6g}", *(f"{value:.6g}" for value in values.values())]
        with self._steps.open("a", encoding="utf-8") as stream:
            stream.write(",".join(row) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"loss/{name}", value, step)
            self._board.add_scalar("learning_rate", learning_rate, step)

    def epoch(self, step: int, epoch: int, learning_rate: float) -> dict[str, float]:
        """Close an epoch: its mean losses, written and given back."""
        means = {name: round(sum(values) / len(values), 4) for name, values in self._of_epoch.items() if values}
        with self._epochs.open("a", encoding="utf-8") as stream:
            stream.write(to_json_line({"epoch": epoch + 1, "step": step, "learning_rate": learning_rate, **means}))
        for values in self._of_epoch.values():
            values.clear()
        return means


def _read_steps(path: Path) -> Iterator[dict[str, str]]:
    """Whole rows of a file of steps; none where there is no file."""
    if path.exists():
        with path.open(encoding="utf-8", newline="") as stream:
            yield from (row for row in csv.DictReader(stream) if None not in row.values() and None not in row)


def _board(folder: Path, steps_done: int) -> Any:
    """A writer for TensorBoard, which is told to forget what was written there of later steps."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingError("TensorBoard is not installed.", cure="Run: pip install 'ramkit[tensorboard]'") from None
    return SummaryWriter(str(folder), purge_step=steps_done + 1)
