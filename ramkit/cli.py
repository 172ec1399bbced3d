"""The command line: signatures, help, printing. `ramkit.stages` does the work, imported inside the commands."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ramkit import __version__, console
from ramkit.errors import InputError, RamkitError

if TYPE_CHECKING:
    from ramkit.stages.parse_tags import Explanation, Summary
    from ramkit.stages.tag import TaggedPhoto, TagScore
    from ramkit.text.cost import Plan

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
        list[str] | None,
        typer.Argument(metavar="SOURCE...", help="Captions: .tar shards, .jsonl, .csv, .tsv, .parquet, - or a hub id."),
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
        Literal["local", "ray"], typer.Option(help="Where to parse: here, or on a Ray cluster (ramkit[ray]).")
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


@app.command()
def describe(
    artifacts: ArtifactsOption = ARTIFACTS,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings (DescribeConfig).")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="Vocabulary version, such as v3; default: the newest.")] = None,
    tags: Annotated[Path | None, typer.Option(help="Describe these tags instead: a text file, one a line.")] = None,
    llm: Annotated[str | None, typer.Option(help="`wordnet`, which works offline, or a model name.")] = None,
    base_url: Annotated[str | None, typer.Option(help="OpenAI-compatible server; its key: $OPENAI_API_KEY.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Own prompts, one a line, {} where the tag goes.")] = None,
    answers: Annotated[int | None, typer.Option(min=1, help="LLM: answers to each prompt.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="LLM: sampling temperature.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="LLM: most tokens of one answer.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="LLM: requests under way at once.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0.1, help="LLM: seconds for one request.")] = None,
    batch: Annotated[bool, typer.Option("--batch", help="LLM: the Batch API: half the price, within a day.")] = False,
    price: Annotated[str, typer.Option(help="Dollars for a million tokens: READ,WRITTEN.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print calls, tokens and cost; ask nothing.")] = False,
    confirm_above: Annotated[float, typer.Option(help="Ask before a run that may cost more dollars.")] = 1.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before paying.")] = False,
    max_calls: Annotated[int | None, typer.Option(min=0, help="Stop after so many calls.")] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Publish what there is when answers are missing.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Tell how good the newest descriptions are; describe nothing.")
    ] = False,
    sentences: Annotated[int | None, typer.Option(min=1, help="WordNet: sentences a tag, the template too.")] = None,
    captions: Annotated[int | None, typer.Option(min=0, help="Add up to so many training captions a tag.")] = None,
    triplets: Annotated[str | None, typer.Option(help="Triplets version to take the captions from.")] = None,
    wordnet: Annotated[Path | None, typer.Option(help="Folder of WordNet's dict files.")] = None,
    json: JsonOption = False,
) -> None:
    """Describe each tag in several sentences: vocabulary → descriptions."""
    from ramkit.config import DescribeConfig, read_config
    from ramkit.stages import describe as stage
    from ramkit.text.prompts import read_prompts

    if report:
        _print_description_report(stage.report_on(artifacts=artifacts), json)
        return
    settings = read_config(
        config, DescribeConfig, llm=llm, base_url=base_url, prompts=read_prompts(prompts) if prompts else None,
        answers=answers, temperature=temperature, max_tokens=max_tokens, concurrency=concurrency, timeout=timeout,
        sentences=sentences, captions=captions,
    )  # fmt: skip
    run = stage.Run(
        price=price, most_calls=max_calls, allow_partial=allow_partial, batch=batch, tell=console.say,
        approve=lambda plan: yes or _agrees(plan, confirm_above),
    )  # fmt: skip
    given: dict[str, Any] = {
        "artifacts": artifacts, "config": settings, "vocabulary": vocabulary, "tags": tags, "triplets": triplets,
    }  # fmt: skip
    if dry_run:
        plan = stage.plan_describe(**given, run=run)
        if json:
            console.print_json(plan.as_dict())
        else:
            console.results.print("\n".join(plan.lines()), markup=False)
        return
    made = stage.describe(**given, wordnet=wordnet, run=run, track=console.track)
    counts = made.statistics
    console.say(f"{made.name}: {counts['descriptions']:,} descriptions of {counts['tags']:,} tags in {made.path}")
    if counts.get("missing"):
        console.say(f"{counts['missing']:,} answers are missing; the same command asks for them again.")


def _agrees(plan: "Plan", limit: float) -> bool:
    """Consent to a cost: asked for where it may be above the limit, or where nobody knows it."""
    if plan.dollars is not None and plan.dollars <= limit:
        return True
    for line in plan.lines():
        console.say(line)
    if not sys.stdin.isatty():
        raise InputError("This costs money and nobody is here to agree.", cure="Look at --dry-run, then add --yes.")
    return typer.confirm("Go on?", default=False, err=True)


def _print_description_report(report: dict[str, Any], json: bool) -> None:
    if json:
        console.print_json(report)
        return
    asked = report["asked"]
    accepted = asked.get("acceptance", {})
    console.print_table(
        f"{report['artifact']}: {report['descriptions']:,} descriptions of {report['tags']:,} tags",
        ["prompt", "descriptions", "accepted"],
        [[prompt, count, accepted.get(prompt, "")] for prompt, count in report["per_prompt"].items()],
    )
    names = ("diversity", "near_duplicates", "mean_words", "over_length", "doubtful", "template_only")
    rows = [[name.replace("_", " "), report[name]] for name in names]
    rows += [[f"refused: {name}", count] for name, count in asked.get("faults", {}).items()]
    rows += [[f"mended: {name}", count] for name, count in asked.get("mended", {}).items()]
    console.print_table("", ["measure", "value"], [[name, f"{value:,}"] for name, value in rows])
    worst = [[row["tag"], row["diversity"], row["descriptions"]] for row in report["worst_tags"]]
    console.print_table("Worst tags", ["tag", "diversity", "descriptions"], worst)
    samples = [[row["tag"], row["prompt"], row["text"]] for row in report["samples"]]
    console.print_table("Samples", ["tag", "prompt", "text"], samples)


@app.command()
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


@app.command()
def train(
    artifacts: ArtifactsOption = ARTIFACTS,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings (TrainConfig).")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="Vocabulary version; default: the newest.")] = None,
    triplets: Annotated[str | None, typer.Option(help="Triplets version; default: the newest.")] = None,
    embeddings: Annotated[str | None, typer.Option(help="Embeddings version; default: the newest.")] = None,
    image_encoder: Annotated[str | None, typer.Option(help="Any timm model.")] = None,
    image_weights: Annotated[
        str | None, typer.Option(help="`timm` (fetched by it), a file, or package:NAME of an installed package.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the photos.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Photos a step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
) -> None:
    """Train a model: triplets and embeddings → model. A stopped run goes on from its last checkpoint."""
    from ramkit.config import TrainConfig, read_config
    from ramkit.stages import train as stage

    settings = read_config(
        config, TrainConfig, image_encoder=image_encoder, image_weights=image_weights, epochs=epochs, batch=batch,
        seed=seed,
    )  # fmt: skip
    made = stage.train(
        artifacts=artifacts, config=settings, vocabulary=vocabulary, triplets=triplets, embeddings=embeddings,
        track=console.track, tell=console.say,
    )  # fmt: skip
    console.say(f"{made.name} in {made.path}")
    shown = ("tags", "photos", "unreadable_photos", "steps", "validation_map", "validation_f1", "threshold", "seconds")
    rows = [[name.replace("_", " "), made.statistics[name]] for name in shown if name in made.statistics]
    console.print_table("", ["measure", "value"], [[name, str(value)] for name, value in rows])


@app.command()
def tag(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Photos, folders or .tar shards.")],
    open_set: Annotated[
        list[str] | None,
        typer.Option(help="Words to score beside the model's own: comma-separated or @FILE; may be repeated."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="`mini`, a folder, or model:vN; default: the newest trained here, else mini.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Least score shown, 0 to 1; default: the model's own.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=0, help="Most tags a photo, typed words apart; 0 for all.")] = 20,
    at_least: Annotated[
        int, typer.Option(min=0, help="Tags a photo gets even below the model's own threshold, marked as unsure.")
    ] = 5,
    json: JsonOption = False,
    artifacts: ArtifactsOption = ARTIFACTS,
) -> None:
    """Tag photos with a model's vocabulary and with any words you type."""
    from ramkit.progress import silent
    from ramkit.stages import tag as stage
    from ramkit.tagger import Tagger, find_model

    words = stage.read_words(open_set or [])
    tagger = Tagger(find_model(artifacts, model))
    # A progress bar and tables on one terminal would be drawn over one another.
    track = console.track if json or not console.results.is_terminal else silent
    found = stage.tag(
        photos=photos, tagger=tagger, open_set=words, threshold=threshold, top_k=top_k, at_least=at_least, track=track
    )
    failed = total = 0
    documents = []
    for photo in found:
        total += 1
        failed += bool(photo.error)
        if photo.error:
            console.print_error(photo.error)
        if json:
            documents.append(_as_document(photo))
        elif not photo.error:
            _print_tags(photo)
    if json:
        console.print_json(documents)
    if failed and total > 1:
        console.say(f"{failed} of {total} photos could not be read; they are named above.")
    if failed == total:
        raise typer.Exit(1)


def _as_document(photo: "TaggedPhoto") -> dict[str, Any]:
    document: dict[str, Any] = {
        "image": photo.image,
        "tags": [
            {"tag": entry.tag, "score": round(entry.score, 4), **dict.fromkeys(_marks(entry), True)}
            for entry in photo.tags
        ],
    }
    return {**document, "error": photo.error} if photo.error else document


def _print_tags(photo: "TaggedPhoto") -> None:
    rows = [
        [entry.tag, entry.score, _bar(entry.score), ", ".join(_marks(entry)).replace("open_set", "typed")]
        for entry in photo.tags
    ]
    if not rows:
        console.say(f"{photo.image}: no tag reaches the threshold; --threshold 0 shows all.")
        return
    marked = any(_marks(entry) for entry in photo.tags)
    columns = ["tag", "score", "", *([""] if marked else [])]
    console.print_table(photo.image, columns, [row[: len(columns)] for row in rows])


artifacts_app = typer.Typer(
    help="List the artefacts, show one with its lineage, or copy one out.", rich_markup_mode="rich"
)
app.add_typer(artifacts_app, name="artifacts")
WhichArgument = Annotated[str, typer.Argument(metavar="KIND:vN", help="An artefact, a folder, or `mini`.")]


@artifacts_app.callback(invoke_without_command=True)
def list_artifacts(context: typer.Context, artifacts: ArtifactsOption = ARTIFACTS, json: JsonOption = False) -> None:
    """List the artefacts, show one with its lineage, or copy one out."""
    if context.invoked_subcommand is not None:  # options given before it hold for it, too
        given = {"artifacts": str(artifacts), "json": json}
        context.default_map = dict.fromkeys(("show", "export"), given)
        return
    from ramkit.stages import inspect

    rows = inspect.list_artifacts(artifacts)
    if json:
        console.print_json(rows)
    elif rows:
        console.print_table(
            "", ["artefact", "id", "made from", "created", "holds"], [list(row.values()) for row in rows]
        )
    else:
        console.say(f"{artifacts}: no artefact yet. The first is made by: ramkit parse-tags CAPTIONS")


@artifacts_app.command("show")
def show_artifact(which: WhichArgument, artifacts: ArtifactsOption = ARTIFACTS, json: JsonOption = False) -> None:
    """Verify an artefact and show what it holds and what it was made from, step by step."""
    from ramkit.stages import inspect

    found = inspect.show_artifact(artifacts, which)
    if json:
        console.print_json(found.manifest)
    else:
        console.print_tree(inspect.lineage_tree(found))


@artifacts_app.command("export")
def export_artifact(
    which: WhichArgument,
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    notes: Annotated[Path | None, typer.Option(help="TOML file of notes for its manifest.")] = None,
    artifacts: ArtifactsOption = ARTIFACTS,
) -> None:
    """Copy an artefact to a folder that can be given away; a model there is used with --model FOLDER."""
    from ramkit.stages import inspect

    made = inspect.export_artifact(artifacts, which, folder, notes)
    console.say(f"{which} copied to {made.path}")


def _marks(entry: "TagScore") -> list[str]:
    return [mark for mark in ("open_set", "unsure") if getattr(entry, mark)]


def _bar(score: float, width: int = 20) -> str:
    """The score as a bar, in eighths of a character."""
    eighths = round(score * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


@app.command()
def evaluate(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LABELS...]", help="Photos with labels: .tar shards or .jsonl {image, labels}."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="`mini`, a folder, or model:vN; default: the newest trained here, else mini.")
    ] = None,
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
