"""An image encoder taken apart: stem, layers, end; so that a part of it can be frozen, and its last layer fed by hand.

    hidden = stem(pixels) → layers[0] → … → layers[L - 1];  features = finish(hidden);  E_V = pool(features)

timm's vision transformers, those with rotary positions too (EVA, DINOv3), and open_clip's are known by their parts. Any
other timm model is watched once while it runs: where its modules hand one another what they made, as a ConvNet's do,
the chain of them is the layers. What is no chain has no layers and is used as a whole.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

Map = Callable[[torch.Tensor], torch.Tensor]
Part = nn.Module | nn.Parameter
Ropes = Callable[[], Sequence[torch.Tensor | None]]  # → rotary positions of the patches, for each layer


def weights_of(parts: Iterable[Part]) -> list[nn.Parameter]:
    """All weights of modules, and weights that stand alone."""
    own = ([part] if isinstance(part, nn.Parameter) else part.parameters() for part in parts)
    return [weight for weights in own for weight in weights]


@dataclass(frozen=True)
class Tower:
    """The parts of an image encoder. Letters: B image, N patch, V width of the features."""

    module: nn.Module
    stem: Map  # pixels [B, 3, S, S] → hidden
    layers: tuple[nn.Module, ...]
    end: tuple[Part, ...]  # what comes after the layers
    finish: Map  # hidden → tokens [B, prefix + N, V] or a map, NCHW or NHWC
    pool: Map  # those → E_V [B, V]
    prefix: int = 0  # class, distillation and register tokens before the patches; the class token is the first
    class_token: bool = False
    rotary: Ropes | None = None  # where layers take rotary positions; drawn anew in training by some

    def ropes(self) -> Sequence[torch.Tensor | None]:
        """What each layer is to be given of the patches' positions: [N, 2d] or [M, N, 2d], mostly nothing."""
        return self.rotary() if self.rotary is not None else [None] * len(self.layers)

    @property
    def trunk(self) -> nn.Module:
        """The timm model, also where open_clip has wrapped it."""
        return getattr(self.module, "trunk", self.module)

    def level(self) -> dict[nn.Parameter, int]:
        """For each weight the layer it belongs to: 0 the stem, 1 … L the layers, L the end too."""
        found = dict.fromkeys(self.module.parameters(), 0)
        for number, layer in enumerate(self.layers, start=1):
            found.update(dict.fromkeys(layer.parameters(), number))
        found.update(dict.fromkeys(weights_of(self.end), len(self.layers)))
        return found


def take_apart(module: nn.Module, size: int) -> Tower:
    """The parts of a timm model, or of the image tower of an open_clip model.

    Args:
        size: pixels of both sides.
    """
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer as ClipTransformer
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    if isinstance(module, ClipTransformer):
        return _clip_transformer(module)
    if isinstance(module, TimmModel):
        return _wrapped(module, take_apart(module.trunk, size))
    if isinstance(module, VisionTransformer):
        return _transformer(module)
    if isinstance(module, Eva):
        return _rotary_transformer(module)
    return _chain(module, size) or _whole(module)


def _wrapped(module: Any, trunk: Tower) -> Tower:
    """open_clip's tower around a timm model: the way into CLIP's space is its head, or the classifier of the model."""
    classifier = module.trunk.get_classifier()
    heads = [part for part in (classifier, module.head) if isinstance(part, nn.Module)]
    return replace(
        trunk, module=module, end=(*trunk.end, *heads),
        pool=lambda features: module.head(module.trunk.forward_head(features)),
    )  # fmt: skip


def _transformer(module: Any) -> Tower:
    def stem(pixels: torch.Tensor) -> torch.Tensor:
        return module.norm_pre(module.patch_drop(module._pos_embed(module.patch_embed(pixels))))

    end = tuple(part for part in (module.norm, module.fc_norm, module.attn_pool) if part is not None)
    return Tower(
        module, stem, tuple(module.blocks), end, module.norm,
        lambda tokens: module.forward_head(tokens, pre_logits=True), module.num_prefix_tokens, module.has_class_token,
    )  # fmt: skip


def _rotary_transformer(module: Any) -> Tower:
    def stem(pixels: torch.Tensor) -> torch.Tensor:
        tokens, _ = module._pos_embed(module.patch_embed(pixels))
        return module.norm_pre(tokens) if hasattr(module, "norm_pre") else tokens

    def ropes() -> Sequence[torch.Tensor | None]:
        if module.rope is None:
            return [None] * len(module.blocks)
        keeps_grid = hasattr(module.rope, "feat_shape") and not module.dynamic_img_size
        found = module.rope.get_embed(**({} if keeps_grid else {"shape": module.patch_embed.grid_size}))
        return list(found) if getattr(module, "rope_mixed", False) else [found] * len(module.blocks)

    parts = (module.norm, module.fc_norm, getattr(module, "attn_pool", None))
    return Tower(
        module, stem, tuple(module.blocks), tuple(part for part in parts if part is not None), module.norm,
        lambda tokens: module.forward_head(tokens, pre_logits=True), module.num_prefix_tokens,
        module.cls_token is not None, ropes,
    )  # fmt: skip


def _clip_transformer(module: Any) -> Tower:
    def pool(tokens: torch.Tensor) -> torch.Tensor:
        pooled, _ = module._pool(tokens)
        return pooled @ module.proj if module.proj is not None else pooled

    layers = tuple(module.transformer.resblocks)
    end = tuple(part for part in (module.ln_post, module.attn_pool, module.proj) if part is not None)
    return Tower(module, module._embeds, layers, end, nn.Identity(), pool, prefix=1, class_token=True)


def _chain(module: Any, size: int) -> Tower | None:
    """The modules that `forward_features` runs one after another; None where it does anything else."""
    if not hasattr(module, "forward_features"):  # open_clip's own ResNets
        return None
    calls: list[tuple[nn.Module, torch.Tensor, Any]] = []  # module, what it was given, what it made
    watched = _flattened(module)
    hooks = [
        part.register_forward_hook(lambda part, given, made: calls.append((part, given[0], made))) for part in watched
    ]
    mode = module.training
    weight = next(module.parameters())
    pixels = torch.zeros(1, 3, size, size, device=weight.device, dtype=weight.dtype)
    try:
        with torch.no_grad():
            features = module.eval().forward_features(pixels)
    finally:
        module.train(mode)
        for hook in hooks:
            hook.remove()
    handed_on = [pixels, *(made for _, _, made in calls)]
    if not calls or features is not handed_on[-1]:
        return None
    if any(given is not before for (_, given, _), before in zip(calls, handed_on, strict=False)):
        return None
    parts = [part for part, _, _ in calls]
    inner = {part for child in module.children() if type(child) is nn.Sequential for part in _flattened(child)}
    places = [place for place, part in enumerate(parts) if part in inner] or [0, len(parts) - 1]
    first, last = places[0], places[-1] + 1
    tail = parts[last:]
    return Tower(
        module, _one_by_one(parts[:first]), tuple(parts[first:last]), tuple(tail), _one_by_one(tail),
        lambda features: module.forward_head(features, pre_logits=True),
    )  # fmt: skip


def _flattened(module: nn.Module) -> list[nn.Module]:
    """Its children, plain sequences of modules replaced by what is in them."""
    found: list[nn.Module] = []
    for child in module.children():
        found += _flattened(child) if type(child) is nn.Sequential else [child]
    return found


def _one_by_one(parts: list[nn.Module]) -> Map:
    def run(hidden: torch.Tensor) -> torch.Tensor:
        for part in parts:
            hidden = part(hidden)
        return hidden

    return run


def _whole(module: Any) -> Tower:
    if not hasattr(module, "forward_features"):
        return Tower(module, nn.Identity(), (), (module,), module, nn.Identity())
    return Tower(
        module, nn.Identity(), (), (module,), module.forward_features,
        lambda features: module.forward_head(features, pre_logits=True), getattr(module, "num_prefix_tokens", 0),
    )  # fmt: skip
