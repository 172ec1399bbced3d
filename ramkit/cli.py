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
    except KeyboardInterrupt:
        console.say("stopped; run the same command again to go on.")
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"ramkit {__version__}")
        raise typer.Exit
