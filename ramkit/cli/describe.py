"""Tags to descriptions: `ramkit describe`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption
from ramkit.errors import InputError

if TYPE_CHECKING:
    from ramkit.text.cost import Plan


def describe(
    artifacts: ArtifactsOption = ARTIFACTS,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings (DescribeConfig).")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="Vocabulary version, such as v3; default: the newest.")] = None,
    tags: Annotated[
        Path | None, typer.Option(help="Describe these tags instead: one a line, or a vocabulary's rows (.jsonl).")
    ] = None,
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
    if json:
        console.print_json({"artifact": made.name, **counts})


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
