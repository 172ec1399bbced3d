"""Vectors of tags' descriptions: in memory, and in the file that embeddings and model artefacts share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ramkit.tensors import Precision, TensorFile, as_stored, from_stored, load_tensors, save_tensors

TENSORS, TEXTS = "embeddings.safetensors", "texts.jsonl"
Queries = Literal["descriptions", "template"]
_VECTORS, _COUNTS = "descriptions", "counts"


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
        if rows == list(range(len(self.counts))):
            return self
        return Embedded(self.descriptions[rows], self.counts[rows])


def read_embeddings(path: Path) -> Embedded:
    """What `save_embeddings` wrote, as float32 and whole: re-weighting reads every vector for every photo, and in half
    precision other numbers would come out. The published vocabulary's 4,585 × 51 × 512 take 457 MiB, half as much again
    while they are read.
    """
    tensors = load_tensors(path)
    return Embedded(tensors[_VECTORS], tensors[_COUNTS])


def save_embeddings(path: Path, embedded: Embedded, precision: Precision) -> None:
    save_tensors(path, {_VECTORS: embedded.descriptions, _COUNTS: embedded.counts}, precision)


class EmbeddingFile:
    """The same file, a few tags at a time: it is written and searched without ever being in memory whole.

    A vector is named by its row, i · D + j for description j of tag i, and handed on as it is stored.
    """

    def __init__(self, file: TensorFile) -> None:
        self._file = file
        self.tags, self.most, self.width = file.shape(_VECTORS)
        self._parts = [name for name in file.names if name != _COUNTS]

    @classmethod
    def open(cls, path: Path, *, writable: bool = False) -> "EmbeddingFile":
        """
        Raises:
            ArtifactError: not such a file.
        """
        return cls(TensorFile(path, writable=writable))

    @classmethod
    def create(cls, path: Path, counts: Sequence[int], *, width: int, precision: Precision) -> "EmbeddingFile":
        """A new file with room for so many descriptions of each tag, all zeros."""
        one = as_stored(_VECTORS, torch.zeros(1, width), precision)
        most = max(counts)
        shapes = {name: (part.dtype, (len(counts), most, part.shape[-1])) for name, part in one.items()}
        made = cls(TensorFile.create(path, {**shapes, _COUNTS: (torch.long, (len(counts),))}))
        made._file.write(_COUNTS, 0, torch.tensor(counts).numpy().tobytes())
        return made

    def __enter__(self) -> "EmbeddingFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.__exit__()

    def stored(self, vectors: torch.Tensor, precision: Precision) -> list[tuple[bytes, ...]]:
        """Vectors [N, E], each as it is stored."""
        parts = as_stored(_VECTORS, vectors, precision)
        return list(zip(*([row.numpy().tobytes() for row in parts[name]] for name in self._parts), strict=True))

    def row(self, row: int) -> tuple[bytes, ...]:
        """One vector as it is stored."""
        return tuple(self._file.read(name, row) for name in self._parts)

    def write(self, tag: int, rows: Sequence[tuple[bytes, ...] | None]) -> None:
        """Put the D vectors of one tag after another in their places, from a tag on; None leaves zeros."""
        for place, name in enumerate(self._parts):
            size = self._file.row_bytes(name)
            self._file.write(
                name, tag * self.most, b"".join(bytes(size) if row is None else row[place] for row in rows)
            )

    def sync(self) -> None:
        self._file.sync()

    def split(self, size: int) -> Iterator[Embedded]:
        """All tags, at most `size` at a time, as float32."""
        for first in range(0, self.tags, size):
            yield self.read(first, min(size, self.tags - first))

    def read(self, first: int, tags: int = 1) -> Embedded:
        """Some tags, as float32."""
        parts = {name: self._file.tensor(name, first * self.most, tags * self.most) for name in self._parts}
        vectors = from_stored(_VECTORS, parts).view(tags, self.most, self.width)
        return Embedded(vectors, self._file.tensor(_COUNTS, 0)[0, first : first + tags])
