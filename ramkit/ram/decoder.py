"""The alignment decoder: tags and captions look at the image, never at one another (RAM++, section 3.2).

Two layers of cross-attention and feed-forward, post-norm as in BERT. There is no self-attention among queries, so a
tag's logit does not depend on which other tags are asked for, and any number of them can be.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

_EPS = 1e-12  # of BERT's LayerNorm, which the published checkpoint was trained with


class DecoderLayer(nn.Module):
    """q' = LN(q + O·Attention(Q q, K v, V v)); q'' = LN(q' + W₂ GELU(W₁ q'))."""

    def __init__(self, *, query_width: int, memory_width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(query_width, query_width)
        self.key = nn.Linear(memory_width, query_width)
        self.value = nn.Linear(memory_width, query_width)
        self.output = nn.Linear(query_width, query_width)
        self.attention_norm = nn.LayerNorm(query_width, eps=_EPS)
        self.expand = nn.Linear(query_width, hidden)
        self.contract = nn.Linear(hidden, query_width)
        self.norm = nn.LayerNorm(query_width, eps=_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Queries [B, C, Q] after looking at memory, the image tokens [B, T, E]."""
        attended = F.scaled_dot_product_attention(
            self._split(self.query(queries)),
            self._split(self.key(memory)),
            self._split(self.value(memory)),
            dropout_p=self.dropout.p if self.training else 0.0,
        )  # [B, heads, C, Q / heads]
        attended = self.output(attended.transpose(1, 2).flatten(2))
        queries = self.attention_norm(queries + self.dropout(attended))
        changed = self.contract(F.gelu(self.expand(queries)))
        return self.norm(queries + self.dropout(changed))

    def attention(self, queries: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Attention weights [B, C, T], mean over the heads: where in the image a query looks."""
        scores = self._split(self.query(queries)) @ self._split(self.key(memory)).transpose(-2, -1)
        return (scores * (queries.shape[-1] // self.heads) ** -0.5).softmax(dim=-1).mean(dim=1)

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class AlignmentDecoder(nn.Module):
    """Decoder(q_i ; V_1..V_k): each query after looking at an image, and the linear read-out of its logit."""

    def __init__(
        self,
        *,
        embed_width: int,
        query_width: int,
        heads: int,
        hidden: int,
        layers: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.input = nn.Linear(embed_width, query_width)
        self.layers = nn.ModuleList(
            DecoderLayer(query_width=query_width, memory_width=embed_width, heads=heads, hidden=hidden, dropout=dropout)
            for _ in range(layers)
        )
        self.readout = nn.Linear(query_width, 1)
        self.recompute_activations = False  # in the backward pass, to save memory in training

    def forward(self, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """States [B, C, Q]; `readout` of them gives the logits.

        Args:
            queries: text-side queries [B, C, E], or [C, E] when every image is asked the same.
            tokens: projected image tokens [B, T, E], the global one first.
        """
        states = self._start(queries, tokens)
        for layer in self.layers:
            if self.recompute_activations and torch.is_grad_enabled():
                states = checkpoint(layer, states, tokens, use_reentrant=False)
            else:
                states = layer(states, tokens)
        return states

    def attentions(self, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Attention weights [L, B, C, 1 + T] of each of L layers, mean over its heads. Arguments as `forward`."""
        states = self._start(queries, tokens)
        found = states.new_empty(len(self.layers), *states.shape[:2], tokens.shape[1])
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, DecoderLayer)
            found[number] = layer.attention(states, tokens)
            states = layer(states, tokens)
        return found

    def _start(self, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        states = F.relu(self.input(queries))
        return states if states.ndim == 3 else states.expand(tokens.shape[0], -1, -1)
