"""A model measured: `ramkit evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption, ModelOption

if TYPE_CHECKING:
    from ramkit.config import ModelRow

_LISTED = 10
_MOST_TAGS = 40
_SPLITS = ("mAP_in_vocabulary", "mAP_open_set", "mAP_in_vocabulary_by_name", "mAP_not_by_name")


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
    against: Annotated[
        list[str] | None,
        typer.Option(help="Another model on the same photos: as --model, or open_clip:MODEL/WEIGHTS. Repeatable."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="TOML file with a table `row` for each model and how it is asked: prints an ablation table."),
    ] = None,
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
        str | None, typer.Option(help="JSON list of {tag: texts}: how names are asked that are no tags.")
    ] = None,
    triplets: Annotated[str | None, typer.Option(help="Take captions' tags of these triplets as labels.")] = None,
    labels_field: Annotated[str | None, typer.Option(help="Key of the list of names.")] = None,
    image_field: Annotated[str | None, typer.Option(help="Key of the photo.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Part of a set that has several; default: test, validation.")
    ] = None,
    least_positives: Annotated[int | None, typer.Option(min=0, help="Photos a name must be true of.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Least score of a tag that counts as found; default: the model's own.")
    ] = None,
    resamples: Annotated[
        int | None, typer.Option(min=0, help="Of the photos, for 95 % intervals; 0 makes none. Default: 1000.")
    ] = None,
    keep_features: Annotated[
        bool,
        typer.Option(help="Keep image features, so that other names take seconds; else the scores alone."),
    ] = True,
    published_metric: Annotated[
        bool, typer.Option(help="Show mAP as RAM++'s published evaluation has it: tags without positives count 0.")
    ] = False,
    pictures: Annotated[
        bool | None,
        typer.Option("--pictures/--no-pictures", help="Charts and report.html; default: yes."),
    ] = None,
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
        image_field=image_field, split=split, least_positives=least_positives, threshold=threshold,
        resamples=resamples, pictures=pictures, published_metric=published_metric or None,
        keep_features=None if keep_features else False,
    )  # fmt: skip
    models = _models(model, against or [], table)
    labelled = stage.read_set(settings, sources or [])
    if labelled is not None:  # before a long run: which photos it will go without
        _tell_missing(missing_of(photo.image for photo in labelled.photos), len(labelled.photos))
    made = stage.evaluate(
        artifacts=artifacts,
        config=settings,
        labelled=labelled,
        models=models,
        triplets=triplets,
        track=console.track,
    )
    metrics = stage.read_metrics(made)
    if labelled is None:
        _tell_missing(metrics["missing"], metrics["photos"])
    for line in metrics["unreadable"]:
        console.print_error(line)
    if json:
        console.print_json(metrics)
        return
    mean = "mAP_published" if settings.published_metric else "mAP"
    if table:
        for name in (stage.MARKDOWN, stage.LATEX):
            console.print_text(made.file(name).read_text(encoding="utf-8"))
    else:
        _print_per_tag(metrics["per_tag"])
        _print_figures(metrics, mean)
        _print_side_by_side(metrics.get("models", []), mean)
    console.say(f"{made.name} in {made.path}")


def _print_per_tag(per_tag: list[dict[str, Any]]) -> None:
    ordered = sorted(per_tag, key=lambda row: -(row["ap"] or 0))
    rows = [
        [row["tag"], "" if row["in_vocabulary"] else "open-set", row["positives"],
         "" if row["ap"] is None else f"{row['ap']:.3f}", _interval(row["ap_interval"])]
        for row in ordered[:_MOST_TAGS]
    ]  # fmt: skip
    console.print_table("Average precision", ["tag", "", "photos", "AP", "95 %"], rows)
    if len(ordered) > _MOST_TAGS:
        console.say(f"{len(ordered) - _MOST_TAGS} more tags are in the report's per_tag.csv.")


def _print_figures(metrics: dict[str, Any], mean: str) -> None:
    from ramkit.measuring.figures import POINTS

    intervals = metrics.get("intervals", {})
    known, by_alias = metrics["names_in_vocabulary"], metrics["names_in_vocabulary_by_alias"]
    title = (
        f"{metrics['photos']} photos, labels from {metrics['labels_from']}; {metrics['names']} names, {known} in the"
        f" vocabulary ({by_alias} by an alias), {metrics['names_without_positives']} true of no photo"
    )
    if metrics["remark"]:
        console.say(metrics["remark"])
    names = [mean, *_SPLITS, "mAP_micro", "top_1_accuracy", "top_5_accuracy"]
    rows = [
        [name.replace("_", " "), metrics[name], _interval(intervals.get(name))]
        for name in names
        if metrics.get(name) is not None
    ]
    console.print_table(title, ["measure", "value", "95 %"], rows)
    at = [
        [POINTS[row["thresholds"]], "" if row["threshold"] is None else f"{row['threshold']:.3f}",
         *(row[key] for key in ("precision", "recall", "f1", "macro_precision", "macro_recall", "macro_f1"))]
        for row in metrics["at"]
    ]  # fmt: skip
    columns = ["thresholds", "", "P", "R", "F1", "macro\nP", "macro\nR", "macro\nF1"]
    console.print_table(
        "Precision (P), recall (R) and F1: of all pairs, and their means over names (macro)", columns, at
    )


def _print_side_by_side(models: list[dict[str, Any]], mean: str) -> None:
    """With paired differences to the first: the interval is that of the difference on the same resampled photos."""
    rows = []
    for row in models:
        names = (mean, "mAP_in_vocabulary", "mAP_open_set", "best_f1")
        figures = ["" if row[name] is None else f"{row[name]:.3f}" for name in names]
        change = row["difference"]
        differs = row is not models[0] and change["mAP"] is not None
        difference = f"{change['mAP']:+.3f}\n{_interval(change['mAP_interval'])}".rstrip() if differs else ""
        rows.append([row["model"], *figures, difference])
    if rows:
        columns = [
            "model",
            mean.replace("_", "\n"),
            "in voca-\nbulary",
            "open-\nset",
            "best\nF1",
            "mAP, difference\nand its 95 %",
        ]
        console.print_table("Side by side, on the same photos", columns, rows)


def _models(model: str | None, against: list[str], table: Path | None) -> "list[ModelRow]":
    from ramkit.config import ModelRow, read_config_rows
    from ramkit.errors import InputError

    if table is None:
        return [ModelRow(model=spec) for spec in (model or "", *against)]
    if model or against:
        raise InputError(f"{table}: beside --model or --against.", cure="Put every model into the table.")
    return read_config_rows(table, "row", ModelRow)


def _interval(ends: list[float] | None) -> str:
    return f"{ends[0]:.3f} … {ends[1]:.3f}" if ends else ""


def _tell_missing(missing: list[str], total: int) -> None:
    if missing and len(missing) < total:
        console.say(f"{len(missing)} of {total} photos are missing; the report lists all of them:")
        for reference in missing[:_LISTED]:
            console.say(f"  {reference}")
