"""Several processes that train one model, as torchrun starts them; and one alone, which is the same code.

torchrun tells each process its RANK, WORLD_SIZE and LOCAL_RANK. Numbers that all need go through collectives (NCCL for
tensors on GPUs, gloo for the others); words, such as a folder or the news of a failure, through torchrun's store, which
outlives any process and waits as long as it takes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from ramkit.errors import InputError, RamkitError

Device = Literal["auto", "cpu", "cuda"]
_FOREVER = timedelta(days=365)
_FAILED = "failed"


@dataclass(frozen=True)
class Team:
    """The processes of a run, seen from one of them."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    store: Any = None  # of words, between them

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.rank == 0

    def share(self, name: str, word: str = "") -> str:
        """What the first process calls `name`: it gives the word, the others wait for it."""
        if self.store is None:
            return word
        if self.first:
            self.store.set(name, word)
        else:
            self.store.wait([name], _FOREVER)
        return str(self.store.get(name).decode())

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over the processes, element by element."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def gather(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Rows [N, …] of every process, in the order of their ranks; each may have another N."""
        if self.size == 1:
            return [rows]
        counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(self.size)]
        dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
        most = max(int(count) for count in counts)
        padded = rows.new_zeros(most, *rows.shape[1:])
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(found, padded)
        return [part[: int(count)] for part, count in zip(found, counts, strict=True)]


ALONE = Team()


def choose_device(wanted: Device) -> torch.device:
    """The GPU of this process (by LOCAL_RANK) where there is one and it is not refused, else the CPU.

    Raises:
        InputError: a GPU is asked for and there is none for this process.
    """
    number = int(os.environ.get("LOCAL_RANK", "0"))
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and not count):
        return torch.device("cpu")
    if number >= count:
        raise InputError(
            f"Process {number} of this machine has no GPU ({count} here).",
            cure='Start as many processes as there are GPUs, or set device = "cpu".',
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


@contextmanager
def join_team(wanted: Device = "auto") -> Iterator[Team]:
    """The team that torchrun started, for as long as the block lasts; a team of one where it did not.

    Where one process fails, it alone tells of its error: the others, whose collectives then break, end without a word.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield Team(device=choose_device(wanted))
        return
    rank = int(os.environ["RANK"])
    store = PrefixStore(f"ramkit/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", next(rendezvous("env://"))[0])
    try:
        device = choose_device(wanted)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=PrefixStore("group", store), rank=rank, world_size=size)
        yield Team(rank, size, device, store)
    except BaseException as error:
        if store.compare_set(_FAILED, "", str(rank)).decode() != str(rank):
            raise SystemExit(1) from None
        if isinstance(error, RamkitError):
            error.of_one_process = True
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
