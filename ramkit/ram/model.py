"""The RAM++ model: image encoder, projection, re-weighting, alignment decoder.

For ablations another paradigm may stand where the decoder does (`alignment`, see ram/paradigms.py).
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from ramkit.ram.decoder import AlignmentDecoder
from ramkit.ram.paradigms import ITC, ITM
from ramkit.ram.reweight import average, reweight
from ramkit.ram.similarity import Similarity

LOG_TEMPERATURE = math.log(1 / 0.07)  # CLIP's start; what runs where a checkpoint carries none


@dataclass(frozen=True)
class ModelConfig:
    """Everything that is needed to build the module before its weights are loaded."""

    image_encoder: str  # a timm model name
    image_size: int  # pixels, both sides
    image_width: int  # V, channels of the encoder's spatial features
    embed_width: int  # E, width of the text embeddings and projected tokens
    query_width: int = 768  # Q
    heads: int = 4
    hidden: int = 3072
    layers: int = 2
    dropout: float = 0.0
    alignment: Literal["itta", "itc", "itm"] = "itta"
    queries: Literal["descriptions", "template"] = "descriptions"  # what tags, the model's and others, are asked by
    reweighting: bool = True
    similarity: bool = False  # not in the paper: see ram/similarity.py
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"


class AlignmentHead(nn.Module):
    """All of RAM++ above the image encoder; takes spatial features, so that they can be cached."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.reweighting = config.reweighting
        self.image_proj = nn.Linear(config.image_width, config.embed_width)
        self.log_temperature = nn.Parameter(torch.tensor(LOG_TEMPERATURE))
        self.decoder = _decoder(config)
        self.similarity = Similarity(config.embed_width, config.query_width) if config.similarity else None

    @torch.no_grad()
    def start_from(self, projection: torch.Tensor, centre: torch.Tensor) -> None:
        """Begin with features that lie in the space of texts already.

        Args:
            projection: [E, V], scaled here to the norm of the fresh layer's weights.
            centre: [E], what all texts have in common.
        """
        scale = self.image_proj.weight.norm() / projection.norm()
        self.image_proj.weight.copy_(projection * scale)
        self.image_proj.bias.zero_()
        if self.similarity is not None:
            self.similarity.start_from(centre)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Projected tokens [B, 1 + T, E] of spatial features [B, T, V]; token 0 is V_global, of the features' mean."""
        return self.image_proj(torch.cat([features.mean(dim=1, keepdim=True), features], dim=1))

    def tag_queries(
        self, tokens: torch.Tensor, descriptions: torch.Tensor, present: torch.Tensor | None = None
    ) -> torch.Tensor:
        """q_i: [B, C, E] re-weighted by each image, or [C, E] plain means where re-weighting is off.

        Args:
            tokens: projected tokens [B, 1 + T, E].
            descriptions: d [C, D, E], unit vectors; or [B, C, D, E] where each image is asked other tags.
            present: [C, D] or [B, C, D], false where a tag has no j-th description.
        """
        if not self.reweighting or descriptions.shape[-2] == 1:
            return average(descriptions, present)
        return reweight(tokens[:, 0], descriptions, self.log_temperature.exp(), present)

    def forward(
        self, features: torch.Tensor, descriptions: torch.Tensor, present: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Tag logits [B, C] of spatial features [B, T, V]."""
        tokens = self.project(features)
        return self.align(self.tag_queries(tokens, descriptions, present), tokens)

    def align(self, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] of queries, tags' or captions', [B, C, E] or [C, E], for projected tokens [B, 1 + T, E]."""
        if not isinstance(self.decoder, AlignmentDecoder):
            return self.decoder(queries, tokens)
        states = self.decoder(queries, tokens)
        logits = self.decoder.readout(states).squeeze(-1)
        return logits if self.similarity is None else logits + self.similarity(queries, states, tokens[:, 0])

    def direct(self, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The part [B, C] of `align` that does not come from the decoder: 0 without the direct similarity."""
        if self.similarity is None:
            return tokens.new_zeros(tokens.shape[0], queries.shape[-2])
        return self.similarity.direct(queries, tokens[:, 0])


def _decoder(config: ModelConfig) -> AlignmentDecoder | ITC | ITM:
    """What aligns texts with the image: the paper's decoder, or another paradigm in its place."""
    if config.alignment == "itc":
        return ITC()
    names = ("embed_width", "query_width", "heads", "hidden", "layers", "dropout")
    settings: dict[str, Any] = {name: getattr(config, name) for name in names}
    return ITM(**settings) if config.alignment == "itm" else AlignmentDecoder(**settings)
