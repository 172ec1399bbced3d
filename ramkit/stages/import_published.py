"""a published checkpoint → model: the tensors of RAM++'s authors as a model artefact, nothing added, nothing lost."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ramkit import artifact
from ramkit.artifact import Artifact, Draft
from ramkit.config import ImportConfig, as_dict
from ramkit.embeddings import Embedded
from ramkit.errors import InputError
from ramkit.files import sha256_of
from ramkit.ram.published import DEFAULT_THRESHOLD, Published, read_published
from ramkit.tagger import save_parts
from ramkit.text.encoders import load_text_encoder
from ramkit.text.published_descriptions import read_published_entries
from ramkit.weights import read_state_dict


def import_published(
    *,
    artifacts: Path,
    checkpoint: Path,
    config: ImportConfig,
    tags: Path | None = None,
    descriptions: Path | None = None,
    thresholds: Path | None = None,
    output: Path | None = None,
    origin: dict[str, Any] | None = None,
    tell: Callable[[str], None] = lambda message: None,
) -> Artifact:
    """Publish a model artefact of a checkpoint.

    Args:
        tags: the tags, one a line, in the checkpoint's order; without it they are those of `descriptions`.
        descriptions: the texts behind the checkpoint's vectors, a JSON list of {tag: [texts]}.
        thresholds: one a tag, in the same order.
        output: a new folder for the model, instead of the next version under `artifacts`.
        origin: what else is known of where the file is from; goes into the manifest's notes.

    Raises:
        InputError: a file that cannot be read, does not belong to the others, or is no checkpoint of RAM++.
        ArtifactError: the output folder exists already.
    """
    if output is not None:
        artifact.refuse_existing(output)
    names, texts = _read_tags(tags, descriptions)
    published = read_published(read_state_dict(checkpoint), checkpoint)
    vectors = published.descriptions(len(names))
    _check_texts(texts, vectors.shape[1], descriptions)
    limits = _read_thresholds(thresholds, len(names)) if thresholds else None
    tell(f"{checkpoint}: SHA-256 of {checkpoint.stat().st_size / 1e9:.1f} GB …")
    digest = sha256_of(checkpoint)
    tell("writing the model …")
    with _draft(artifacts, output, as_dict(config)) as (work, publish):
        save_parts(
            work.path,
            config=published.config,
            head=published.head,
            image_encoder=published.image_encoder,
            embedded=Embedded(vectors, torch.full((len(names),), vectors.shape[1])),
            rows=[{"tag": tag, **({"threshold": limits[i]} if limits else {})} for i, tag in enumerate(names)],
            text_identity=_text_identity(config.text_encoder, published.config.embed_width),
            threshold=DEFAULT_THRESHOLD,
            texts=[own for _, own in texts],
            weights=config.precision,
            vectors=config.precision,
        )
        work.statistics = _statistics(published, vectors, texts, limits, work)
        work.notes = {"checkpoint": checkpoint.name, "checkpoint_sha256": digest, **(origin or {})}
        return publish()


def _read_tags(tags: Path | None, descriptions: Path | None) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The tags, and their texts where a file gives them."""
    texts = read_published_entries(descriptions) if descriptions else []
    described = [tag for tag, _ in texts]
    if tags is None:
        if not texts:
            raise InputError("The checkpoint holds no names of tags.", cure="Give --descriptions or --tags.")
        return _distinct(described, descriptions), texts
    names = _distinct(_lines(tags, "--tags"), tags)
    if texts and names != described:
        first = next((i for i, pair in enumerate(zip(names, described, strict=False)) if pair[0] != pair[1]), None)
        found = (
            f"{len(names)} tags, {descriptions} {len(described)}"
            if first is None
            else f"tag {first + 1} is {names[first]!r}, in {descriptions} {described[first]!r}"
        )
        raise InputError(f"{tags}: {found}.", cure="Give one of the two files, or two that belong together.")
    return names, texts


def _distinct(names: Sequence[str], source: Path | None) -> list[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{source}: {name!r} comes twice.", cure="Give the list that belongs to the checkpoint.")
        seen.add(name)
    return list(names)


def _check_texts(texts: Sequence[tuple[str, Sequence[str]]], count: int, source: Path | None) -> None:
    for tag, own in texts:
        if len(own) != count:
            raise InputError(
                f"{source}: {len(own)} texts of {tag!r}, the checkpoint holds {count} vectors a tag.",
                cure="Give the descriptions that belong to it.",
            )


def _read_thresholds(path: Path, count: int) -> list[float]:
    lines = _lines(path, "--thresholds")
    if len(lines) != count:
        raise InputError(f"{path}: {len(lines)} thresholds of {count} tags.", cure="Give one a line for every tag.")
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            value = float(line)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise InputError(f"{path}, line {number}: {line!r} is no score.", cure="Give a number from 0 to 1.")
        found.append(value)
    return found


def _lines(path: Path, option: str) -> list[str]:
    """Lines without the blank ones at the end: a line's number is its tag's."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}).", cure=f"Check the path given to {option}.") from None
    if "" in lines:
        raise InputError(f"{path}, line {lines.index('') + 1}: is empty.", cure="Give one entry a line.")
    return lines


def _text_identity(spec: str, width: int) -> dict[str, str]:
    """A text encoder that is a file here is loaded and known by its hash; any other is only named, as nothing in the
    checkpoint tells which it was."""
    model, _, path = spec.partition("/")
    if not path or not Path(path).is_file():
        return {"spec": spec}
    encoder = load_text_encoder(f"{model}/{Path(path).resolve()}")
    if encoder.width != width:
        raise InputError(
            f"{spec} gives vectors of {encoder.width} numbers, the checkpoint's have {width}.",
            cure="Name the text encoder it was trained with (CLIP ViT-B/16).",
        )
    return encoder.identity()


def _statistics(
    published: Published,
    vectors: torch.Tensor,
    texts: Sequence[Any],
    limits: Sequence[float] | None,
    work: Draft,
) -> dict[str, Any]:
    config = published.config
    tensors = [*published.image_encoder.values(), *published.head.values()]
    return {
        "tags": vectors.shape[0],
        "descriptions_a_tag": vectors.shape[1],
        "image_encoder": config.image_encoder,
        "image_size": config.image_size,
        "threshold": "one a tag" if limits else DEFAULT_THRESHOLD,
        "tags_that_never_fire": sum(limit >= 1 for limit in limits or ()),
        "texts_of_descriptions": bool(texts),
        "parameters": sum(tensor.numel() for tensor in tensors),
        "temperature_in_checkpoint": published.temperature_stored,
        "buffers_left_out": published.ignored,
        "bytes": sum(entry.stat().st_size for entry in work.path.iterdir()),
        "architecture": asdict(config),
    }


@contextmanager
def _draft(
    artifacts: Path, output: Path | None, settings: dict[str, Any]
) -> Iterator[tuple[Draft, Callable[[], Artifact]]]:
    """A draft, and what publishes it: as the next version, or as a folder of its own."""
    if output is None:
        with artifact.draft(artifacts, "model", config=settings) as work:
            yield work, work.publish
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as beside,
        artifact.draft(Path(beside), "model", config=settings) as work,
    ):
        yield work, lambda: _moved(work.publish(), output)


def _moved(made: Artifact, output: Path) -> Artifact:
    os.rename(made.path, output)
    return Artifact(made.kind, None, output, made.manifest)
