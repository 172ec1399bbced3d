"""A help for small data, not in the paper: query and image are also compared directly.

A decoder that reads a logit off a query's state by a linear map has to learn, from examples alone, to multiply what
the query asks by what the image shows. Fourteen million photos teach it that; twelve thousand do not. Two products
are therefore added to the decoder's logit, and it learns what they miss:

    ⟨h_i, U q_i⟩ / √Q  +  s · cos(g(V_global), t(q_i)) + b

h_i is the query's state after the decoder, g a small residual network, t a linear map. Each query still stands alone.
"""

import torch
import torch.nn.functional as F
from torch import nn

_LOG_SCALE, _BIAS = 2.5, -4.0  # s = 12.2; most tags are not in most photos


class Similarity(nn.Module):
    """What is added to the logit of each query."""

    def __init__(self, embed_width: int, query_width: int) -> None:
        super().__init__()
        self.state_map = nn.Linear(embed_width, query_width)
        self.image_expand = nn.Linear(embed_width, 2 * embed_width)
        self.image_contract = nn.Linear(2 * embed_width, embed_width)
        self.text_map = nn.Linear(embed_width, embed_width)
        nn.init.zeros_(self.image_contract.weight)  # g starts as the identity
        nn.init.zeros_(self.image_contract.bias)
        self.log_scale = nn.Parameter(torch.tensor(_LOG_SCALE))
        self.bias = nn.Parameter(torch.tensor(_BIAS))

    @torch.no_grad()
    def start_from(self, centre: torch.Tensor) -> None:
        """Compare texts, less what all of them have in common [E], as they are."""
        nn.init.eye_(self.text_map.weight)
        self.text_map.bias.copy_(-centre)

    def forward(self, queries: torch.Tensor, states: torch.Tensor, global_feature: torch.Tensor) -> torch.Tensor:
        """[B, C] of queries [B, C, E] or [C, E], their states [B, C, Q] and V_global [B, E]."""
        return self.attended(queries, states) + self.direct(queries, global_feature)

    def attended(self, queries: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """⟨h_i, U q_i⟩ / √Q, [B, C]: what the decoder saw."""
        return (states * self.state_map(queries)).sum(dim=-1) * states.shape[-1] ** -0.5

    def direct(self, queries: torch.Tensor, global_feature: torch.Tensor) -> torch.Tensor:
        """s · cos(g(V_global), t(q_i)) + b, [B, C]: what passes the decoder by."""
        change = self.image_contract(F.gelu(self.image_expand(global_feature)))
        image = F.normalize(global_feature + change, dim=-1)
        text = F.normalize(self.text_map(queries), dim=-1)
        cosine = torch.einsum("be,bce->bc" if text.ndim == 3 else "be,ce->bc", image, text)
        return self.log_scale.exp() * cosine + self.bias
