"""fine + photos whose kinds are known → report: how often the right kind comes first, and what is taken for what."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.distributed import choose_device
from ramkit.errors import InputError
from ramkit.fgvc.classifier import KIND, Classifier
from ramkit.fgvc.examples import Example, FineDataset, read_dataset
from ramkit.fgvc.measuring import Measured, measure, summary
from ramkit.files import write_whole
from ramkit.measuring.metrics import confusions, recalls
from ramkit.progress import Track, silent

METRICS, PER_KIND = "metrics.json", "per_kind.csv"
_LISTED = 20


def fine_evaluate(
    *,
    artifacts: Path,
    source: str = "",
    split: str = "",
    layout: str = "",
    model: str | None = None,
    track: Track = silent,
) -> Artifact:
    """Ask a fine-grained model for the kinds of photos, and publish a report.

    Args:
        source: where the photos are, in a layout that training reads; empty for those the model was trained beside.
        split: `validation`, `test` or `train`; empty for what is held out.
        layout: how they lie; empty for that of training.

    Raises:
        InputError: no photos there, kinds that the model does not know, or no photo that can be read.
    """
    classifier = Classifier(artifact.find(artifacts, KIND, model), choose_device("auto"))
    config = classifier.source.config
    where = source or config["source"]
    if not source and not Path(where).exists():
        raise InputError(f"{where}: the photos of the training are not there.", cure="Name a folder of photos.")
    dataset = read_dataset(where, layout or (config["layout"] if not source else "auto"))
    examples = _numbered(dataset, dataset.split(split), classifier.kinds, where)
    measured = measure(examples, classifier.prepare, lambda pixels: _predict(classifier, pixels), track)
    answer = classifier.head.answer
    found = recalls(measured.predictions[answer], measured.kinds)
    metrics = {
        "model": classifier.source.name,
        "photos_of": Path(where).name,
        **summary(measured, answer),
        "mean_per_kind": float(np.nanmean(found)),
        "unreadable_photos": len(measured.unreadable),
        "unreadable": list(measured.unreadable.values())[:_LISTED],
        "per_kind": _per_kind(classifier.kinds, measured, found),
        "confusions": [
            {"kind": classifier.kinds[kind], "taken_for": classifier.kinds[taken], "times": times}
            for kind, taken, times in confusions(measured.predictions[answer], measured.kinds)
        ],
    }
    settings = {"source": Path(where).name, "split": split}
    with artifact.draft(artifacts, "report", inputs=[classifier.source], config=settings) as work:
        write_whole(work.path / METRICS, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
        write_whole(work.path / PER_KIND, _as_csv(metrics["per_kind"]))
        work.statistics = {key: value for key, value in metrics.items() if isinstance(value, int | float | str)}
        return work.publish()


def read_metrics(report: Artifact) -> dict[str, Any]:
    """The figures of a report, those of each kind included."""
    metrics: dict[str, Any] = json.loads(report.file(METRICS).read_text(encoding="utf-8"))
    return metrics


def _predict(classifier: Classifier, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    return classifier.predictions(classifier.features(pixels))


def _numbered(dataset: FineDataset, examples: list[Example], kinds: list[str], where: str) -> list[Example]:
    """The examples, their kinds numbered as the model numbers its own."""
    numbers = {kind: number for number, kind in enumerate(kinds)}
    if unknown := sorted({dataset.kinds[example.kind] for example in examples} - numbers.keys()):
        raise InputError(
            f"{where}: the model does not know {', '.join(unknown[:5])} ({len(unknown)} such kinds).",
            cure="Name photos of the kinds that it was trained on.",
        )
    return [Example(example.image, numbers[dataset.kinds[example.kind]]) for example in examples]


def _per_kind(kinds: list[str], measured: Measured, found: np.ndarray) -> list[dict[str, Any]]:
    counts = np.bincount(measured.kinds, minlength=len(kinds))
    return [
        {"kind": kind, "photos": int(count), "top1": float(share)}
        for kind, count, share in zip(kinds, counts, found, strict=True)
        if count
    ]


def _as_csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, ["kind", "photos", "top1"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
