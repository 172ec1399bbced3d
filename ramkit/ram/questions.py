"""What each image of a batch is asked in a step, tags and captions alike, and which answers are true."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch


@dataclass(frozen=True)
class Questions:
    """What one side of the batch is asked of each image, and the answers."""

    targets: torch.Tensor  # [B, S], 1 where it is true of the image
    selected: torch.Tensor | None = None  # [B, S], numbers of what each image is asked; None asks all S of every image
    weights: torch.Tensor | None = None  # [B, S], what each answer counts; None counts all alike

    def weigh(self, losses: torch.Tensor) -> torch.Tensor:
        """Sum of the losses [B, S]: an unbiased estimate of the sum over all that might be asked."""
        return (losses if self.weights is None else losses * self.weights).sum()

    def of(self, images: slice) -> "Questions":
        """What some images of the batch are asked."""
        return Questions(*(None if part is None else part[images] for part in self._parts()))  # type: ignore[arg-type]

    def to(self, device: torch.device) -> "Questions":
        return Questions(*(None if part is None else part.to(device) for part in self._parts()))  # type: ignore[arg-type]

    def choose(self, rows: torch.Tensor) -> torch.Tensor:
        """What each image is asked of [C, …]: [B, S, …], or all of it, unchanged."""
        return rows if self.selected is None else rows[self.selected]

    def _parts(self) -> tuple[torch.Tensor | None, ...]:
        return self.targets, self.selected, self.weights


def draw_questions(
    own: Sequence[Sequence[int]],
    total: int,
    count: int,
    generator: torch.Generator,
    passed_over: torch.Tensor | None = None,
) -> Questions:
    """Choose what to ask each image: its own first, random others up to `count`; all where `count` is 0.

    The random ones stand for all others: each counts `total` over the number of draws, and one that is the image's own,
    which was counted already, nothing. `count` should leave room for some.

    Args:
        own: for each of B images the numbers, below `total`, that are true of it.
        passed_over: [B, total], true where an answer counts nothing.
    """
    everything = torch.zeros(len(own), total)
    for row, numbers in enumerate(own):
        everything[row, list(numbers)] = 1
    counted = None if passed_over is None else (~passed_over).float()
    if count == 0 or count >= total:
        return Questions(everything, weights=counted)
    selected = torch.randint(total, (len(own), count), generator=generator)
    weights = torch.ones(len(own), count)
    for row, numbers in enumerate(own):
        first = torch.tensor(list(numbers)[:count], dtype=torch.long)
        selected[row, : len(first)] = first
        drawn = selected[row, len(first) :]
        weights[row, len(first) :] = (total / max(len(drawn), 1)) * (1 - everything[row, drawn])
    if counted is not None:
        weights = weights * counted.gather(1, selected)
    return Questions(everything.gather(1, selected), selected, weights)


def alike(
    own: Sequence[Sequence[int]], captions: torch.Tensor, image_keys: torch.Tensor, caption_keys: torch.Tensor
) -> torch.Tensor:
    """[B, N], true where a caption is not the image's own, but as good as: of the same words as one of its own, or of
    a photo with the very same tags. Such a pair is no negative.

    Args:
        own: for each of B images the numbers of its captions.
        captions: unit vectors [N, E]; of equal words, equal.
        image_keys: `tags_key` of each image's tags, [B].
        caption_keys: `tags_key` of the tags of each caption's photo, [N].
    """
    mine = torch.zeros(len(own), len(captions))
    for row, numbers in enumerate(own):
        mine[row, list(numbers)] = 1
    words = torch.unique(captions, dim=0, return_inverse=True)[1] if len(captions) else caption_keys
    same_words = mine @ (words[:, None] == words).float() > 0
    same_tags = (image_keys[:, None] == caption_keys) & (caption_keys != 0)
    return (same_words | same_tags) & (mine == 0)


def tags_key(tags: Sequence[int]) -> int:
    """A number of 63 bits that stands for a set of tags; 0 for none at all, which says nothing of two photos."""
    if not tags:
        return 0
    return int.from_bytes(blake2b(repr(sorted(set(tags))).encode(), digest_size=8).digest(), "big") >> 1
