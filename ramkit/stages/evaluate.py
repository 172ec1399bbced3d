"""model + photos with known labels → report: how good the model's scores are.

What is true of a photo comes from people (`labels` in a shard or JSON Lines file), from the captions of a `triplets`
artefact, or, where neither is named, from the captions of the photos that training kept aside. Captions leave much
out: figures on them compare models, they do not tell how often a model is right. Names that the vocabulary holds
neither as tags nor as aliases are asked as open-set words and reported on their own.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.config import EvaluateConfig, ModelRow, as_dict
from ramkit.errors import InputError
from ramkit.features import FEATURES
from ramkit.files import read_rows, write_whole
from ramkit.labels import LabelColumns, LabelledPhoto, LabelledSet, read_labels
from ramkit.labels.images import missing_of
from ramkit.labels.labelled import of_photos, with_names
from ramkit.labels.published import BENCHMARKS, read_benchmark
from ramkit.labels.sources import read_names
from ramkit.measuring.comparison import to_latex, to_markdown
from ramkit.measuring.figures import Figures, Sampling, difference, figures, groups_of, per_tag_csv
from ramkit.measuring.measured import Measured, save_measured
from ramkit.measuring.scorers import CLIP, TaggerScorer, TwoTowerScorer
from ramkit.measuring.scoring import score_photos
from ramkit.pictures.charts import Shown
from ramkit.pictures.report import write_pictures
from ramkit.progress import Track, silent
from ramkit.tagger import Tagger, find_model
from ramkit.text.prompts import TEMPLATE
from ramkit.text.published_descriptions import read_published_descriptions
from ramkit.triplets import read_triplets

METRICS, PER_TAG, MARKDOWN, LATEX = "metrics.json", "per_tag.csv", "comparison.md", "comparison.tex"
_LISTED = 20


def evaluate(
    *,
    artifacts: Path,
    config: EvaluateConfig,
    labelled: LabelledSet | None = None,
    models: Sequence[ModelRow] = (ModelRow(),),
    triplets: str | None = None,
    track: Track = silent,
) -> Artifact:
    """Score photos whose labels are known, by one model or by several on one pass, and publish a report.

    Args:
        labelled: the photos, as `read_set` gives them; None takes their labels from captions.
        models: the first is the one measured, which the others are compared with.
        triplets: a triplets artefact whose tags are the labels, instead.

    Raises:
        InputError: no photo can be read, or no label is true of any.
    """
    if config.threshold is not None and not 0 <= config.threshold <= 1:
        raise InputError(f"--threshold {config.threshold} is no score.", cure="Give a number from 0 to 1.")
    first = models[0]
    source = None if first.model.startswith(CLIP) else find_model(artifacts, first.model or None)
    inputs = [] if source is None else [source]
    labels_from = "people"
    if labelled is not None and triplets:
        raise InputError(f"--triplets {triplets}: beside labels.", cure="Name labels or triplets, not both.")
    if labelled is None:
        if source is None:
            raise InputError(f"{first.model}: was trained on nothing here.", cure="Name labelled photos.")
        origin = artifact.find(artifacts, "triplets", triplets) if triplets else _own_triplets(artifacts, source)
        labelled = _from_triplets(origin, source, everything=triplets is not None)
        inputs.append(origin)
        labels_from = "captions" if triplets else "captions of photos kept aside"
    scorers = [_scorer(artifacts, row, labelled, config) for row in models]
    measured = _measure(artifacts, scorers, models, labelled, config, track)
    found = [_figures(one, scorer, measured[0], config) for one, scorer in zip(measured, scorers, strict=True)]
    about = {"labels_from": labels_from, "remark": labelled.remark, **_about(measured[0])}
    metrics = {**about, **found[0].values, "per_tag": found[0].per_tag}
    if len(models) > 1:
        metrics["models"] = _side_by_side(measured, scorers, found)
    settings = {**as_dict(config), "models": [as_dict(row) for row in models]}
    with artifact.draft(artifacts, "report", inputs=inputs, config=settings) as work:
        save_measured(work.path, *measured)
        write_whole(work.path / METRICS, json.dumps(metrics, indent=2) + "\n")
        write_whole(work.path / PER_TAG, per_tag_csv(found[0].per_tag))
        if len(models) > 1:
            mean = "mAP_published" if config.published_metric else "mAP"
            write_whole(work.path / MARKDOWN, to_markdown(metrics["models"], mean))
            write_whole(work.path / LATEX, to_latex(metrics["models"], mean))
        if config.pictures:
            as_trained = first.queries == "own" and first.reweighting
            tagger = Tagger(source) if source is not None and as_trained else None
            shown = [Shown(one, own) for one, own in zip(measured, found, strict=True)]
            write_pictures(work.path, shown, tagger, about, track)
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
    elif config.annotations or config.tag_list:
        raise InputError(
            "--annotations and --tag-list are of a benchmark, and none is named.",
            cure=f"Known: {', '.join(BENCHMARKS)}",
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


def _own_triplets(artifacts: Path, model: Artifact) -> Artifact:
    """The triplets that the model was trained on."""
    wanted = artifact.ancestor(model, "triplets")
    for version in artifact.versions(artifacts, "triplets"):
        if artifact.read_manifest(artifacts / "triplets" / f"v{version}")["id"] == wanted:
            return artifact.find(artifacts, "triplets", str(version))
    raise InputError(
        f"{artifacts}: does not hold the triplets that {model.name} was trained on.",
        cure="Name labelled photos (ramkit evaluate LABELS.jsonl) or --triplets.",
    )


def _from_triplets(origin: Artifact, model: Artifact, *, everything: bool) -> LabelledSet:
    names = sorted({tag for row in read_rows(origin.file("triplets.jsonl")) for tag in row["tags"]})
    photos = read_triplets(origin, names)
    if not everything:
        _, photos = photos.split(model.config.get("validation", 0.0))
    if not len(photos):
        raise InputError(f"{origin.name}: no photo to evaluate on.", cure="Train with validation above 0.")
    return of_photos(LabelledPhoto(photo.image, [names[tag] for tag in photo.tags]) for photo in photos)


def _scorer(
    artifacts: Path, row: ModelRow, labelled: LabelledSet, config: EvaluateConfig
) -> TaggerScorer | TwoTowerScorer:
    names = _names(labelled, config.least_positives)
    file = row.descriptions or config.descriptions
    if row.queries == "descriptions" and not file:
        raise InputError('A model is to be asked by "descriptions", but none are given.', cure="Name --descriptions.")
    texts = read_published_descriptions(Path(file)) if file else {}
    if row.model.startswith(CLIP):
        templates = [TEMPLATE] if row.queries == "template" else row.templates
        chosen = texts if row.queries == "descriptions" else {}
        return TwoTowerScorer(row.model, names, labelled.texts, templates=templates, texts=chosen)
    tagger = Tagger(find_model(artifacts, row.model or None))
    return TaggerScorer(tagger, names, labelled.texts, queries=row.queries, texts=texts, reweighting=row.reweighting)


def _measure(
    artifacts: Path,
    scorers: Sequence[TaggerScorer | TwoTowerScorer],
    models: Sequence[ModelRow],
    labelled: LabelledSet,
    config: EvaluateConfig,
    track: Track,
) -> list[Measured]:
    """What each model tells of the photos that can be read."""
    references = [photo.image for photo in labelled.photos]
    logits, failed = score_photos(
        artifacts / FEATURES, references, scorers, keep_features=config.keep_features, track=track
    )
    read = [position for position in range(len(references)) if position not in failed]
    unreadable = {references[position]: why for position, why in failed.items()}
    if not read:
        raise InputError(
            f"None of {len(references)} photos can be read; the first: {next(iter(unreadable.values()))}",
            cure="Name the folder with the photos: --images DIR",
        )
    photos, true = [references[position] for position in read], [labelled.photos[position].labels for position in read]
    labels = np.array([[column.name in own for column in scorers[0].columns] for own in map(set, true)])
    if not labels.any():
        raise InputError(
            "No name is true of a photo that can be read.",
            cure=f"The first that cannot: {next(iter(unreadable.values()))}" if unreadable else "Check the labels.",
        )
    return [
        Measured(photos, true, scorer.columns, rows[read], labels, unreadable, row.name or scorer.name, scorer.scale)
        for rows, scorer, row in zip(logits, scorers, models, strict=True)
    ]


def _figures(
    measured: Measured, scorer: TaggerScorer | TwoTowerScorer, first: Measured, config: EvaluateConfig
) -> Figures:
    given = config.threshold if config.threshold is not None and measured.scale == "logit" else scorer.threshold
    return figures(measured, threshold=given, groups=groups_of(first), sampling=Sampling(config.resamples, config.seed))


def _side_by_side(
    measured: Sequence[Measured], scorers: Sequence[TaggerScorer | TwoTowerScorer], found: Sequence[Figures]
) -> list[dict[str, Any]]:
    return [
        {
            "model": one.model,
            "identity": scorer.identity,
            "settings": asdict(scorer.settings),
            **own.values,
            "difference": difference(own, found[0]),
        }
        for one, scorer, own in zip(measured, scorers, found, strict=True)
    ]


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
