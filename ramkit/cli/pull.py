"""A published model from the Hugging Face hub: `ramkit pull`."""

from pathlib import Path
from typing import Annotated

import typer

from ramkit import console
from ramkit.cli.import_published import (
    OutputOption,
    PrecisionOption,
    TextEncoderOption,
    ThresholdsOption,
    print_imported,
)
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption


def pull(
    name: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Which; without it all are listed.")] = None,
    revision: Annotated[str, typer.Option(help="Branch, tag or commit of the checkpoint's repository.")] = "main",
    descriptions_revision: Annotated[
        str, typer.Option(help="Branch, tag or commit of the descriptions' repository.")
    ] = "main",
    downloads: Annotated[
        Path | None, typer.Option(help="Folder that keeps the downloads; default: ramkit's cache.")
    ] = None,
    thresholds: ThresholdsOption = None,
    text_encoder: TextEncoderOption = None,
    precision: PrecisionOption = None,
    output: OutputOption = None,
    json: JsonOption = False,
    artifacts: ArtifactsOption = ARTIFACTS,
) -> None:
    """Fetch a published model and import it; a download that broke off goes on where it stopped."""
    from ramkit.stages import pull as stage

    if name is None:
        _print_models(json=json)
        return
    from ramkit.config import ImportConfig, read_config
    from ramkit.stages import import_published

    found = stage.pull(
        name, downloads=downloads, revision=revision, descriptions_revision=descriptions_revision, tell=console.say
    )
    made = import_published.import_published(
        artifacts=artifacts, checkpoint=found.checkpoint, descriptions=found.descriptions, thresholds=thresholds,
        output=output, config=read_config(None, ImportConfig, text_encoder=text_encoder, precision=precision),
        origin=found.origin, tell=console.say,
    )  # fmt: skip
    print_imported(made, json=json)
    console.say(f"The download is no longer needed: {found.checkpoint}")


def _print_models(*, json: bool) -> None:
    from ramkit.stages.pull import PUBLISHED

    if json:
        console.print_json([{"name": name, **_row(name)} for name in PUBLISHED])
        return
    rows = [[name, *_row(name).values()] for name in PUBLISHED]
    console.print_table("", ["model", "what", "download", "licence", "from"], rows)


def _row(name: str) -> dict[str, str]:
    from ramkit.stages.pull import PUBLISHED

    model = PUBLISHED[name]
    return {
        "about": model.about, "size": model.size, "licence": model.licence, "repository": model.checkpoint.repository
    }  # fmt: skip
