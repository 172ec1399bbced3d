"""Files of the Hugging Face hub: fetched once, resumed where a download broke off, checked against what the hub tells.

The hub's own library resolves names and speaks the protocol; its cache is not used, because a download that it breaks
off starts anew the next time, which is no way to fetch three gigabytes. Here a part stays under a hidden name until it
is whole and its hash is right.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from ramkit.errors import BusyError, InputError, MissingError
from ramkit.files import sha256_of, write_whole

_AGAIN = "Give the same command again: it goes on from there."


@dataclass(frozen=True)
class HubFile:
    """A file of a public repository."""

    repository: str
    name: str
    kind: Literal["model", "dataset"] = "model"


@dataclass(frozen=True)
class Fetched:
    """A file on disk, and what is known of it."""

    path: Path
    revision: str  # the commit that a branch or tag stood for
    size: int
    etag: str  # SHA-256 of a large file, git's hash of a small one
    checked: bool  # whether the etag is such a hash, and the file has it


def fetch(
    file: HubFile, folder: Path, *, revision: str = "main", tell: Callable[[str], None] = lambda message: None
) -> Fetched:
    """The file, from `folder` where it is there already.

    Args:
        folder: where downloads are kept.
        revision: branch, tag or commit.

    Raises:
        InputError: the hub has no such repository, revision or file, or what came is not what the hub tells of it.
        MissingError: the hub cannot be reached, or the download broke off.
        BusyError: another run is fetching the same file.
    """
    home = folder / f"{file.kind}s--{file.repository.replace('/', '--')}"
    home.mkdir(parents=True, exist_ok=True)
    told = home / f"{hashlib.sha256(f'{revision}/{file.name}'.encode()).hexdigest()[:16]}.json"
    try:
        metadata = _metadata(file, revision)
    except MissingError:
        if (known := _fetched_before(told)) is None:
            raise
        tell(f"{file.name}: the hub cannot be reached; what was fetched before is used ({known.path}).")
        return known
    path = home / metadata.commit_hash / file.name
    with _locked(home / f"{told.name}.lock", path):
        if not path.is_file() or path.stat().st_size != metadata.size:
            tell(f"{file.repository}/{file.name}: {metadata.size / 1e9:.2f} GB to {path.parent}")
            _download(file, metadata, path)
    checked = _hash_kind(metadata.etag) is not None
    found = Fetched(path, metadata.commit_hash, path.stat().st_size, metadata.etag, checked)
    write_whole(told, json.dumps({**vars(found), "path": str(path)}) + "\n")
    return found


def _fetched_before(told: Path) -> Fetched | None:
    """What an earlier run was told of a revision, where its file is still there."""
    if not told.is_file():
        return None
    values = json.loads(told.read_text(encoding="utf-8"))
    path = Path(values["path"])
    return Fetched(**{**values, "path": path}) if path.is_file() else None


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _metadata(file: HubFile, revision: str) -> Any:
    """Commit, etag, size and location of a file, none of them None."""
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url

    where = f"{_endpoint()} has no {file.kind} {file.repository}"
    cure = "Check --revision; `ramkit pull` tells what there is."
    try:
        url = hf_hub_url(file.repository, file.name, repo_type=file.kind, revision=revision, endpoint=_endpoint())
        metadata = get_hf_file_metadata(url, token=False, endpoint=_endpoint())
    except errors.RepositoryNotFoundError:
        raise InputError(f"{where} that is open to all.", cure=cure) from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{where} of revision {revision}.", cure=cure) from None
    except errors.EntryNotFoundError:
        raise InputError(f"{where} with a file {file.name} at {revision}.", cure=cure) from None
    except Exception as error:  # of the HTTP library, which has changed with the hub's versions
        raise MissingError(
            f"{_endpoint()} cannot be reached ({_first_line(error)}).",
            cure=f"Go online and give the command again, or bring {file.name} here by hand and give it to "
            "`ramkit import`.",
        ) from None
    if None in (metadata.commit_hash, metadata.etag, metadata.size):
        raise InputError(f"{url}: the answer is no hub's.", cure="Check HF_ENDPOINT.")
    return metadata


def _download(file: HubFile, metadata: Any, path: Path) -> None:
    """Write the file whole, from the part that an earlier run left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{re.sub(r'[^0-9A-Za-z]', '', metadata.etag)}.part")
    if part.exists() and part.stat().st_size > metadata.size:
        part.unlink()
    with part.open("ab") as stream:
        missing, free = metadata.size - stream.tell(), shutil.disk_usage(path.parent).free
        if missing > free:
            raise InputError(
                f"{path.parent}: {missing / 1e9:.1f} GB are missing of {file.name}, {free / 1e9:.1f} GB are free.",
                cure="Make room, or name another folder: --downloads DIR",
            )
        _transfer(file, metadata, stream)
        stream.flush()
        os.fsync(stream.fileno())
    if (found := _hash(part, metadata.etag)) != metadata.etag:
        part.unlink()
        raise InputError(
            f"{file.name}: its {_hash_kind(metadata.etag)} is {found}, the hub tells {metadata.etag}; it was removed.",
            cure="Fetch it again; if that repeats, something between you and the hub changes it.",
        )
    part.replace(path)


def _transfer(file: HubFile, metadata: Any, stream: Any) -> None:
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # the end of its attempts is told below
    try:
        http_get(
            metadata.location,
            stream,
            resume_size=stream.tell(),
            headers={"Accept-Encoding": "identity"},  # compressed bytes could not be resumed
            expected_size=metadata.size,
            displayed_filename=file.name,
        )
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of the connection
            raise
        raise MissingError(
            f"{file.name}: the download broke off after {stream.tell():,} of {metadata.size:,} bytes "
            f"({_first_line(error)}).",
            cure=_AGAIN,
        ) from None


def _hash_kind(etag: str) -> str | None:
    """Which hash an etag is; None where it is none that is known."""
    return {64: "SHA-256", 40: "git hash"}.get(len(etag)) if re.fullmatch(r"[0-9a-f]+", etag) else None


def _hash(path: Path, etag: str) -> str:
    """The file's hash of the etag's kind; the etag itself where it is no hash."""
    kind = _hash_kind(etag)
    if kind == "SHA-256":
        return sha256_of(path)
    if kind == "git hash":
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    return etag


@contextmanager
def _locked(lock: Path, path: Path) -> Iterator[None]:
    """Of two runs that fetch one file the second is told."""
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise BusyError(f"{path}: another run is fetching it.", cure="Wait for it, or stop it.") from None


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].removesuffix(".")
