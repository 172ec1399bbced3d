"""hub → files of a published model: checkpoint and descriptions, as their authors keep them there.

No hash of these files is known beforehand: their authors publish none. What is checked is that the bytes that came are
those that the hub tells of at that commit; the commit is recorded, and can be asked for again with `revision`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramkit.errors import InputError
from ramkit.files import cache_directory
from ramkit.hub import Fetched, HubFile, fetch


@dataclass(frozen=True)
class PublishedModel:
    """A model that can be pulled."""

    about: str
    size: str
    licence: str
    checkpoint: HubFile
    descriptions: HubFile


@dataclass(frozen=True)
class Pulled:
    """What `import` needs of a model that was pulled."""

    checkpoint: Path
    descriptions: Path
    origin: dict[str, Any]  # for the model's manifest


PUBLISHED = {
    "ram-plus-swin-l": PublishedModel(
        about="RAM++, Swin-L, 384 pixels, 4,585 tags, trained on 14 million photos",
        size="3.0 GB",
        licence="Apache-2.0",
        checkpoint=HubFile("xinyu1205/recognize-anything-plus-model", "ram_plus_swin_large_14m.pth"),
        descriptions=HubFile(
            "xinyu1205/recognize-anything-plus-model-tag-descriptions",
            "ram_tag_list_4585_llm_tag_descriptions.json",
            "dataset",
        ),
    )
}


def pull(
    name: str,
    *,
    downloads: Path | None = None,
    revision: str = "main",
    descriptions_revision: str = "main",
    tell: Callable[[str], None] = lambda message: None,
) -> Pulled:
    """Fetch a published model's files, as far as they are not here already.

    Args:
        downloads: where they are kept; None: ramkit's cache.
        revision, descriptions_revision: branch, tag or commit of the two repositories.

    Raises:
        InputError: no such model or revision, or a file that is not what the hub tells.
        MissingError: the hub cannot be reached, or a download broke off; the same call goes on from there.
    """
    if name not in PUBLISHED:
        raise InputError(f"{name!r}: no such model.", cure=f"Choose from {', '.join(PUBLISHED)}.")
    model = PUBLISHED[name]
    folder = downloads or cache_directory() / "downloads"
    texts = fetch(model.descriptions, folder, revision=descriptions_revision, tell=tell)
    weights = fetch(model.checkpoint, folder, revision=revision, tell=tell)
    return Pulled(
        checkpoint=weights.path,
        descriptions=texts.path,
        origin={
            "published_as": name,
            "licence": model.licence,
            "from": _origin(model.checkpoint, weights),
            "descriptions_from": _origin(model.descriptions, texts),
        },
    )


def _origin(file: HubFile, found: Fetched) -> dict[str, Any]:
    return {
        "repository": file.repository,
        "kind": file.kind,
        "revision": found.revision,
        "file": file.name,
        "etag": found.etag,
        "as_the_hub_tells": found.checked,
    }
