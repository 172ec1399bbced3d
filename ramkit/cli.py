"""The command line: signatures, help, printing. `ramkit.stages` does the work, imported inside the commands."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ramkit import __version__, console
from ramkit.errors import RamkitError

app = typer.Typer(
    name="ramkit",
    help="Open-set image tagging: tag photos with a trained model, or train one, stage by stage.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

ArtifactsOption = Annotated[
    Path,
    typer.Option("--artifacts", envvar="RAMKIT_ARTIFACTS", help="Folder that holds the versioned artefacts."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
ARTIFACTS = Path("artifacts")


def main() -> None:
    """Run the command line; a RamkitError becomes one line on standard error and exit code 1."""
    try:
        app()
    except RamkitError as error:
        console.print_error(str(error))
        sys.exit(1)
    except SystemExit as stop:  # how Typer ends, after an interrupt and a broken pipe too
        if stop.code == 130:
            console.say("stopped; run the same command again to go on.")
        if _reader_has_left(stop):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        raise


def _reader_has_left(stop: SystemExit) -> bool:
    """Whether the reader of standard output, such as `head`, has seen enough."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return isinstance(stop.__context__, BrokenPipeError)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ramkit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    del version


@app.command("parse-tags")
def parse_tags(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Captions: .tar shards, .jsonl, .csv, .tsv, .parquet, - or a hub id."),
    ],
    artifacts: ArtifactsOption = ARTIFACTS,
    config: Annotated[Path | None, typer.Option(help="TOML file with these options.")] = None,
    image_field: Annotated[str | None, typer.Option(help="Column or key of the photo.")] = None,
    caption_field: Annotated[str | None, typer.Option(help="Column or key of the caption.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of a hub dataset.")] = None,
    min_count: Annotated[int | None, typer.Option(min=1, help="Photos a tag must occur in.")] = None,
    max_tags: Annotated[int | None, typer.Option(min=1, help="Tags kept at most, the most frequent first.")] = None,
    spacy_model: Annotated[str | None, typer.Option(help="spaCy pipeline; default: the best one installed.")] = None,
    processes: Annotated[int, typer.Option(min=0, help="Processes that parse; 0: one for every core.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Parse captions into tags: a vocabulary, and image-tag-text triplets."""
    from ramkit.config import ParseTagsConfig, read_config
    from ramkit.stages import parse_tags as stage

    settings = read_config(
        config,
        ParseTagsConfig,
        image_field=image_field,
        caption_field=caption_field,
        split=split,
        min_count=min_count,
        max_tags=max_tags,
        spacy_model=spacy_model,
    )
    vocabulary, triplets = stage.parse_tags(
        sources=sources, artifacts=artifacts, settings=settings, processes=processes, track=console.track
    )
    statistics = triplets.statistics
    if as_json:
        console.print_json({"vocabulary": vocabulary.name, "triplets": triplets.name, "statistics": statistics})
        return
    console.print_table("tags", ["kind", "tags"], list(statistics["tags_by_kind"].items()))
    for example in statistics["bad_examples"]:
        console.say(f"bad row: {example}")
    console.say(
        f"{vocabulary.name} ({statistics['tags']} tags) and {triplets.name} ({statistics['photos']} photos, "
        f"{statistics['captions']} captions, {statistics['bad_rows']} bad rows) in {statistics['seconds']} s"
    )


@app.command()
def describe(
    artifacts: ArtifactsOption = ARTIFACTS,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings (DescribeConfig).")] = None,
    vocabulary: Annotated[
        str | None, typer.Option(help="Vocabulary version, such as v3; the newest if left out.")
    ] = None,
    tags: Annotated[Path | None, typer.Option(help="Describe these tags instead: a text file, one a line.")] = None,
    llm: Annotated[str | None, typer.Option(help="`wordnet`, which works offline, or a model name.")] = None,
    sentences: Annotated[int | None, typer.Option(min=1, help="WordNet: sentences a tag, the template too.")] = None,
    captions: Annotated[int | None, typer.Option(min=0, help="Add up to so many training captions a tag.")] = None,
    triplets: Annotated[str | None, typer.Option(help="Triplets version to take the captions from.")] = None,
    wordnet: Annotated[Path | None, typer.Option(help="Folder of WordNet's dict files.")] = None,
) -> None:
    """Describe each tag in several sentences: vocabulary → descriptions."""
    from ramkit.config import DescribeConfig, read_config
    from ramkit.stages.describe import describe as run

    settings = read_config(config, DescribeConfig, llm=llm, sentences=sentences, captions=captions)
    made = run(
        artifacts=artifacts,
        config=settings,
        vocabulary=vocabulary,
        tags=tags,
        triplets=triplets,
        wordnet=wordnet,
        track=console.track,
    )
    counts = made.statistics
    console.say(f"{made.name}: {counts['descriptions']} descriptions of {counts['tags']} tags in {made.path}")
