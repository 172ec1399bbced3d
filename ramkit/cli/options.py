"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ArtifactsOption = Annotated[
    Path,
    typer.Option("--artifacts", envvar="RAMKIT_ARTIFACTS", help="Folder that holds the versioned artefacts."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="`mini`, a folder, or model:vN; default: the newest trained here, else mini."),
]
ARTIFACTS = Path("artifacts")
