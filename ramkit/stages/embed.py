"""descriptions → embeddings: every description's vector, computed once, so that training and tagging read them.

The artefact holds `embeddings.safetensors` with `descriptions` [C, D, E] (zeros where a tag has fewer than D) and
`counts` [C], and `texts.jsonl` with the texts behind each row and their hashes. Texts that an earlier embeddings
artefact of the same encoder holds are taken from there, and an interrupted run goes on where it stopped.
"""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from ramkit import artifact
from ramkit.artifact import Artifact, Draft
from ramkit.config import EmbedConfig, as_dict
from ramkit.embeddings import TENSORS, TEXTS, Embedded, read_embeddings, save_embeddings
from ramkit.errors import ArtifactError, InputError
from ramkit.files import read_rows, write_rows
from ramkit.progress import Track, silent
from ramkit.tensors import load_tensors, save_tensors
from ramkit.text.encoders import TextEncoder

_PART = 2048  # texts encoded between two savings


def embed(
    *,
    artifacts: Path,
    encoder: TextEncoder,
    config: EmbedConfig,
    descriptions: str | None = None,
    vocabulary: str | None = None,
    track: Track = silent,
) -> Artifact:
    """Encode the descriptions of each tag of the vocabulary and publish them.

    Raises:
        ArtifactError: no descriptions or vocabulary, or descriptions that lack a tag of the vocabulary.
    """
    if config.max_descriptions < 1:
        raise InputError(f"max_descriptions = {config.max_descriptions}.", cure="Give a whole number above 0.")
    words = artifact.find(artifacts, "vocabulary", vocabulary)
    described = artifact.find(artifacts, "descriptions", descriptions)
    tags = [row["tag"] for row in read_rows(words.file("vocabulary.jsonl"))]
    if not tags:
        raise InputError(f"{words.path}: the vocabulary is empty.", cure="Parse more captions, or lower --min-count.")
    texts = _texts_of(described, tags, config.max_descriptions)
    settings = {**as_dict(config), "encoder": encoder.identity(), "width": encoder.width}
    with artifact.draft(artifacts, "embeddings", inputs=[words, described], config=settings, resumable=True) as work:
        resumed = any(_parts(work).glob("*.safetensors"))
        known = _known_vectors(artifacts, encoder, config)
        new = list(dict.fromkeys(text for row in texts for text in row if _hash(text) not in known))
        known.update(_encode(work, encoder, new, track))
        _write(work, texts, tags, known, config, encoder.width)
        work.statistics = {
            "tags": len(tags),
            "texts": sum(map(len, texts)),
            "encoded": len(new),
            "resumed": resumed,
            "descriptions_a_tag": round(sum(map(len, texts)) / len(tags), 2),
        }
        made = work.publish()
        shutil.rmtree(_parts(work), ignore_errors=True)
        return made


def _parts(work: Draft) -> Path:
    """Folder of what is encoded so far: beside the draft, so that it outlives even a kill while it is published."""
    return work.path.with_name(f"{work.path.name}-parts")


def _texts_of(described: Artifact, tags: Sequence[str], limit: int) -> list[list[str]]:
    by_tag: dict[str, list[str]] = {tag: [] for tag in tags}
    for row in read_rows(described.file("descriptions.jsonl")):
        if row["tag"] in by_tag and row["text"] not in by_tag[row["tag"]]:
            by_tag[row["tag"]].append(row["text"])
    if bare := [tag for tag in tags if not by_tag[tag]]:
        raise ArtifactError(
            f"{described.name} describes none of: {', '.join(bare[:5])}{' …' if len(bare) > 5 else ''} "
            f"({len(bare)} of {len(tags)} tags).",
            cure="Describe this vocabulary: ramkit describe",
        )
    return [by_tag[tag][:limit] for tag in tags]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _known_vectors(artifacts: Path, encoder: TextEncoder, config: EmbedConfig) -> dict[str, torch.Tensor]:
    """Hash → vector of every text in the newest embeddings that the same encoder made at the same precision."""
    for version in reversed(artifact.versions(artifacts, "embeddings")):
        try:
            made = artifact.read_manifest(artifacts / "embeddings" / f"v{version}")["config"]
            if made.get("encoder") != encoder.identity() or made.get("precision") != config.precision:
                continue
            earlier = artifact.find(artifacts, "embeddings", str(version))
        except ArtifactError:  # damaged: nothing to learn from it
            continue
        vectors = read_embeddings(earlier.file(TENSORS)).descriptions
        rows = read_rows(earlier.file(TEXTS))
        return {key: vectors[i, j] for i, row in enumerate(rows) for j, key in enumerate(row["hashes"])}
    return {}


def _encode(work: Draft, encoder: TextEncoder, texts: Sequence[str], track: Track) -> dict[str, torch.Tensor]:
    """Vectors of the texts, saved part by part; parts that an interrupted run saved are not redone."""
    vectors: dict[str, torch.Tensor] = {}
    _parts(work).mkdir(exist_ok=True)
    starts = range(0, len(texts), _PART)
    for start in track(starts, total=len(starts), what="embedding descriptions"):
        chosen = texts[start : start + _PART]
        name = hashlib.sha256("\n".join(chosen).encode()).hexdigest()[:24]
        part = _parts(work) / f"{name}.safetensors"
        if not part.exists():
            unfinished = part.with_suffix(".tmp")
            save_tensors(unfinished, {"vectors": encoder.encode(chosen)})
            unfinished.replace(part)
        vectors.update(zip(map(_hash, chosen), load_tensors(part)["vectors"], strict=True))
    return vectors


def _write(
    work: Draft,
    texts: Sequence[Sequence[str]],
    tags: Sequence[str],
    known: dict[str, torch.Tensor],
    config: EmbedConfig,
    width: int,
) -> None:
    stacked = torch.zeros(len(texts), max(map(len, texts)), width)
    for i, row in enumerate(texts):
        stacked[i, : len(row)] = torch.stack([known[_hash(text)] for text in row])
    counts = torch.tensor([len(row) for row in texts])
    save_embeddings(work.path / TENSORS, Embedded(stacked, counts), config.precision)
    write_rows(
        work.path / TEXTS,
        (
            {"tag": tag, "hashes": [_hash(text) for text in row], "texts": row}
            for tag, row in zip(tags, texts, strict=True)
        ),
    )
