"""Captions to tags: `ramkit parse-tags`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption

if TYPE_CHECKING:
    from ramkit.stages.parse_tags import Explanation, Summary


def parse_tags(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="Captions: .tar shards, .jsonl, .csv, .tsv (also .gz), .parquet, folders, addresses, hub ids or -.",
        ),
    ] = None,
    explain: Annotated[
        str | None, typer.Option(metavar="SENTENCE", help="Show how one sentence is parsed, and stop.")
    ] = None,
    artifacts: ArtifactsOption = ARTIFACTS,
    config: Annotated[Path | None, typer.Option(help="TOML file with these options.")] = None,
    image_field: Annotated[str | None, typer.Option(help="Column or key of the photo.")] = None,
    caption_field: Annotated[str | None, typer.Option(help="Column or key of the caption.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of a hub dataset.")] = None,
    min_count: Annotated[int | None, typer.Option(min=1, help="Photos a tag must occur in.")] = None,
    max_tags: Annotated[int | None, typer.Option(min=1, help="Tags kept at most, the most frequent first.")] = None,
    vocabulary: Annotated[
        str | None, typer.Option(help="Use only these tags: a vocabulary.jsonl, a list of names, or a version (v3).")
    ] = None,
    merge: Annotated[
        Literal["spelling", "curated", "wordnet"] | None,
        typer.Option(help="What merges names: spelling, curated synonyms, or WordNet where contexts agree."),
    ] = None,
    spacy_model: Annotated[str | None, typer.Option(help="spaCy pipeline; default: the best one installed.")] = None,
    processes: Annotated[int, typer.Option(min=0, help="Processes that parse; 0: one for every core.")] = 0,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Where to parse: here, or on a Ray cluster (ramkit\\[ray]).")
    ] = "local",
    histogram: Annotated[Path | None, typer.Option(help="Draw how many photos the tags occur in, as PNG.")] = None,
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
        vocabulary=vocabulary,
        merge=merge,
        spacy_model=spacy_model,
    )
    if explain is not None:
        _print_explanation(stage.explain(sentence=explain, artifacts=artifacts, settings=settings), as_json)
        return
    made, triplets = stage.parse_tags(
        sources=sources or [],
        artifacts=artifacts,
        settings=settings,
        processes=processes,
        engine=engine,
        track=console.track,
    )
    if histogram is not None:
        stage.draw(made, histogram)
    if as_json:
        found = {"vocabulary": made.name, "triplets": triplets.name, "statistics": triplets.statistics}
        console.print_json(found)
        return
    _print_parsed(stage.summarise(made, triplets))
    statistics = triplets.statistics
    for why, captions in statistics["skipped_captions"].items():
        console.say(f"captions not parsed, {why}: {captions:,}")
    for example in statistics["bad_examples"]:
        console.say(f"bad row: {example}")
    console.say(
        f"{made.name} ({statistics['tags']} tags) and {triplets.name} ({statistics['photos']} photos, "
        f"{statistics['captions']} captions, {statistics['bad_rows']} bad rows) in {statistics['seconds']} s"
    )


def _print_parsed(found: "Summary") -> None:
    console.print_table("tags", ["kind", "tags", "most frequent", "rarest"], found.kinds)
    console.print_table("frequency", ["photos a tag", "tags"], found.frequencies)
    if found.merged:
        console.print_table("merged names", ["tag", "photos", "stands for"], found.merged)
    if found.dropped:
        console.print_table("dropped", ["why", "times", "most frequent"], found.dropped)


def _print_explanation(found: "Explanation", as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        console.print_json(asdict(found))
        return
    if found.skipped:
        console.say(f"not parsed: {found.skipped}")
        return
    console.print_table("tokens", ["word", "part of speech", "relation", "head"], found.tokens)
    for line in found.tree:
        typer.echo(line)
    console.print_table("tags", ["tag", "kind", "rule"], [(m.tag, m.kind, m.rule) for m in found.mentions])
    if found.dropped:
        console.print_table("dropped", ["word", "kind", "why"], [(m.tag, m.kind, m.rule) for m in found.dropped])
    if found.relations:
        rows = [(entry.subject, entry.relation, entry.object) for entry in found.relations]
        console.print_table("relations", ["subject", "relation", "object"], rows)
