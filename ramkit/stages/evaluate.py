"""model + photos with known labels → report: how good the model's scores are.

What is true of a photo comes from people (`labels` in a shard or JSON Lines file), from the captions of a `triplets`
artefact, or, where neither is named, from the captions of the photos that training kept aside. Captions leave much
out: figures on them compare models, they do not tell how often a model is right. Names that the vocabulary holds
neither as tags nor as aliases are asked as open-set words and reported on their own.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
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
from ramkit.figures import Sampling, figures, per_tag_csv
from ramkit.files import read_rows, write_whole
from ramkit.labels import LabelColumns, LabelledPhoto, LabelledSet, read_labels
from ramkit.labels.images import missing_of
from ramkit.labels.labelled import of_photos, with_names
from ramkit.labels.published import read_benchmark
from ramkit.labels.sources import read_names
from ramkit.measured import Measured, Name, save_measured
from ramkit.progress import Track, silent
from ramkit.tagger import Tagger, find_model
from ramkit.text.published_descriptions import read_published_descriptions
from ramkit.triplets import read_triplets, split

METRICS, PER_TAG = "metrics.json", "per_tag.csv"
_BATCH = 16
_LISTED = 20


def evaluate(
    *,
    artifacts: Path,
    config: EvaluateConfig,
    labelled: LabelledSet | None = None,
    model: str | None = None,
    triplets: str | None = None,
    track: Track = silent,
) -> Artifact:
    """Score photos whose labels are known and publish a report.

    Args:
        labelled: the photos, as `read_set` gives them; None takes their labels from captions.
        triplets: a triplets artefact whose tags are the labels, instead.

    Raises:
        InputError: no photo can be read, or no label is true of any.
    """
    tagger = Tagger(find_model(artifacts, model))
    inputs = [tagger.source]
    labels_from = "people"
    if labelled is None:
        origin = artifact.find(artifacts, "triplets", triplets) if triplets else _own_triplets(artifacts, tagger)
        labelled = _from_triplets(origin, tagger, everything=triplets is not None)
        inputs.append(origin)
        labels_from = "captions" if triplets else "captions of photos kept aside"
    measured = _measure(tagger, labelled, config, track)
    threshold = tagger.threshold if config.threshold is None else config.threshold
    sampling = Sampling(config.resamples, config.seed)
    found = figures(measured, threshold=threshold, common=measured.known, sampling=sampling)
    about = {"labels_from": labels_from, "remark": labelled.remark, **_about(measured)}
    metrics = {**about, **found.values, "per_tag": found.per_tag}
    with artifact.draft(artifacts, "report", inputs=inputs, config=as_dict(config)) as work:
        save_measured(work.path, measured)
        write_whole(work.path / METRICS, json.dumps(metrics, indent=2) + "\n")
        write_whole(work.path / PER_TAG, per_tag_csv(found.per_tag))
        work.statistics = {key: value for key, value in metrics.items() if isinstance(value, int | float | str)}
        return work.publish()


def read_set(config: EvaluateConfig, sources: Sequence[str] = ()) -> LabelledSet | None:
    """The photos and labels that sources or the configuration name; None where neither does.

    Raises:
        InputError: sources and a benchmark at once, or what cannot be read.
    """
    if config.benchmark:
        if sources:
            raise InputError(f"{sources[0]}: beside --benchmark.", cure="Name labels or a benchmark, not both.")
        found = read_benchmark(
            config.benchmark,
            annotations=Path(config.annotations) if config.annotations else None,
            tag_list=Path(config.tag_list) if config.tag_list else None,
            images=config.images,
        )
    elif sources:
        columns = LabelColumns(config.image_field, config.labels_field, config.split)
        found = read_labels(sources, columns, images=config.images)
    else:
        return None
    return with_names(found, read_names(Path(config.names))) if config.names else found


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


def _from_triplets(origin: Artifact, tagger: Tagger, *, everything: bool) -> LabelledSet:
    names = sorted({tag for row in read_rows(origin.file("triplets.jsonl")) for tag in row["tags"]})
    photos = read_triplets(origin, names)
    if not everything:
        _, photos = split(photos, tagger.source.config.get("validation", 0.0))
    if not photos:
        raise InputError(f"{origin.name}: no photo to evaluate on.", cure="Train with validation above 0.")
    return of_photos(LabelledPhoto(photo.image, [names[tag] for tag in photo.tags]) for photo in photos)


def _measure(tagger: Tagger, labelled: LabelledSet, config: EvaluateConfig, track: Track) -> Measured:
    columns = [_column(tagger, labelled, name) for name in _names(labelled, config.least_positives)]
    texts = read_published_descriptions(Path(config.descriptions)) if config.descriptions else {}
    asked, order = _questions(tagger, columns, texts)
    photos = labelled.photos
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
        raise InputError(
            f"None of {len(references)} photos can be read; the first: {next(iter(unreadable.values()))}",
            cure="Name the folder with the photos: --images DIR",
        )
    true = [photos[position].labels for position in read]
    labels = np.array([[column.name in own for column in columns] for own in map(set, true)])
    if not labels.any():
        raise InputError(
            "No name is true of a photo that can be read.", cure=f"The first: {next(iter(unreadable.values()))}"
        )
    logits = torch.cat(rows).numpy()[:, order]
    return Measured([references[position] for position in read], true, columns, logits, labels, unreadable)


def _column(tagger: Tagger, labelled: LabelledSet, name: str) -> Name:
    text = labelled.texts.get(name, name)
    number = tagger.numbers.get(text.lower())
    if number is None:
        return Name(name, None, tagger.threshold, labelled.texts.get(name, ""))
    by_alias = tagger.tags[number].lower() != text.lower()
    return Name(name, number, tagger.thresholds[number], labelled.texts.get(name, ""), by_alias)


def _questions(
    tagger: Tagger, columns: Sequence[Name], texts: Mapping[str, Sequence[str]]
) -> tuple[list[Embedded], np.ndarray]:
    """The columns' descriptions, tags before open-set words, and the order [C] that brings answers to columns."""
    own = tagger.vocabulary.choose([column.tag for column in columns if column.tag is not None])
    typed = [column.asked for column in columns if not column.known]
    order = np.argsort(np.argsort([not column.known for column in columns], kind="stable"), kind="stable")
    return [own, *([tagger.describe(typed, texts)] if typed else [])], order


def _names(labelled: LabelledSet, least: int) -> list[str]:
    counts = Counter(name for photo in labelled.photos for name in set(photo.labels))
    names = [name for name in labelled.names if counts[name] >= least]
    if not names:
        raise InputError(f"No name is true of {least} of {len(labelled.photos)} photos.", cure="Check the labels.")
    return names


def _about(measured: Measured) -> dict[str, Any]:
    """What was measured: photos and names."""
    missing = dict.fromkeys(missing_of(measured.unreadable))
    known = int(measured.known.sum())
    return {
        "photos": len(measured.labels),
        "missing_photos": len(missing),
        "missing": list(missing)[:_LISTED],
        "unreadable_photos": len(measured.unreadable) - len(missing),
        "unreadable": [why for photo, why in measured.unreadable.items() if photo not in missing][:_LISTED],
        "names": len(measured.columns),
        "names_without_positives": int((~measured.labels.any(axis=0)).sum()),
        "names_in_vocabulary": known,
        "names_in_vocabulary_by_alias": sum(column.by_alias for column in measured.columns),
        "names_open_set": len(measured.columns) - known,
    }
