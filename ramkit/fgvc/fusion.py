"""VLFM, the vision-language fusion module: what the image shows, said again in terms of what sets the kinds apart.

    S_i  = softmax_i(Q_0 K_iᵀ / √D),  i = 0 … C      one softmax over the image's own key K_0 and the C texts' keys
    E'_V = Σ_i S_i V_i
    Ê_V  = Trans(E'_V)                                two 1×1 convolutions, D → 4D → D        (arXiv 2309.08912)

A 1×1 convolution over one vector is a linear map. Q_0, K_0, V_0 come from E_V; K_c, V_c from E_T^c. What the paper
leaves open is an option: see `FineTrainConfig.fusion_*`.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

EXPANSION = 4
_ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU, "none": nn.Identity}


class Fusion(nn.Module):
    """Ê_V [B, D] of image features E_V [B, D] and text features E_T [C, D].

    Args:
        width: D.
        shared: one convolution makes queries, keys and values of both modalities; false: one for each.
        features: `cosine` scales each feature to norm √D, so that directions alone count; `raw` takes them as they are.
        residual: what is added to Trans(E'): nothing, E' itself (`fused`), or E_V (`image`).
    """

    def __init__(
        self,
        width: int,
        *,
        shared: bool = True,
        features: Literal["cosine", "raw"] = "cosine",
        residual: Literal["none", "fused", "image"] = "none",
        activation: Literal["gelu", "relu", "none"] = "gelu",
    ) -> None:
        super().__init__()
        self._features, self._residual = features, residual
        self.image_in = nn.Linear(width, 3 * width)
        self.text_in = None if shared else nn.Linear(width, 2 * width)
        self.expand = nn.Linear(width, EXPANSION * width)
        self.activation = _ACTIVATIONS[activation]()
        self.contract = nn.Linear(EXPANSION * width, width)

    def forward(self, image: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        image, texts = self._scaled(image), self._scaled(texts)
        fused = self.attend(image, texts)
        translated = self.contract(self.activation(self.expand(fused)))
        return translated + {"none": 0.0, "fused": fused, "image": image}[self._residual]

    def attend(self, image: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """E'_V [B, D]."""
        query, own_key, own_value = self.image_in(image).chunk(3, dim=-1)  # [B, D] each
        if self.text_in is None:
            width = texts.shape[-1]
            keys, values = F.linear(texts, self.image_in.weight[width:], self.image_in.bias[width:]).chunk(2, dim=-1)
        else:
            keys, values = self.text_in(texts).chunk(2, dim=-1)  # [C, D] each
        own = (query * own_key).sum(dim=-1, keepdim=True)  # [B, 1], of the image's own key
        logits = torch.cat([own, query @ keys.T], dim=1) / query.shape[-1] ** 0.5  # [B, 1 + C]
        weights = logits.softmax(dim=1)
        return weights[:, :1] * own_value + weights[:, 1:] @ values

    def _scaled(self, features: torch.Tensor) -> torch.Tensor:
        if self._features == "raw":
            return features
        return F.normalize(features, dim=-1) * features.shape[-1] ** 0.5
