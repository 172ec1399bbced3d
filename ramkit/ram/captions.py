"""The batch's captions as vectors: encoded online by a frozen encoder, each once."""

from collections.abc import Sequence

import torch

from ramkit.text.encoders import TextEncoder

_LIMIT = 300_000


class CaptionVectors:
    """What was encoded once is remembered, up to a limit."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._known: dict[str, torch.Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [N, E]; those of equal texts are equal."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(new) > _LIMIT:
            self._known.clear()
            new = list(dict.fromkeys(texts))
        # One by one: in a batch the last bits of a vector depend on the other texts, and a run that goes on from a
        # checkpoint would meet others than one that was never interrupted.
        self._known.update((text, self._encoder.encode([text])[0]) for text in new)
        return torch.stack([self._known[text] for text in texts]) if texts else torch.empty(0, self._encoder.width)


def one_of(captions: Sequence[str], epoch: int) -> str:
    """One caption a photo and epoch, in turn; empty where it has none."""
    return captions[epoch % len(captions)] if captions else ""
