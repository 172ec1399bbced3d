"""Checkpoints of a training run: written whole or not at all, the newest two kept, so that one can be damaged."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ramkit.files import sync_directory
from ramkit.tensors import write_file

_ENDING, _UNFINISHED = ".safetensors", ".tmp"
_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and what was counted."""

    tensors: dict[str, torch.Tensor]
    counts: dict[str, int]


@dataclass(frozen=True)
class Checkpoints:
    """All checkpoints of one run: files `BASE-checkpoint-STEP.safetensors` beside one another."""

    base: Path

    def save(self, step: int, tensors: dict[str, torch.Tensor], counts: dict[str, int]) -> None:
        """Write one, durably; then remove all but the newest two."""
        path = self._path(step)
        unfinished = path.with_suffix(_UNFINISHED)
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        write_file(unfinished, whole, {name: str(count) for name, count in counts.items()})
        with unfinished.open("rb") as stream:
            os.fsync(stream.fileno())
        unfinished.replace(path)
        sync_directory(path.parent)
        for old in self._paths()[:-_KEPT]:
            old.unlink(missing_ok=True)

    def newest(self, tell: Callable[[str], None] = lambda message: None) -> Checkpoint | None:
        """The newest that can be read; of those that cannot it tells."""
        for path in reversed(self._paths()):
            try:
                return _read(path)
            except (SafetensorError, OSError) as error:
                tell(f"{path.name} is damaged ({error}); going on from an earlier one")
        return None

    def written_at(self, step: int) -> Checkpoint:
        """That of a step."""
        return _read(self._path(step))

    def remove(self) -> None:
        """Remove all, and what a killed run left of one."""
        for path in [*self._paths(), *self._paths(_UNFINISHED)]:
            path.unlink(missing_ok=True)

    def _path(self, step: int) -> Path:
        return self.base.with_name(f"{self.base.name}-checkpoint-{step:09}{_ENDING}")

    def _paths(self, ending: str = _ENDING) -> list[Path]:
        return sorted(self.base.parent.glob(f"{self.base.name}-checkpoint-*{ending}"))


def _read(path: Path) -> Checkpoint:
    with safe_open(path, framework="pt") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
        return Checkpoint(tensors, {name: int(count) for name, count in stream.metadata().items()})
