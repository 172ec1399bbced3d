"""What a report keeps of a measurement: every score, so that figures, thresholds and pictures can be made later.

scores.safetensors   logits [N, C] float32; labels [N, C] bool
photos.jsonl         one row a photo that could be read, in the order of N: image, labels (all of them, also those
                     that are no column)
names.jsonl          one row a name, in the order of C: name, in_vocabulary, threshold, tag (its number in the model's
                     vocabulary, or null), text (how it was asked), by_alias (the vocabulary has it under another name)
unreadable.jsonl     one row a photo that could not be read: image, error
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ramkit.artifact import Artifact
from ramkit.files import read_rows, write_rows
from ramkit.tensors import load_tensors, save_tensors

SCORES, PHOTOS, NAMES, UNREADABLE = "scores.safetensors", "photos.jsonl", "names.jsonl", "unreadable.jsonl"


@dataclass(frozen=True)
class Name:
    """What one column of the scores was asked for."""

    name: str
    tag: int | None  # its number in the model's vocabulary; None: asked as an open-set word
    threshold: float  # least score σ(logit) at which it counts as found
    text: str = ""  # how it was asked, where not by its name
    by_alias: bool = False  # the vocabulary has it under another name

    @property
    def asked(self) -> str:
        return self.text or self.name

    @property
    def known(self) -> bool:
        return self.tag is not None


@dataclass(frozen=True)
class Measured:
    """Logits and labels [N, C] of N photos that could be read and C names."""

    photos: list[str]  # references
    true: list[list[str]]  # the names that are true of each photo, columns or not
    columns: list[Name]
    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.bool_]
    unreadable: dict[str, str] = field(default_factory=dict)  # reference → why

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """σ(logit) [N, C]."""
        return torch.from_numpy(self.logits).sigmoid().numpy()

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """[C], whether the vocabulary has the name."""
        return np.array([column.known for column in self.columns], dtype=bool)

    @property
    def thresholds(self) -> npt.NDArray[np.float32]:
        """[C]"""
        return np.array([column.threshold for column in self.columns], dtype=np.float32)


def save_measured(folder: Path, measured: Measured) -> None:
    """Write all files of a measurement into a report's folder."""
    tensors = {"logits": torch.from_numpy(measured.logits), "labels": torch.from_numpy(measured.labels)}
    save_tensors(folder / SCORES, tensors)
    write_rows(
        folder / PHOTOS,
        ({"image": image, "labels": own} for image, own in zip(measured.photos, measured.true, strict=True)),
    )
    write_rows(folder / NAMES, map(_row, measured.columns))
    write_rows(folder / UNREADABLE, ({"image": image, "error": why} for image, why in measured.unreadable.items()))


def read_measured(report: Artifact) -> Measured:
    """What `save_measured` wrote.

    Raises:
        ArtifactError: the report keeps no scores.
    """
    tensors = load_tensors(report.file(SCORES))
    photos = list(read_rows(report.file(PHOTOS)))
    return Measured(
        [row["image"] for row in photos],
        [row["labels"] for row in photos],
        [_name(row) for row in read_rows(report.file(NAMES))],
        tensors["logits"].numpy(),
        tensors["labels"].numpy(),
        {row["image"]: row["error"] for row in read_rows(report.file(UNREADABLE))},
    )


def _row(column: Name) -> dict[str, Any]:
    return {
        "name": column.name,
        "in_vocabulary": column.known,
        "threshold": column.threshold,
        "tag": column.tag,
        "text": column.asked,
        "by_alias": column.by_alias,
    }


def _name(row: dict[str, Any]) -> Name:
    text = row["text"] if row["text"] != row["name"] else ""
    return Name(row["name"], row["tag"], row["threshold"], text, row["by_alias"])
