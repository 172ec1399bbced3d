"""What artefacts there are, what they hold, and what each was made from."""

import tomllib
from pathlib import Path
from typing import Any

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.errors import InputError
from ramkit.tagger import find_model

Branch = tuple[str, list[Any]]  # a line, and the branches below it
_SHOWN = 4  # statistics in a listing


def list_artifacts(artifacts: Path) -> list[dict[str, Any]]:
    """One row an artefact, in the pipeline's order."""
    found = [(kind, number, artifact.read_manifest(path)) for kind, number, path in artifact.list_all(artifacts)]
    names = {manifest["id"]: f"{kind}:v{number}" for kind, number, manifest in found}
    return [
        {
            "artifact": f"{kind}:v{number}",
            "id": manifest["id"][:12],
            "inputs": ", ".join(names.get(source, source[:12]) for source in manifest["inputs"].values()),
            "created": manifest["created"][:16].replace("T", " "),
            "holds": _summary(manifest["statistics"]),
        }
        for kind, number, manifest in found
    ]


def show_artifact(artifacts: Path, which: str) -> Artifact:
    """The artefact that KIND:vN, a folder, or the name of a bundled model names, verified.

    Raises:
        InputError: not of that form.
        ArtifactError: there is none, or it was changed.
    """
    kind = which.partition(":")[0]
    if kind in artifact.MADE_BY:
        return artifact.find(artifacts, kind, which if which != kind else None)
    if Path(which).is_dir():
        return artifact.load(Path(which))
    if ":" in which:
        kinds = ", ".join(artifact.MADE_BY)
        raise InputError(f"{which!r}: there is no such kind.", cure=f"Kinds: {kinds}")
    return find_model(artifacts, which)


def export_artifact(artifacts: Path, which: str, target: Path, notes: Path | None) -> Artifact:
    """Copy an artefact to a folder that can be given away, with the notes of a TOML file in its manifest.

    Raises:
        InputError: the notes are no TOML.
    """
    try:
        added = tomllib.loads(notes.read_text(encoding="utf-8")) if notes is not None else {}
    except (OSError, ValueError) as error:
        raise InputError(f"{notes}: not readable as TOML ({error}).", cure="Mend the file.") from None
    return artifact.export(show_artifact(artifacts, which), target, added)


def lineage_tree(found: Artifact) -> Branch:
    """The artefact and below it, step by step, what it was made from."""
    known = {entry["id"]: entry for entry in found.manifest["lineage"]}

    def branch(entry: dict[str, Any], name: str) -> Branch:
        below = [branch(known[source], known[source]["name"]) for source in entry["inputs"].values() if source in known]
        notes: list[Branch] = [(f"{key}: {value}", []) for key, value in entry["notes"].items()]
        line = f"{name}  {entry['id'][:12]}  {entry['created']}"
        return line, [
            (f"holds: {_summary(entry['statistics'])}", []),
            (f"configuration: {_settings(entry)}", []),
            *notes,
            *below,
        ]

    return branch(found.manifest, found.name)


def _summary(statistics: dict[str, Any]) -> str:
    plain = {key: value for key, value in statistics.items() if isinstance(value, int | float | str)}
    return ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in list(plain.items())[:_SHOWN])


def _settings(entry: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in entry["config"].items() if value not in ("", None))
