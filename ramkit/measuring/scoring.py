"""Photos to logits, for several models in one pass; what was computed once is not computed again.

Two kinds of shards lie in the cache folder: features, named by image encoder and the photos' bytes, and logits, named
by all that they depend on. Another threshold takes the logits, another vocabulary or head the features, and an
interrupted run goes on with the first shard that is missing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from ramkit.features import (
    Encoding,
    content_digests,
    encoded,
    failures_of,
    kept_shards,
    rows_of,
    save_shard,
    shard_key,
)
from ramkit.progress import Track, silent

SHARD = 64  # photos; an interrupted run loses at most so many
_BATCH = 16


class Scorer(Protocol):
    """A model with its questions."""

    @property
    def identity(self) -> str:
        """Names all that the logits depend on but the photos."""
        ...

    @property
    def encoding(self) -> Encoding: ...

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """[B, C], higher for what is seen, of features [B, T, V]."""
        ...


def score_photos(
    folder: Path,
    references: Sequence[str],
    scorers: Sequence[Scorer],
    *,
    keep_features: bool = True,
    track: Track = silent,
) -> tuple[list[npt.NDArray[np.float32]], dict[int, str]]:
    """(logits [N, C] of each scorer, zeros where a photo cannot be read; position → why).

    Args:
        folder: the cache.
        keep_features: keep the features too, not only the logits: 2·T·V bytes a photo and image encoder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: list[list[torch.Tensor]] = [[] for _ in scorers]
    failed: dict[int, str] = {}
    starts = range(0, len(references), SHARD)
    for start in track(starts, total=len(starts), what="evaluating"):
        chosen = references[start : start + SHARD]
        digests = content_digests(chosen)
        paths = [folder / f"logits-{shard_key(scorer.identity, 0, digests)}.safetensors" for scorer in scorers]
        missing = {path: scorer for path, scorer in zip(paths, scorers, strict=True) if not path.exists()}
        if missing:
            _score_shard(folder, missing, chosen, digests, keep_features)
        for rows, path in zip(found, paths, strict=True):
            rows.append(rows_of(path))
        failed.update({start + position: why for position, why in failures_of(paths[0], chosen).items()})
    return [_joined(rows).numpy() for rows in found], failed


def _joined(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """[N, C]; a shard without a readable photo has no columns."""
    width = max(part.shape[1] for part in rows)
    return torch.cat([part if part.shape[1] else part.new_zeros(len(part), width) for part in rows])


def _score_shard(
    folder: Path, scorers: dict[Path, Scorer], references: Sequence[str], digests: Sequence[str], keep: bool
) -> None:
    encodings = {scorer.encoding.identity: scorer.encoding for scorer in scorers.values()}
    if keep:
        shards = kept_shards(folder, references, digests, 0, list(encodings.values()))
        features = {name: rows_of(path) for name, path in zip(encodings, shards, strict=True)}
        failed = failures_of(shards[0], references)
    else:
        made = encoded(list(encodings.values()), references)
        features = {name: rows for name, (rows, _) in zip(encodings, made, strict=True)}
        failed = made[0][1]
    readable = [position for position in range(len(references)) if position not in failed]
    for path, scorer in scorers.items():
        own = features[scorer.encoding.identity]
        parts = [readable[first : first + _BATCH] for first in range(0, len(readable), _BATCH)]
        logits = [scorer.logits(own[part].float()) for part in parts]
        rows = torch.zeros(len(references), logits[0].shape[1] if logits else 0)
        if logits:
            rows[readable] = torch.cat(logits)
        save_shard(path, rows, references, failed)
