"""Whether the text side makes sense: which tags lie near a text, and how alike the descriptions of one tag are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from ramkit.embeddings import EmbeddingFile

_STEP = 256  # tags in memory at once


@dataclass(frozen=True)
class Spread:
    """How alike a tag's D descriptions are."""

    mean_cosine: float  # of all pairs; 1 where there is one description alone
    typical: list[float]  # cosine of each with the mean of the others; 1 where there is no other


def mean_vectors(path: Path) -> torch.Tensor:
    """The mean of each tag's descriptions, as unit vectors [C, E]; read some tags at a time."""
    with EmbeddingFile.open(path) as file:
        return torch.cat([F.normalize(part.descriptions.sum(1), dim=-1) for part in file.split(_STEP)])


def vectors_of(path: Path, tag: int) -> torch.Tensor:
    """The descriptions [D, E] of one tag."""
    with EmbeddingFile.open(path) as file:
        found = file.read(tag)
    return found.descriptions[0, : found.counts[0]]


def nearest(
    vector: torch.Tensor, means: torch.Tensor, *, but: Sequence[int] = (), most: int = 10
) -> list[tuple[int, float]]:
    """(number, cosine) of the tags whose means [C, E] lie nearest to a vector [E], best first."""
    cosines = means @ F.normalize(vector, dim=-1)
    cosines[list(but)] = -torch.inf
    found = cosines.topk(min(most, len(means) - len(but)))
    return list(zip(found.indices.tolist(), found.values.tolist(), strict=True))


def spread_of(vectors: torch.Tensor) -> Spread:
    """How alike the descriptions [D, E] of a tag are, unit vectors.

    Their sum s tells both without a look at each pair: |s|² is D plus twice the cosines of all pairs.
    """
    number = len(vectors)
    if number < 2:
        return Spread(1.0, [1.0] * number)
    units = F.normalize(vectors.double(), dim=-1)
    total = units.sum(0)
    pairs = (total.square().sum() - number) / (number * (number - 1))
    others = F.normalize(total - units, dim=-1)
    return Spread(float(pairs), (units * others).sum(-1).tolist())
