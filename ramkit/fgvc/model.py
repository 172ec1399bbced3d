"""MP-FGVC: an image encoder that sees what matters, texts that tell kinds apart, and the module that joins both.

Letters: B image, C kind, V width of image features, D width of text features.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from ramkit.fgvc.fusion import Fusion


@dataclass(frozen=True)
class HeadConfig:
    """Everything that is needed to build the head before its weights are loaded."""

    kinds: int  # C
    image_width: int  # V
    text_width: int  # D; 0 where there are no texts: a plain classifier
    fusion: bool
    projection: bool  # false where both encoders come from one CLIP and share a space
    features: Literal["cosine", "raw"]
    shared: bool
    residual: Literal["none", "fused", "image"]
    activation: Literal["gelu", "relu", "none"]
    inference: Literal["fused", "average"]


class FineHead(nn.Module):
    """All of MP-FGVC above the image encoder; takes E_V, so that it can be cached.

    `texts` [C, D] is a buffer: what DaTP has come to, computed once when stage 1 ends.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.classifier = nn.Linear(config.image_width, config.kinds)
        width = config.text_width
        self.projection = nn.Linear(config.image_width, width, bias=False) if width and config.projection else None
        self.register_buffer("texts", torch.zeros(config.kinds, width) if width else None)
        self.fusion = None
        self.fused_classifier = None
        if config.fusion:
            self.fusion = Fusion(
                width, shared=config.shared, features=config.features, residual=config.residual,
                activation=config.activation,
            )  # fmt: skip
            self.fused_classifier = nn.Linear(width, config.kinds)

    texts: torch.Tensor | None

    def project(self, image: torch.Tensor) -> torch.Tensor:
        """E_V [B, D] in the space of texts."""
        return image if self.projection is None else self.projection(image)

    def image_to_text(self, image: torch.Tensor, texts: torch.Tensor, temperature: float) -> torch.Tensor:
        """Logits [B, C] of L_i2T: cos(V_i, T_c) / τ of image features [B, V] and texts [C, D]."""
        return F.normalize(self.project(image), dim=-1) @ F.normalize(texts, dim=-1).T / temperature

    def fused(self, image: torch.Tensor) -> torch.Tensor:
        """ŷ_2 before softmax [B, C], of image features [B, V]."""
        assert self.fusion is not None
        assert self.fused_classifier is not None
        return self.fused_classifier(self.fusion(self.project(image), self.texts))

    def predictions(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Probabilities [B, C] of image features [B, V], by every way there is: `plain` ŷ_1, `fused` ŷ_2, their
        `average`."""
        found = {"plain": self.classifier(image).float().softmax(dim=1)}
        if self.fusion is not None:
            found["fused"] = self.fused(image).float().softmax(dim=1)
            found["average"] = (found["plain"] + found["fused"]) / 2
        return found

    @property
    def answer(self) -> str:
        """Which of the predictions is the model's."""
        return self.config.inference if self.fusion is not None else "plain"

    def stage_two(self) -> nn.Module:
        """What stage 2 trains: VLFM and its classifier."""
        assert self.fusion is not None
        assert self.fused_classifier is not None
        return nn.ModuleList([self.fusion, self.fused_classifier])
