"""Processes that decode photos while another trains."""

import multiprocessing
import os
import threading
from collections.abc import Iterable
from typing import Any

from torch.utils.data import DataLoader, Dataset


def in_workers(photos: Dataset[Any], batches: Iterable[list[Any]], workers: int) -> DataLoader[Any]:
    """What `photos` gives for each item of each batch, as lists, worked out by so many processes; 0 for this one."""
    return DataLoader(
        photos,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=list,
        multiprocessing_context=_context(type(photos).__module__) if workers else None,
        worker_init_fn=_end_with_the_trainer if workers else None,
    )


def _context(module: str) -> Any:
    """Where worker processes come from: forks of a process of one thread. A fork of this one, which has many, may
    hang; Python warns of it since 3.12."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module, "torchvision.transforms.v2"])  # imported once, not by each worker
    return context


def _end_with_the_trainer(worker: int) -> None:
    """Leave when the process that trains is gone, killed too: workers and the server that forked them hold one another
    up, so that they would stay."""
    del worker
    trainer = multiprocessing.parent_process()
    assert trainer is not None

    def leave() -> None:
        trainer.join()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()
