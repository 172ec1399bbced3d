"""The paradigms that RAM++ compares its own with (Figures 3 and 7): contrast of global features, and matching of pairs.

ITTA (image–tag–text alignment), RAM++'s own, is `AlignmentHead.align`. The two here are asked the same way: queries
[B, C, E] or [C, E] and projected image tokens [B, 1 + T, E], the global one first, give logits [B, C]. They are small
reference implementations on the same features, of the depth and widths of ITTA's decoder, so that what differs is the
paradigm and not the size of the model.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

_LOG_SCALE = math.log(1 / 0.07)  # CLIP's start
_BIAS = -4.0  # most tags are not in most photos; CLIP's softmax needs no such thing, a sigmoid does (as in SigLIP)
_EPS = 1e-12  # of LayerNorm, as in ITTA's decoder


class ITC(nn.Module):
    """Image–text contrast (CLIP, ALIGN): logit_i = s · cos(V_global, q_i) + b, s = exp(log_scale) and b learned.

    One product of vectors a tag, but all that a tag may look at is one vector of the image.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(_LOG_SCALE))
        self.bias = nn.Parameter(torch.tensor(_BIAS))

    def forward(self, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] of queries [B, C, E] or [C, E] for projected tokens [B, 1 + T, E]."""
        image, text = F.normalize(tokens[:, 0], dim=-1), F.normalize(queries, dim=-1)
        cosine = torch.einsum("be,bce->bc" if text.ndim == 3 else "be,ce->bc", image, text)
        return self.log_scale.exp() * cosine + self.bias


class ITM(nn.Module):
    """Image–text matching (ALBEF, BLIP): each pair of an image and a text is fused on its own, in a pass of its own.

    The text, one token, and the image's tokens attend to one another in every layer (one stream, as in ViLT); a
    linear map reads the logit off the text's state. Nothing of this can be shared between the texts of an image, so
    time grows with their number as that of no other paradigm does.

    Args:
        pairs: how many are computed at a time. This changes neither logits nor gradients; where gradients are asked
            for, each such part is computed a second time on the way back, so that memory holds one part.
    """

    def __init__(
        self,
        *,
        embed_width: int,
        query_width: int = 768,
        heads: int = 4,
        hidden: int = 3072,
        layers: int = 2,
        dropout: float = 0.0,
        pairs: int = 64,
    ) -> None:
        super().__init__()
        self.pairs = pairs
        self.text = nn.Linear(embed_width, query_width)  # two maps: they also tell a text from an image's token
        self.image = nn.Linear(embed_width, query_width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                query_width, heads, hidden, dropout, activation="gelu", layer_norm_eps=_EPS, batch_first=True
            )
            for _ in range(layers)
        )
        self.readout = nn.Linear(query_width, 1)

    def forward(self, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] of queries [B, C, E] or [C, E] for projected tokens [B, 1 + T, E]."""
        text, image = self.text(queries), self.image(tokens)
        if text.ndim == 2:
            text = text.expand(len(image), -1, -1)
        images = torch.arange(len(image), device=text.device).repeat_interleave(text.shape[1])  # of each pair [B · C]
        parts = [
            checkpoint(self.match, some, image[numbers], use_reentrant=False)
            if torch.is_grad_enabled()
            else self.match(some, image[numbers])
            for some, numbers in zip(text.flatten(0, 1).split(self.pairs), images.split(self.pairs), strict=True)
        ]
        return torch.cat(parts).view(text.shape[:2])

    def match(self, text: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Logits [P] of P pairs: texts [P, Q] and the tokens of their images [P, 1 + T, Q]."""
        states = torch.cat([text[:, None], image], dim=1)
        for layer in self.layers:
            states = layer(states)
        return self.readout(states[:, 0]).squeeze(-1)
