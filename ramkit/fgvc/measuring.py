"""How good a classifier is on photos whose kinds are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from ramkit.errors import InputError
from ramkit.features import read_batches
from ramkit.fgvc.examples import Example
from ramkit.measuring.metrics import top_k_accuracy
from ramkit.progress import Track, silent

_BATCH = 16

Predict = Callable[[torch.Tensor], dict[str, torch.Tensor]]  # pixels [B, 3, S, S] → probabilities [B, C] by name


@dataclass(frozen=True)
class Measured:
    """Probabilities [N, C] by every way there is, and kinds [N], of the photos that could be read."""

    predictions: dict[str, np.ndarray]
    kinds: np.ndarray
    images: list[str]
    unreadable: dict[str, str]


def measure(
    examples: Sequence[Example], prepare: Callable[[Image.Image], torch.Tensor], predict: Predict, track: Track = silent
) -> Measured:
    """Ask for the kind of every example's photo.

    Raises:
        InputError: none of the photos can be read.
    """
    references = [example.image for example in examples]
    found: dict[str, list[torch.Tensor]] = {}
    read: list[int] = []
    unreadable: dict[str, str] = {}
    batches = read_batches(references, lambda photo, _: prepare(photo), size=_BATCH)
    for positions, pixels, bad in track(batches, total=-(-len(references) // _BATCH), what="measuring"):
        unreadable.update({references[position]: reason for position, reason in bad.items()})
        if pixels is not None:
            read.extend(positions)
            for name, probabilities in predict(pixels).items():
                found.setdefault(name, []).append(probabilities.cpu())
    if not read:
        raise InputError(
            "None of the photos can be read.", cure=f"The first: {next(iter(unreadable.values()), 'there is none')}"
        )
    predictions = {name: torch.cat(parts).numpy() for name, parts in found.items()}
    kinds = np.array([examples[position].kind for position in read])
    return Measured(predictions, kinds, [references[position] for position in read], unreadable)


def summary(measured: Measured, answer: str) -> dict[str, Any]:
    """Share of photos whose kind comes first, and is among the first five, by the model's answer; and of the others."""
    chosen = measured.predictions[answer]
    labels = np.eye(chosen.shape[1], dtype=bool)[measured.kinds]
    return {
        "photos": len(measured.kinds),
        "top1": top_k_accuracy(chosen, labels, 1),
        "top5": top_k_accuracy(chosen, labels, 5),
        "answer": answer,
        **{f"top1_{name}": top_k_accuracy(rows, labels, 1) for name, rows in measured.predictions.items()},
    }
