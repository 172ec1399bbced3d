"""Descriptions to vectors: `ramkit embed`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption

if TYPE_CHECKING:
    from ramkit.stages.embed import Neighborhood


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
    device: Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Where to encode; auto: a GPU.")] = None,
    neighbors: Annotated[
        str | None, typer.Option(metavar="WORD", help="Show the tags nearest to a tag or any word; embed nothing.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many nearest tags to show.")] = 10,
    embeddings: Annotated[str | None, typer.Option(help="Embeddings version to look into; default: newest.")] = None,
    json: JsonOption = False,
) -> None:
    """Encode every description once: descriptions → embeddings."""
    from ramkit.artifact import versions
    from ramkit.config import EmbedConfig, read_config
    from ramkit.stages import embed as stage
    from ramkit.tagger import text_encoder_named

    if neighbors is not None:
        _print_neighborhood(
            stage.neighborhood(artifacts=artifacts, word=neighbors, embeddings=embeddings, most=top_k), json
        )
        return
    settings = read_config(
        config, EmbedConfig, text_encoder=text_encoder, precision=precision, max_descriptions=max_descriptions,
        device=device,
    )  # fmt: skip
    there = versions(artifacts, "embeddings")
    made = stage.embed(
        artifacts=artifacts, encoder=text_encoder_named(settings.text_encoder), config=settings,
        vocabulary=vocabulary, descriptions=descriptions, track=console.track, tell=console.say,
    )  # fmt: skip
    counts = made.statistics
    if made.version in there:  # its manifest tells of the run that made it
        counts = {**counts, "encoded": 0, "resumed": False}
    resumed = ", resumed" if counts["resumed"] else ""
    console.say(
        f"{made.name}: {counts['texts']:,} texts of {counts['tags']:,} tags, "
        f"{counts['encoded']:,} encoded now{resumed}; in {made.path}"
    )
    if json:
        console.print_json({"artifact": made.name, **counts})


def _print_neighborhood(found: "Neighborhood", json: bool) -> None:
    if json:
        console.print_json(_as_document(found))
        return
    rows = [[tag, cosine] for tag, cosine in found.neighbors]
    console.print_table(f"Nearest to {found.word}", ["tag", "cosine"], rows)
    if not found.is_tag:
        console.say(f"{found.word} is no tag: it was encoded as one description.")
        return
    console.say(f"Its {found.descriptions} descriptions: mean cosine of all pairs {found.mean_cosine:.3f}.")
    if found.descriptions > 1:
        odd = [[text, cosine] for text, cosine in found.least_typical]
        console.print_table("Least like the others", ["description", "cosine"], odd)


def _as_document(found: "Neighborhood") -> dict[str, Any]:
    return {
        "word": found.word,
        "is_tag": found.is_tag,
        "neighbors": [{"tag": tag, "cosine": round(cosine, 4)} for tag, cosine in found.neighbors],
        "descriptions": found.descriptions,
        "mean_cosine": round(found.mean_cosine, 4),
        "least_typical": [{"text": text, "cosine": round(cosine, 4)} for text, cosine in found.least_typical],
    }
