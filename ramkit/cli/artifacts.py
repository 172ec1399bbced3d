"""What there is: `ramkit artifacts`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption

if TYPE_CHECKING:
    pass


app = typer.Typer(help="List the artefacts, show one with its lineage, or copy one out.", rich_markup_mode="rich")
WhichArgument = Annotated[str, typer.Argument(metavar="KIND:vN", help="An artefact, a folder, or `mini`.")]


@app.callback(invoke_without_command=True)
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


@app.command("show")
def show_artifact(which: WhichArgument, artifacts: ArtifactsOption = ARTIFACTS, json: JsonOption = False) -> None:
    """Verify an artefact and show what it holds and what it was made from, step by step."""
    from ramkit.stages import inspect

    found = inspect.show_artifact(artifacts, which)
    if json:
        console.print_json(found.manifest)
    else:
        console.print_tree(inspect.lineage_tree(found))


@app.command("export")
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
