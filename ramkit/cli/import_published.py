"""A published checkpoint to a model: `ramkit import`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption

if TYPE_CHECKING:
    from ramkit.artifact import Artifact

ThresholdsOption = Annotated[
    Path | None, typer.Option(help="Threshold of each tag, one a line; default: 0.68 for all.")
]
TextEncoderOption = Annotated[
    str | None,
    typer.Option(help="Encoder of typed words, loaded when they are asked; default: open_clip:ViT-B-16/openai."),
]
PrecisionOption = Annotated[
    Literal["float32", "float16"] | None,
    typer.Option(help="How weights are stored: float32, as published (default), or float16, half of that."),
]
OutputOption = Annotated[Path | None, typer.Option(help="A new folder for the model; default: the next model:vN here.")]


def import_published(
    checkpoint: Annotated[Path, typer.Argument(metavar="FILE.pth", help="A checkpoint of RAM++.")],
    descriptions: Annotated[
        Path | None, typer.Option(help="The tags' descriptions, as published: a JSON list of {tag: texts}.")
    ] = None,
    tags: Annotated[Path | None, typer.Option(help="The tags, one a line; needed without --descriptions.")] = None,
    thresholds: ThresholdsOption = None,
    text_encoder: TextEncoderOption = None,
    precision: PrecisionOption = None,
    output: OutputOption = None,
    json: JsonOption = False,
    artifacts: ArtifactsOption = ARTIFACTS,
) -> None:
    """Make a model of a published RAM++ checkpoint."""
    from ramkit.config import ImportConfig, read_config
    from ramkit.stages import import_published as stage

    made = stage.import_published(
        artifacts=artifacts, checkpoint=checkpoint, descriptions=descriptions, tags=tags, thresholds=thresholds,
        output=output, config=read_config(None, ImportConfig, text_encoder=text_encoder, precision=precision),
        tell=console.say,
    )  # fmt: skip
    print_imported(made, json=json)


def print_imported(made: "Artifact", *, json: bool) -> None:
    """What was found in a checkpoint, and how the model is used."""
    found = made.statistics
    if json:
        console.print_json(
            {"model": made.name, "id": made.id, "path": str(made.path), **found, **made.manifest["notes"]}
        )
        return
    shape = found["architecture"]
    silent = found["tags_that_never_fire"]
    rows = [
        ["image encoder", f"{found['image_encoder']}, {shape['image_width']} channels, {found['image_size']} pixels"],
        [
            "tags",
            f"{found['tags']:,}, {found['descriptions_a_tag']} descriptions each",
        ],
        ["texts of the descriptions", "kept" if found["texts_of_descriptions"] else "not given"],
        ["decoder", f"{shape['layers']} layers, {shape['query_width']} wide, {shape['heads']} heads"],
        [
            "temperature",
            "as learned" if found["temperature_in_checkpoint"] else "not in the file: 1/0.07 runs then",
        ],
        ["threshold", f"{found['threshold']}{f'; {silent} at 1 never fire' if silent else ''}"],
        ["parameters", f"{found['parameters'] / 1e6:.1f} million, {made.config['precision']}"],
        ["typed words", made.config["text_encoder"]],
        ["SHA-256 of the file", made.manifest["notes"]["checkpoint_sha256"]],
        ["size", f"{found['bytes'] / 1e9:.2f} GB"],
    ]
    console.print_table(made.manifest["notes"]["checkpoint"], ["found", ""], rows)
    console.say(f"The model is {made.path}. Try: ramkit tag PHOTO --model {made.name}")
