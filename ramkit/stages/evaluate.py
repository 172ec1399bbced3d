"""model + photos with known labels → report: how good the model's scores are.

What is true of a photo comes from people (`labels` in a shard or JSON Lines file), from the captions of a `triplets`
artefact, or, where neither is named, from the captions of the photos that training kept aside. Captions leave much
out: figures on them compare models, they do not tell how often a model is right. Names that the vocabulary holds
neither as tags nor as aliases are asked as open-set words and reported on their own.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.config import EvaluateConfig, as_dict
from ramkit.embeddings import Embedded
from ramkit.errors import InputError
from ramkit.features import read_batches
from ramkit.files import read_rows, write_whole
from ramkit.labels import LabelledPhoto, read_labels
from ramkit.measured import Measured, Name, save_measured
from ramkit.metrics import average_precisions, best_threshold, precision_recall_f1
from ramkit.progress import Track, silent
from ramkit.tagger import Tagger, find_model
from ramkit.triplets import read_triplets, split

METRICS, PER_TAG = "metrics.json", "per_tag.csv"
_BATCH = 16
_LISTED = 20


def evaluate(
    *,
    artifacts: Path,
    config: EvaluateConfig,
    sources: Sequence[str] = (),
    model: str | None = None,
    triplets: str | None = None,
    track: Track = silent,
) -> Artifact:
    """Score photos whose labels are known and publish a report.

    Args:
        sources: `.tar` shards or `.jsonl` files with labels.
        triplets: a triplets artefact whose tags are the labels, instead of sources.

    Raises:
        InputError: no photo can be read, or no label is true of any.
    """
    tagger = Tagger(find_model(artifacts, model))
    inputs = [tagger.source]
    if sources:
        photos, labels_from = (
            read_labels(sources, image_field=config.image_field, labels_field=config.labels_field),
            "people",
        )
    else:
        origin = artifact.find(artifacts, "triplets", triplets) if triplets else _own_triplets(artifacts, tagger)
        photos = _from_triplets(origin, tagger, everything=triplets is not None)
        inputs.append(origin)
        labels_from = "captions" if triplets else "captions of photos kept aside"
    measured = _measure(tagger, photos, config, track)
    found = average_precisions(measured.scores, measured.labels)
    metrics = {"labels_from": labels_from, **_metrics(measured, found, tagger.threshold)}
    settings = {**as_dict(config), "sources": [Path(source).name for source in sources]}
    with artifact.draft(artifacts, "report", inputs=inputs, config=settings) as work:
        save_measured(work.path, measured)
        write_whole(work.path / METRICS, json.dumps(metrics, indent=2) + "\n")
        write_whole(work.path / PER_TAG, _per_tag_csv(measured, found))
        work.statistics = {key: value for key, value in metrics.items() if isinstance(value, int | float | str)}
        return work.publish()


def read_metrics(report: Artifact) -> dict[str, Any]:
    """The figures of a report, per-tag ones included."""
    metrics: dict[str, Any] = json.loads(report.file(METRICS).read_text(encoding="utf-8"))
    return metrics


def _own_triplets(artifacts: Path, tagger: Tagger) -> Artifact:
    """The triplets that the model was trained on."""
    wanted = tagger.source.manifest["inputs"].get("triplets")
    for version in artifact.versions(artifacts, "triplets"):
        if artifact.read_manifest(artifacts / "triplets" / f"v{version}")["id"] == wanted:
            return artifact.find(artifacts, "triplets", str(version))
    raise InputError(
        f"{artifacts}: does not hold the triplets that {tagger.source.name} was trained on.",
        cure="Name labelled photos (ramkit evaluate LABELS.jsonl) or --triplets.",
    )


def _from_triplets(origin: Artifact, tagger: Tagger, *, everything: bool) -> list[LabelledPhoto]:
    names = sorted({tag for row in read_rows(origin.file("triplets.jsonl")) for tag in row["tags"]})
    photos = read_triplets(origin, names)
    if not everything:
        _, photos = split(photos, tagger.source.config.get("validation", 0.0))
    if not photos:
        raise InputError(f"{origin.name}: no photo to evaluate on.", cure="Train with validation above 0.")
    return [LabelledPhoto(photo.image, [names[tag] for tag in photo.tags]) for photo in photos]


def _measure(tagger: Tagger, photos: Sequence[LabelledPhoto], config: EvaluateConfig, track: Track) -> Measured:
    columns = [_column(tagger, name) for name in _names(photos, config.least_positives)]
    asked, order = _questions(tagger, columns)
    references = [photo.image for photo in photos]
    batches = read_batches(references, lambda photo, _: tagger.preprocess(photo), size=_BATCH)
    rows: list[torch.Tensor] = []
    read: list[int] = []
    unreadable: dict[str, str] = {}
    for positions, pixels, bad in track(batches, total=-(-len(references) // _BATCH), what="evaluating"):
        unreadable.update({references[position]: reason for position, reason in bad.items()})
        if pixels is not None:
            features = tagger.features(pixels)
            rows.append(torch.cat([tagger.logits(features, part) for part in asked], dim=1))
            read.extend(positions)
    if not rows:
        raise InputError("None of the photos can be read.", cure="Check that they are where the source says.")
    true = [photos[position].labels for position in read]
    labels = np.array([[column.name in own for column in columns] for own in map(set, true)])
    if not labels.any():
        raise InputError(
            "No name is true of a photo that can be read.", cure=f"The first: {next(iter(unreadable.values()))}"
        )
    logits = torch.cat(rows).numpy()[:, order]
    return Measured([references[position] for position in read], true, columns, logits, labels, unreadable)


def _column(tagger: Tagger, name: str) -> Name:
    number = tagger.numbers.get(name.lower())
    return Name(name, number, tagger.threshold if number is None else tagger.thresholds[number])


def _questions(tagger: Tagger, columns: Sequence[Name]) -> tuple[list[Embedded], np.ndarray]:
    """The columns' descriptions, tags before open-set words, and the order [C] that brings answers to columns."""
    own = tagger.vocabulary.choose([column.tag for column in columns if column.tag is not None])
    typed = [column.name for column in columns if not column.known]
    order = np.argsort(np.argsort([not column.known for column in columns], kind="stable"), kind="stable")
    return [own, *([tagger.describe(typed)] if typed else [])], order


def _names(photos: Sequence[LabelledPhoto], least: int) -> list[str]:
    counts: dict[str, int] = {}
    for photo in photos:
        for name in set(photo.labels):
            counts[name] = counts.get(name, 0) + 1
    names = sorted(name for name, count in counts.items() if count >= least)
    if not names:
        raise InputError(f"No name is true of {least} of {len(photos)} photos.", cure="Check the labels.")
    return names


def _metrics(measured: Measured, found: np.ndarray, threshold: float) -> dict[str, Any]:
    """All figures; `found` is the AP of each name [C], NaN where it has no positives."""
    known, scores = measured.known, measured.scores
    at_own = precision_recall_f1(scores, measured.labels, threshold)
    best, best_f1 = best_threshold(scores, measured.labels)
    return {
        "photos": len(measured.labels),
        "unreadable_photos": len(measured.unreadable),
        "unreadable": list(measured.unreadable.values())[:_LISTED],
        "names": len(measured.names),
        "mAP": _mean(found),
        "names_in_vocabulary": int(known.sum()),
        "mAP_in_vocabulary": _mean(found[known]),
        "names_open_set": int((~known).sum()),
        "mAP_open_set": _mean(found[~known]),
        "threshold": threshold,
        "precision": at_own.precision,
        "recall": at_own.recall,
        "f1": at_own.f1,
        "best_threshold": best,
        "best_f1": best_f1,
        "per_tag": [
            {"tag": name, "in_vocabulary": bool(flag), "positives": int(count), "ap": _number(ap)}
            for name, flag, count, ap in zip(
                measured.names, measured.known, measured.labels.sum(axis=0), found, strict=True
            )
        ],
    }


def _mean(found: np.ndarray) -> float | None:
    """None, not NaN, where there is nothing to average: JSON has no NaN."""
    return _number(np.nanmean(found)) if not np.isnan(found).all() else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _per_tag_csv(measured: Measured, found: np.ndarray) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["tag", "in_vocabulary", "positives", "ap"])
    counts = measured.labels.sum(axis=0)
    writer.writerows(zip(measured.names, measured.known, counts, found, strict=True))
    return out.getvalue()
