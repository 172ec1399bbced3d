"""A model measured: `ramkit evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption, ModelOption

if TYPE_CHECKING:
    pass


def evaluate(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LABELS...]", help="Photos with labels: .tar shards or .jsonl {image, labels}."),
    ] = None,
    model: ModelOption = None,
    triplets: Annotated[str | None, typer.Option(help="Take captions' tags of these triplets as labels.")] = None,
    labels_field: Annotated[str | None, typer.Option(help="Key of the list of names.")] = None,
    image_field: Annotated[str | None, typer.Option(help="Key of the photo.")] = None,
    least_positives: Annotated[int | None, typer.Option(min=1, help="Photos a name must be true of.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings (EvaluateConfig).")] = None,
    json: JsonOption = False,
    artifacts: ArtifactsOption = ARTIFACTS,
) -> None:
    """Measure a model on labelled photos: model → report. Without labels: on the photos that training kept aside."""
    from ramkit.config import EvaluateConfig, read_config
    from ramkit.stages import evaluate as stage

    settings = read_config(
        config, EvaluateConfig, labels_field=labels_field, image_field=image_field, least_positives=least_positives
    )
    made = stage.evaluate(
        artifacts=artifacts, config=settings, sources=sources or [], model=model, triplets=triplets,
        track=console.track,
    )  # fmt: skip
    metrics = stage.read_metrics(made)
    for line in metrics["unreadable"]:
        console.print_error(line)
    if json:
        console.print_json(metrics)
        return
    per_tag = sorted(metrics.pop("per_tag"), key=lambda row: -(row["ap"] or 0))
    rows = [[row["tag"], "" if row["in_vocabulary"] else "open-set", row["positives"], row["ap"]] for row in per_tag]
    console.print_table("Average precision", ["tag", "", "photos", "AP"], rows[:40])
    shown = {name: value for name, value in metrics.items() if name != "unreadable" and value is not None}
    texts = [
        [name.replace("_", " "), f"{value:.3f}" if isinstance(value, float) else value] for name, value in shown.items()
    ]
    console.print_table("", ["measure", "value"], texts)
    console.say(f"{made.name} in {made.path}")
