"""Vectors of tags' descriptions: in memory, and in the file that embeddings and model artefacts share."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ramkit.tensors import Precision, load_tensors, save_tensors

TENSORS, TEXTS = "embeddings.safetensors", "texts.jsonl"
Queries = Literal["descriptions", "template"]


@dataclass(frozen=True)
class Embedded:
    """The descriptions of C tags."""

    descriptions: torch.Tensor  # d [C, D, E], unit vectors, zeros where a tag has fewer than D
    counts: torch.Tensor  # [C], descriptions a tag

    @property
    def present(self) -> torch.Tensor:
        """[C, D], true where a description stands."""
        return torch.arange(self.descriptions.shape[1]) < self.counts[:, None]

    def split(self, size: int) -> Iterator["Embedded"]:
        """The same tags, at most `size` at a time."""
        for descriptions, counts in zip(self.descriptions.split(size), self.counts.split(size), strict=True):
            yield Embedded(descriptions, counts)

    def queries(self, what: Queries) -> "Embedded":
        """All descriptions; or the first of each tag alone, which is its template ("a photo of a cat.")."""
        return self if what == "descriptions" else Embedded(self.descriptions[:, :1], self.counts.clamp(max=1))

    def choose(self, rows: list[int]) -> "Embedded":
        """Some of the tags, in the order given."""
        return Embedded(self.descriptions[rows], self.counts[rows])


def read_embeddings(path: Path) -> Embedded:
    """What `save_embeddings` wrote, as float32."""
    tensors = load_tensors(path)
    return Embedded(tensors["descriptions"], tensors["counts"])


def save_embeddings(path: Path, embedded: Embedded, precision: Precision) -> None:
    save_tensors(path, {"descriptions": embedded.descriptions, "counts": embedded.counts}, precision)
