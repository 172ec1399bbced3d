"""Versioned artefacts on disk: create, load, list, lineage.

An artefact is a folder `ROOT/<kind>/v<N>/`. It is filled under a hidden name, its manifest is written
last, and only then is it renamed into place: a killed run never leaves something that looks whole.

    ROOT/vocabulary/v1/vocabulary.jsonl
    ROOT/vocabulary/v1/manifest.json     schema, kind, id, files, inputs, lineage, config, statistics, tools, created

The id is the SHA-256 over schema, kind, relative names and file hashes: equal content, equal id, wherever and
whenever it was made. The lineage repeats what the manifests of all ancestors say, so that a model copied to
another machine still tells how it came to be.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ramkit.errors import ArtifactError, BusyError
from ramkit.files import remove_parts, sha256_of, sync_directory, write_whole

SCHEMA = "ramkit-artifact"
SCHEMA_VERSION = 1
MANIFEST = "manifest.json"

# kind → the command that makes it, for errors that name the cure.
MADE_BY = {
    "vocabulary": "ramkit parse-tags",
    "triplets": "ramkit parse-tags",
    "descriptions": "ramkit describe",
    "embeddings": "ramkit embed",
    "model": "ramkit train",
    "fine": "ramkit fine train",
    "report": "ramkit evaluate",
}
_DRAFT, _SCRATCH = ".draft-", ".scratch-"
_SHAPE = {
    **dict.fromkeys(("kind", "id", "created"), str),
    **dict.fromkeys(("files", "inputs", "config", "statistics", "notes"), dict),
    "lineage": list,
}
_TOOLS = ("ramkit", "torch", "timm", "open_clip_torch", "spacy", "nltk", "tokenizers", "safetensors", "openai")


@dataclass(frozen=True)
class Artifact:
    """A whole artefact on disk, as its manifest tells it."""

    kind: str
    version: int | None  # None for one outside an artefact root, such as the bundled model
    path: Path
    manifest: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.manifest["id"])

    @property
    def name(self) -> str:
        return f"{self.kind}:v{self.version}" if self.version is not None else str(self.path)

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.manifest["config"])

    @property
    def statistics(self) -> dict[str, Any]:
        return dict(self.manifest["statistics"])

    def file(self, name: str) -> Path:
        """Path of one of its files; ArtifactError where the artefact has none of that name."""
        if name not in self.manifest["files"]:
            raise ArtifactError(f"{self.path}: has no file {name}.", cure=f"Make it anew: {_made_by(self.kind)}")
        return self.path / name

    def require_input(self, other: "Artifact") -> None:
        """Refuse to be used beside `other` unless made from it."""
        made_from = self.manifest["inputs"].get(other.kind)
        if made_from != other.id:
            raise ArtifactError(
                f"{self.name} was made from another {other.kind} ({_short(made_from)}) than {other.name} "
                f"({_short(other.id)}).",
                cure=f"Make it for this {other.kind}: {_made_by(self.kind)} --{other.kind} {_version_of(other)}",
            )


@dataclass
class Draft:
    """An artefact being written: fill `path`, set `statistics`, then `publish()`."""

    root: Path
    kind: str
    path: Path
    inputs: Sequence[Artifact]
    config: dict[str, Any]
    resumed: bool
    statistics: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def publish(self, *, again: bool = True) -> Artifact:
        """Write the manifest and rename the folder to the next free version, durably.

        Where `again` is false and the newest version is the same in all but its date, that one is returned instead.
        """
        manifest = _manifest(self)
        newest = None if again else up_to_date(self.root, self.kind, self.inputs, self.config)
        if newest is not None and newest.id == manifest["id"]:
            return newest
        write_whole(self.path / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        home = self.root / self.kind
        version = max(versions(self.root, self.kind), default=0) + 1
        while True:
            target = home / f"v{version}"
            try:
                os.rename(self.path, target)
                break
            except OSError:
                if not target.exists():
                    raise
                version += 1  # another run published this number first
        sync_directory(home)
        return Artifact(self.kind, version, target, manifest)


@contextmanager
def draft(
    root: Path, kind: str, *, inputs: Sequence[Artifact] = (), config: dict[str, Any], resumable: bool = False
) -> Iterator[Draft]:
    """Open a folder to fill. A resumable draft is kept when the run ends early and found again by a run with the
    same inputs and configuration; any other is removed. Two runs on one resumable draft: BusyError."""
    home = root / kind
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"{home}: cannot be made ({error.strerror}).", cure="Name a folder to write in with --artifacts."
        ) from None
    _remove_abandoned(home)
    key = _draft_key(kind, inputs, config)
    if not resumable:
        key = f"{key}-{os.getpid()}-{os.urandom(3).hex()}"
    path = home / f"{_DRAFT if resumable else _SCRATCH}{key}"
    with _locked(path, kind):
        path.mkdir(exist_ok=True)
        remove_parts(path)
        resumed = any(path.iterdir())
        try:
            yield Draft(root, kind, path, inputs, config, resumed)
        finally:
            if path.exists() and (not resumable or not any(path.iterdir())):
                shutil.rmtree(path)


def load(path: Path, kind: str | None = None, *, version: int | None = None) -> Artifact:
    """Read and verify an artefact folder.

    Raises:
        ArtifactError: no manifest, wrong schema or kind, or files changed, missing or extra.
    """
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        raise ArtifactError(f"{path}: no artefact here ({MANIFEST} is missing).", cure="List them: ramkit artifacts")
    manifest = _read_manifest(manifest_path)
    if kind is not None and manifest["kind"] != kind:
        raise ArtifactError(f"{path}: is of kind {manifest['kind']}, needed is {kind}.", cure="Name another folder.")
    _verify_files(path, manifest)
    return Artifact(manifest["kind"], version, path, manifest)


def find(root: Path, kind: str, which: str | None = None) -> Artifact:
    """The newest artefact of a kind, or the one that `which` names: `v3`, `3`, `kind:v3`, or a folder."""
    known = versions(root, kind)
    if which is None:
        if not known:
            what = "fine model" if kind == "fine" else kind
            raise ArtifactError(f"{root}: holds no {what} yet.", cure=f"Make one: {_made_by(kind)}")
        return load(root / kind / f"v{known[-1]}", kind, version=known[-1])
    match = re.fullmatch(rf"(?:{kind}:)?v?(\d+)", which)
    if match is None:
        return load(Path(which), kind)
    version = int(match[1])
    if version not in known:
        have = ", ".join(f"v{number}" for number in known) or "none"
        raise ArtifactError(f"{root}: has no {kind}:v{version} (there: {have}).", cure="List them: ramkit artifacts")
    return load(root / kind / f"v{version}", kind, version=version)


def up_to_date(root: Path, kind: str, inputs: Sequence[Artifact], config: dict[str, Any]) -> Artifact | None:
    """The newest artefact of a kind, if it is whole and was made from these inputs with this configuration."""
    if not versions(root, kind):
        return None
    try:
        newest = find(root, kind)
    except ArtifactError:
        return None
    same = newest.manifest["inputs"] == _inputs(inputs) and newest.config == json.loads(json.dumps(config))
    return newest if same else None


def versions(root: Path, kind: str) -> list[int]:
    """Version numbers of a kind, ascending."""
    home = root / kind
    if not home.is_dir():
        return []
    named = (entry for entry in home.iterdir() if re.fullmatch(r"v[1-9][0-9]*", entry.name))
    return sorted(int(entry.name[1:]) for entry in named if entry.is_dir())


def list_all(root: Path) -> list[tuple[str, int, Path]]:
    """(kind, version, folder) of everything under a root, in pipeline order."""
    return [(kind, number, root / kind / f"v{number}") for kind in MADE_BY for number in versions(root, kind)]


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of an artefact folder without hashing its files (for listings)."""
    return _read_manifest(path / MANIFEST)


def export(source: Artifact, target: Path, notes: dict[str, Any]) -> Artifact:
    """Copy an artefact to a folder of its own, with notes added to its manifest; its id stays the same.

    Raises:
        ArtifactError: the folder exists already.
    """
    refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source.path, unfinished)
    manifest = {**source.manifest, "notes": {**source.manifest["notes"], **notes}}
    manifest["seal"] = _seal(manifest)
    write_whole(unfinished / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    os.rename(unfinished, target)
    sync_directory(target.parent)
    return load(target)


def refuse_existing(target: Path) -> None:
    """ArtifactError where a folder that is to be made is there already."""
    if target.exists():
        raise ArtifactError(f"{target}: exists already.", cure="Name a new folder.")


def lineage_of(artifact: Artifact) -> list[dict[str, Any]]:
    """What to store of an artefact and its ancestors in the manifest of a descendant, nearest first."""
    manifest = artifact.manifest
    kept = ("kind", "id", "inputs", "config", "statistics", "notes", "created")
    own = {"name": artifact.name, **{key: manifest[key] for key in kept}}
    return [own, *manifest["lineage"]]


def ancestor(of: Artifact, kind: str) -> str | None:
    """Id of the nearest ancestor of a kind: the triplets that a model, or the one it was made from, learnt from."""
    own = of.manifest["inputs"].get(kind)
    return own or next((entry["id"] for entry in of.manifest["lineage"] if entry.get("kind") == kind), None)


def _manifest(work: Draft) -> dict[str, Any]:
    files = {name: _describe_file(work.path / name) for name in _file_names(work.path)}
    ancestors: dict[str, dict[str, Any]] = {}
    for source in work.inputs:
        for entry in lineage_of(source):
            ancestors.setdefault(entry["id"], entry)
    manifest = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "kind": work.kind,
        "id": _content_id(work.kind, files),
        "files": files,
        "inputs": _inputs(work.inputs),
        "config": work.config,
        "statistics": work.statistics,
        "notes": work.notes,
        "lineage": list(ancestors.values()),
        "tools": _tool_versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return {**manifest, "seal": _seal(manifest)}


def _inputs(sources: Sequence[Artifact]) -> dict[str, str]:
    return {source.kind: source.id for source in sources}


def _seal(manifest: dict[str, Any]) -> str:
    """Hash of everything else in the manifest: what it tells of inputs and lineage is not to be edited either."""
    rest = {key: value for key, value in manifest.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _describe_file(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    return {"sha256": sha256_of(path), "bytes": path.stat().st_size}


def _file_names(path: Path) -> list[str]:
    found = (entry.relative_to(path).as_posix() for entry in path.rglob("*") if entry.is_file())
    return sorted(name for name in found if name != MANIFEST)


def _content_id(kind: str, files: dict[str, dict[str, Any]]) -> str:
    content = [SCHEMA, SCHEMA_VERSION, kind, sorted((name, entry["sha256"]) for name, entry in files.items())]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON
        raise ArtifactError(f"{path}: unreadable manifest ({error}).", cure="Make the artefact anew.") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise ArtifactError(f"{path}: not a ramkit artefact.", cure="Name a folder that ramkit wrote.")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise ArtifactError(
            f"{path}: schema version {manifest.get('schema_version')}, this ramkit reads {SCHEMA_VERSION}.",
            cure="Install a ramkit that reads it, or make the artefact anew.",
        )
    if missing := _SHAPE.keys() - manifest.keys():
        raise ArtifactError(f"{path}: the manifest lacks {', '.join(sorted(missing))}.", cure="Make it anew.")
    if damaged := _damaged_keys(manifest):
        raise ArtifactError(f"{path}: {', '.join(damaged)} in the manifest is damaged.", cure="Make it anew.")
    return manifest


def _damaged_keys(manifest: dict[str, Any]) -> list[str]:
    """Keys whose values are of another shape than ramkit writes."""
    if wrong := [key for key, shape in _SHAPE.items() if not isinstance(manifest[key], shape)]:
        return wrong
    entries = {"files": ("sha256", manifest["files"].values()), "lineage": ("id", manifest["lineage"])}
    return [
        key
        for key, (needed, parts) in entries.items()
        if not all(isinstance(part, dict) and needed in part for part in parts)
    ]


_KEEP_AN_EDIT = "to keep an edit, copy it and add --vocabulary COPY"


def _verify_files(path: Path, manifest: dict[str, Any]) -> None:
    cure = f"Make it anew: {_made_by(manifest['kind'])}"
    listed, present = set(manifest["files"]), set(_file_names(path))
    if missing := sorted(listed - present):
        raise ArtifactError(f"{path}: file missing: {', '.join(missing)}.", cure=cure)
    if extra := sorted(present - listed):
        raise ArtifactError(f"{path}: file that is not in the manifest: {', '.join(extra)}.", cure="Move it away.")
    for name, entry in manifest["files"].items():
        if sha256_of(path / name) != entry["sha256"]:
            keep = f"; {_KEEP_AN_EDIT}" if manifest["kind"] == "vocabulary" else ""
            raise ArtifactError(f"{path}: {name} was changed after it was written.", cure=cure + keep)
    if manifest["id"] != _content_id(manifest["kind"], manifest["files"]) or manifest.get("seal") != _seal(manifest):
        raise ArtifactError(f"{path}: {MANIFEST} was changed after it was written.", cure=cure)


def _draft_key(kind: str, inputs: Sequence[Artifact], config: dict[str, Any]) -> str:
    content = [SCHEMA_VERSION, kind, sorted((source.kind, source.id) for source in inputs), config]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def _locked(path: Path, kind: str) -> Iterator[None]:
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{path}: another run is writing this {kind}.", cure="Wait for it, or stop it.") from None
    try:
        yield
    finally:
        lock.release()
        if path.name.startswith(_SCRATCH):  # a name nobody else can want; other lock files must outlive the lock
            Path(lock.lock_file).unlink(missing_ok=True)


def _remove_abandoned(home: Path) -> None:
    """Remove what killed runs left that nothing can resume."""
    for path in home.glob(f"{_SCRATCH}*"):
        if path.suffix == ".lock":
            continue
        lock = FileLock(path.with_name(f"{path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue  # a living run's
        shutil.rmtree(path, ignore_errors=True)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _tool_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _TOOLS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _made_by(kind: str) -> str:
    return MADE_BY.get(kind, "run the stage that wrote it")


def _short(identity: str | None) -> str:
    return "none" if identity is None else identity[:12]


def _version_of(artifact: Artifact) -> str:
    return f"v{artifact.version}" if artifact.version is not None else str(artifact.path)
