"""SsVP, the subcategory-specific vision prompt: the last layer sees the patches that matter and no others.

    id = TopK(Σ_m A^m) ∈ Z^K        (arXiv 2309.08912, "Subcategory-specific Vision Prompt")

A^m ∈ R^N is the attention of the class token to the N patches in head m of the layer before the last. There is nothing
to learn. Today's attention is fused and does not tell its weights; the class token's row alone is computed again, from
the same weights and inputs: q·k_n = (W_kᵀ q)·x_n spares the keys, so that the row costs N·D·M multiplications beside
the layer's 12·N·D². Keys that are normalised or turned (rotary positions) have to be made, a twelfth of the layer.

Without a class token there is no such row. `response_ids` is what stands in for it on ConvNets; it is not in the paper.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ramkit.errors import InputError


@dataclass(frozen=True)
class ClassRow:
    """The weights by which an attention module makes queries and keys. M heads of width d."""

    query: torch.Tensor  # [M·d, D]
    key: torch.Tensor  # [M·d, D]
    query_bias: torch.Tensor | None  # [M·d]
    key_bias: torch.Tensor | None
    heads: int
    scale: float
    query_norm: nn.Module  # of each head
    key_norm: nn.Module
    unturned: int = 0  # first tokens, whose keys carry no rotary position; the class token's query carries none either
    turn_halves: bool = False  # how rotary positions pair the channels: halves, or neighbours

    @torch.no_grad()
    def __call__(self, tokens: torch.Tensor, rope: torch.Tensor | None = None) -> torch.Tensor:
        """Attention [B, M, T] of the first token to all, of the module's input [B, T, D]; in float32.

        Args:
            rope: rotary positions of the patches [N, 2d] or [M, N, 2d], as timm's layers take them.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = tokens.float()
            query = F.linear(tokens[:, 0], self.query, self.query_bias).unflatten(1, (self.heads, -1))  # [B, M, d]
            query = self.query_norm(query)
            if rope is None and isinstance(self.key_norm, nn.Identity):
                # The key's bias adds the same to all patches, which softmax does not see.
                looked_for = torch.einsum("bmd,mdc->bmc", query, self.key.unflatten(0, (self.heads, -1)))
                logits = torch.einsum("bmc,btc->bmt", looked_for, tokens)
            else:
                keys = F.linear(tokens, self.key, self.key_bias).unflatten(2, (self.heads, -1))  # [B, T, M, d]
                keys = self._turned(self.key_norm(keys).transpose(1, 2), rope)  # [B, M, T, d]
                logits = torch.einsum("bmd,bmtd->bmt", query, keys)
            return (logits * self.scale).softmax(dim=-1)

    def _turned(self, keys: torch.Tensor, rope: torch.Tensor | None) -> torch.Tensor:
        if rope is None:
            return keys
        from timm.layers.pos_embed_sincos import apply_rot_embed_cat

        still, patches = keys[:, :, : self.unturned], keys[:, :, self.unturned :]
        halves = {"half": True} if self.turn_halves else {}  # which older timm does not know
        return torch.cat([still, apply_rot_embed_cat(patches, rope.float(), **halves)], dim=2)


def class_row(block: nn.Module, name: str) -> ClassRow:
    """How a transformer block's attention weighs the tokens for the class token.

    Raises:
        InputError: the attention is of a kind whose weights are made in another way.
    """
    attention: Any = getattr(block, "attn", None)
    kind = type(attention).__name__
    if kind == "MultiheadAttention" and attention.in_proj_weight is not None:
        joined, bias, norms = attention.in_proj_weight, attention.in_proj_bias, (nn.Identity(), nn.Identity())
        heads, scale = attention.num_heads, attention.head_dim**-0.5
    elif kind == "Attention" and hasattr(attention, "qkv"):  # timm's
        joined, bias, norms = attention.qkv.weight, attention.qkv.bias, (attention.q_norm, attention.k_norm)
        heads, scale = attention.num_heads, attention.scale
    elif kind == "Attention" and getattr(attention, "logit_scale", 0) is None:  # open_clip's own
        joined, bias, norms = attention.in_proj_weight, attention.in_proj_bias, (attention.ln_q, attention.ln_k)
        heads, scale = attention.num_heads, attention.scale
    elif kind in ("EvaAttention", "AttentionRope") and getattr(attention, "num_kv_groups", 1) == 1:
        return _rotary_row(attention)
    else:
        raise InputError(
            f"{name}: its attention ({kind}) is not of a kind whose weights for the class token are known.",
            cure='Set patch_selection = "none".',
        )
    query, key, _ = joined.chunk(3)
    query_bias, key_bias = (None, None) if bias is None else bias.chunk(3)[:2]
    return ClassRow(query, key, query_bias, key_bias, heads, scale, *norms)


def _rotary_row(attention: Any) -> ClassRow:
    """Of timm's attention with rotary positions (EVA, DINOv3, RoPE-ViT)."""
    if attention.qkv is None:
        query, key = attention.q_proj.weight, attention.k_proj.weight
        query_bias, key_bias = attention.q_proj.bias, attention.k_proj.bias
    else:
        query, key, _ = attention.qkv.weight.chunk(3)
        bias = attention.qkv.bias
        query_bias, key_bias = bias.chunk(3)[:2] if bias is not None else (getattr(attention, "q_bias", None), None)
    return ClassRow(
        query, key, query_bias, key_bias, attention.num_heads, attention.scale, attention.q_norm, attention.k_norm,
        unturned=attention.num_prefix_tokens, turn_halves=getattr(attention, "rotate_half", False),
    )  # fmt: skip


def run_watched(
    block: Any, tokens: torch.Tensor, rope: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(the block's output [B, T, D], its attention [B, M, T] for the class token)."""
    row = class_row(block, type(block).__name__)
    given: list[torch.Tensor] = []
    hook = block.attn.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    try:
        output = run_layer(block, tokens, rope)
    finally:
        hook.remove()
    return output, row(given[0], rope)


def run_layer(layer: nn.Module, hidden: torch.Tensor, rope: torch.Tensor | None) -> torch.Tensor:
    """A layer's output; with rotary positions of its patches where it takes any."""
    return layer(hidden) if rope is None else layer(hidden, rope=rope)


def attention_ids(attention: torch.Tensor, prefix: int, count: int) -> torch.Tensor:
    """SsVP: id = TopK(Σ_m A^m), the K patches [B, K] that the class token attends to most, in their own order.

    Args:
        attention: of the class token to all tokens [B, M, prefix + N].
        prefix: class, distillation and register tokens, which are no patches.
    """
    return attention[:, :, prefix:].sum(dim=1).topk(count, dim=1).indices.sort(dim=1).values


def response_ids(cells: torch.Tensor, count: int) -> torch.Tensor:
    """The K cells [B, K] of [B, N, V] that respond most to the photo's mean feature v̄: TopK_n ⟨v̄, v_n⟩. Not in the
    paper: what a class token that is the mean would attend to, if queries and keys were the features themselves."""
    with torch.no_grad():
        scores = torch.einsum("bv,bnv->bn", cells.mean(dim=1), cells)
        return scores.topk(count, dim=1).indices.sort(dim=1).values


def choose(cells: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Cells [B, K, V] of [B, N, V] by their numbers [B, K]."""
    return cells.gather(1, ids.unsqueeze(-1).expand(-1, -1, cells.shape[-1]))


def choose_positions(rope: torch.Tensor | None, ids: torch.Tensor) -> torch.Tensor | None:
    """Rotary positions [B, 1 or M, K, 2d] of the patches [B, K], of those of all: [N, 2d] or [M, N, 2d]."""
    if rope is None:
        return None
    rows = rope[..., ids, :]  # [B, K, 2d] or [M, B, K, 2d]
    return rows.unsqueeze(1) if rope.ndim == 2 else rows.transpose(0, 1)
