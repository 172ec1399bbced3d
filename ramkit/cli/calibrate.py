"""Thresholds and chances: `ramkit calibrate`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption, ModelOption

_MEASURES = {
    "precision": "precision", "recall": "recall", "f1": "F1", "f1_mean_over_tags": "F1, mean over tags",
    "tags_a_photo": "tags a photo", "tags_never_shown": "tags never shown",
    "ece": "calibration error (ECE)", "brier": "Brier score",
}  # fmt: skip
_LISTED = 20


def calibrate(
    model: ModelOption = None,
    report: Annotated[str | None, typer.Option(help="Report to fit on; default: the model's newest.")] = None,
    aim: Annotated[
        Literal["f", "tag-f", "precision", "tags"] | None,
        typer.Option(
            help="f: the best F over all tags; tag-f: of each tag by itself; precision: of each tag; tags: a photo."
        ),
    ] = None,
    beta: Annotated[float | None, typer.Option(help="Of F: above 1 recall counts more, below 1 precision.")] = None,
    precision: Annotated[float | None, typer.Option(help="Share of what is shown that shall be right.")] = None,
    tags: Annotated[float | None, typer.Option(help="Tags that a photo shall show on average.")] = None,
    only_open_set: Annotated[
        bool | None, typer.Option("--only-open-set", help="Fit typed words' threshold alone; leave the tags'.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings (CalibrateConfig).")] = None,
    json: JsonOption = False,
    artifacts: ArtifactsOption = ARTIFACTS,
) -> None:
    """Fit thresholds, and the chances that scores stand for, on labelled photos: model and report → a new model."""
    from ramkit.config import CalibrateConfig, read_config
    from ramkit.stages import calibrate as stage

    settings = read_config(
        config, CalibrateConfig, aim=aim, beta=beta, precision=precision, tags=tags, only_open_set=only_open_set
    )
    made = stage.calibrate(artifacts=artifacts, config=settings, model=model, report=report, track=console.track)
    told = stage.read_calibration(made)
    if json:
        console.print_json(told)
        return
    if "after" in told:
        rows = [[title, told["before"][key], told["after"][key]] for key, title in _MEASURES.items()]
        console.print_table("Each photo judged by a fit on others", ["measure", "before", "after"], rows)
        _tell_silent(told)
    typed = told["open_set"]
    console.say(
        f"words typed: threshold {typed['threshold']:.3f}, learnt from {typed['names']} names asked as typed words; "
        f"their F1 {typed['f1_before']:.3f} before, {typed['f1']:.3f} after"
    )
    console.say(f"{made.name} in {made.path}")


def _tell_silent(told: dict[str, Any]) -> None:
    """Tags that will hardly be seen, by name."""
    for key, what in (("can_never_fire", "can never fire"), ("never_shown_here", "reach their thresholds on no photo")):
        if names := told[key]:
            more = f" … ({len(names)})" if len(names) > _LISTED else ""
            console.say(f"tags that {what}: {', '.join(names[:_LISTED])}{more}")
    if told["tags_without_data"]:
        console.say(
            f"{told['tags_without_data']} tags without data have the threshold {told['common']['threshold']:.3f}"
        )
