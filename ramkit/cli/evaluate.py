"""A model measured: `ramkit evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption, ModelOption

_LISTED = 10


def evaluate(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LABELS...]",
            help="Photos with labels: .tar shards, .jsonl, .csv, COCO's .json, a Pascal VOC folder, a folder of class"
            " folders, .parquet, a datasets id.",
        ),
    ] = None,
    model: ModelOption = None,
    benchmark: Annotated[
        str | None,
        typer.Option(help="One of the paper's: openimages-common, openimages-uncommon, imagenet-multi, hico."),
    ] = None,
    annotations: Annotated[
        str | None, typer.Option(help="The benchmark's published annotation file, or the folder it is in.")
    ] = None,
    tag_list: Annotated[
        str | None, typer.Option(help="The benchmark's published tag list; default: beside the annotations.")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(help="Folder or shard with the photos; may be repeated; default: beside the labels."),
    ] = None,
    names: Annotated[
        str | None, typer.Option(help="File with the names to ask for, one a line; default: those the labels tell.")
    ] = None,
    descriptions: Annotated[
        str | None, typer.Option(help="JSON list of {tag: [texts]}: how names are asked that are no tags.")
    ] = None,
    triplets: Annotated[str | None, typer.Option(help="Take captions' tags of these triplets as labels.")] = None,
    labels_field: Annotated[str | None, typer.Option(help="Key of the list of names.")] = None,
    image_field: Annotated[str | None, typer.Option(help="Key of the photo.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Part of a set that has several; default: test, validation.")
    ] = None,
    least_positives: Annotated[int | None, typer.Option(min=0, help="Photos a name must be true of.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings (EvaluateConfig).")] = None,
    json: JsonOption = False,
    artifacts: ArtifactsOption = ARTIFACTS,
) -> None:
    """Measure a model on labelled photos: model → report. Without labels: on the photos that training kept aside."""
    from ramkit.config import EvaluateConfig, read_config
    from ramkit.labels.images import missing_of
    from ramkit.stages import evaluate as stage

    settings = read_config(
        config, EvaluateConfig, benchmark=benchmark, annotations=annotations, tag_list=tag_list, names=names,
        images=tuple(images) if images else None, descriptions=descriptions, labels_field=labels_field,
        image_field=image_field, split=split, least_positives=least_positives,
    )  # fmt: skip
    labelled = stage.read_set(settings, sources or [])
    if labelled is not None:  # before a long run: which photos it will go without
        _tell_missing(missing_of(photo.image for photo in labelled.photos), len(labelled.photos))
    made = stage.evaluate(
        artifacts=artifacts, config=settings, labelled=labelled, model=model, triplets=triplets, track=console.track
    )
    metrics = stage.read_metrics(made)
    if labelled is None:
        _tell_missing(metrics["missing"], metrics["photos"])
    for line in metrics["unreadable"]:
        console.print_error(line)
    if json:
        console.print_json(metrics)
        return
    per_tag = sorted(metrics.pop("per_tag"), key=lambda row: -(row["ap"] or 0))
    rows = [[row["tag"], "" if row["in_vocabulary"] else "open-set", row["positives"], row["ap"]] for row in per_tag]
    console.print_table("Average precision", ["tag", "", "photos", "AP"], rows[:40])
    shown = {name: value for name, value in metrics.items() if value not in (None, "") and not isinstance(value, list)}
    texts = [
        [name.replace("_", " "), f"{value:.3f}" if isinstance(value, float) else value] for name, value in shown.items()
    ]
    console.print_table("", ["measure", "value"], texts)
    console.say(f"{made.name} in {made.path}")


def _tell_missing(missing: list[str], total: int) -> None:
    if missing and len(missing) < total:
        console.say(f"{len(missing)} of {total} photos are missing; the report lists all of them:")
        for reference in missing[:_LISTED]:
            console.say(f"  {reference}")
