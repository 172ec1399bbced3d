"""What a report keeps of a measurement: every score, so that figures, thresholds and pictures can be made later.

scores.safetensors   logits [N, C] float32; labels [N, C] bool
photos.jsonl         one row a photo that could be read, in the order of N: image, labels (all of them, also those
                     that are no column)
names.jsonl          one row a name, in the order of C: name, in_vocabulary, threshold, tag (its number in the model's
                     vocabulary, or null), text (how it was asked), by_alias (the vocabulary has it under another name)
unreadable.jsonl     one row a photo that could not be read: image, error
models.jsonl         one row a model, the one measured first: model (as tables call it), scale (of its logits: `logit`,
                     or `cosine` of a model with two towers)

What was measured beside it on the same photos stands in `logits.1`, `names.1.jsonl` and so on.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ramkit.artifact import Artifact
from ramkit.files import read_rows, write_rows
from ramkit.tensors import load_tensors, save_tensors

SCORES, PHOTOS, UNREADABLE, MODELS = "scores.safetensors", "photos.jsonl", "unreadable.jsonl", "models.jsonl"
Scale = Literal["logit", "cosine"]


@dataclass(frozen=True)
class Name:
    """What one column of the scores was asked for."""

    name: str
    tag: int | None  # its number in the model's vocabulary; None: asked as an open-set word
    threshold: float | None  # least score at which it counts as found; None: the model has none
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
    model: str = ""  # as tables call it
    scale: Scale = "logit"

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """[N, C]: σ(logit), or the cosine as it is."""
        return torch.from_numpy(self.logits).sigmoid().numpy() if self.scale == "logit" else self.logits

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """[C], whether the vocabulary has the name."""
        return np.array([column.known for column in self.columns], dtype=bool)

    @property
    def thresholds(self) -> npt.NDArray[np.float32]:
        """[C], NaN where the model has none."""
        return np.array([column.threshold for column in self.columns], dtype=np.float32)


def save_measured(folder: Path, *models: Measured) -> None:
    """Write what models told of the same photos and names into a report's folder, the one measured first."""
    first = models[0]
    logits = {_numbered("logits", number): torch.from_numpy(one.logits) for number, one in enumerate(models)}
    save_tensors(folder / SCORES, {**logits, "labels": torch.from_numpy(first.labels)})
    photos = zip(first.photos, first.true, strict=True)
    write_rows(folder / PHOTOS, ({"image": image, "labels": own} for image, own in photos))
    for number, one in enumerate(models):
        write_rows(folder / _names_file(number), map(_row, one.columns))
    write_rows(folder / UNREADABLE, ({"image": image, "error": why} for image, why in first.unreadable.items()))
    write_rows(folder / MODELS, ({"model": one.model, "scale": one.scale} for one in models))


def read_measured(report: Artifact, number: int = 0) -> Measured:
    """What `save_measured` wrote of one of the models, counted from 0.

    Raises:
        ArtifactError: the report keeps no scores, or none of that model.
    """
    tensors = load_tensors(report.file(SCORES))
    photos = list(read_rows(report.file(PHOTOS)))
    columns = [_name(row) for row in read_rows(report.file(_names_file(number)))]
    about = list(read_rows(report.file(MODELS)))[number]
    return Measured(
        [row["image"] for row in photos],
        [row["labels"] for row in photos],
        columns,
        tensors[_numbered("logits", number)].numpy(),
        tensors["labels"].numpy(),
        {row["image"]: row["error"] for row in read_rows(report.file(UNREADABLE))},
        about["model"],
        about["scale"],
    )


def read_all_measured(report: Artifact) -> list[Measured]:
    """Of all models that were measured side by side."""
    return [read_measured(report, number) for number, _ in enumerate(read_rows(report.file(MODELS)))]


def _numbered(name: str, number: int) -> str:
    return f"{name}.{number}" if number else name


def _names_file(number: int) -> str:
    return f"{_numbered('names', number)}.jsonl"


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
