"""DaTP, the discrepancy-aware text prompt: learnt words that tell the kinds of one super-category apart.

    P^c = [X_1, …, X_J, class++],  c = 1 … C;    E_T^c = T(P^c)        (arXiv 2309.08912)

X_j ∈ R^D are learnt; class++ are the word embeddings of the super-category ("bird", "wild cat"), shared by all kinds; T
is a frozen text encoder. Were X the same for all kinds, all prompts would coincide: it is [C, J, D].
"""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ramkit.text.encoders import TextEncoder


class Prompts(nn.Module):
    """X, and the way through the text encoder, which is no part of this module: it is neither trained nor saved.

    Args:
        kinds: C.
        tokens: J.
        per_kind: false shares one X [J, D] among all kinds, as the paper's formula can be read.
        chunk: prompts encoded at once; where there are more, activations are computed again in the backward pass, so
            that memory does not grow with C.

    Raises:
        InputError: J tokens and the super-category are more than the text encoder reads.
    """

    def __init__(
        self, encoder: TextEncoder, supercategory: str, *, kinds: int, tokens: int, per_kind: bool, chunk: int
    ) -> None:
        super().__init__()
        self._encoder, self._chunk, self._kinds = encoder, chunk, kinds
        self._frame = encoder.frame(supercategory, tokens)
        table = encoder.word_embeddings
        # As far from one another as words are.
        drawn = torch.randn(kinds if per_kind else 1, tokens, table.shape[1]) * table.float().std().cpu()
        self.vectors = nn.Parameter(drawn)  # X [C, J, D]

    def forward(self) -> torch.Tensor:
        """E_T [C, E], not scaled to unit length."""
        parts = self.vectors.split(self._chunk)
        if len(parts) == 1:
            texts = self._encode(self.vectors)
        else:
            texts = torch.cat([checkpoint(self._encode, part, use_reentrant=False) for part in parts])
        return texts.expand(self._kinds, -1)

    def _encode(self, vectors: torch.Tensor) -> torch.Tensor:
        return self._encoder.encode_prompts(self._frame, vectors)
