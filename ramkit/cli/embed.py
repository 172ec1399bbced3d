"""Descriptions to vectors: `ramkit embed`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption

if TYPE_CHECKING:
    pass


def embed(
    artifacts: ArtifactsOption = ARTIFACTS,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings (EmbedConfig).")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="Vocabulary version; default: the newest.")] = None,
    descriptions: Annotated[str | None, typer.Option(help="Descriptions version; default: the newest.")] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="`mini`, sentence:FOLDER, sentence:package:NAME or open_clip:MODEL/WEIGHTS.")
    ] = None,
    precision: Annotated[
        Literal["float32", "float16", "int8"] | None, typer.Option(help="How the vectors are stored.")
    ] = None,
    max_descriptions: Annotated[int | None, typer.Option(min=1, help="Most descriptions of a tag.")] = None,
) -> None:
    """Encode every description once: descriptions → embeddings."""
    from ramkit.config import EmbedConfig, read_config
    from ramkit.stages import embed as stage
    from ramkit.tagger import text_encoder_named

    settings = read_config(
        config, EmbedConfig, text_encoder=text_encoder, precision=precision, max_descriptions=max_descriptions
    )
    made = stage.embed(
        artifacts=artifacts, encoder=text_encoder_named(settings.text_encoder), config=settings,
        vocabulary=vocabulary, descriptions=descriptions, track=console.track,
    )  # fmt: skip
    counts = made.statistics
    resumed = ", resumed" if counts["resumed"] else ""
    console.say(
        f"{made.name}: {counts['texts']:,} texts of {counts['tags']:,} tags, "
        f"{counts['encoded']:,} encoded now{resumed}; in {made.path}"
    )
