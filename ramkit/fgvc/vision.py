"""The image side of MP-FGVC: photo → E_V, by an encoder of which a part may be frozen and the last layer prompted."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, Self

import torch
from torch import nn

from ramkit.errors import InputError
from ramkit.fgvc.patch_selection import (
    attention_ids,
    choose,
    choose_positions,
    class_row,
    response_ids,
    run_layer,
    run_watched,
)
from ramkit.fgvc.towers import take_apart, weights_of
from ramkit.image_encoder import cells_of

Ropes = Sequence[torch.Tensor | None]
Selection = Literal["attention", "activation", "none"]
ALL = -1  # train_layers: the whole encoder
_SHARE = {"attention": 16, "activation": 4}  # of how many patches one is kept: 12 of a ViT's 196, 12 of a map's 49


class Vision(nn.Module):
    """E_V = trained(frozen(pixels)): what `frozen` gives never changes in training and can be kept.

    Args:
        module: a timm model without classifier, or the image tower of an open_clip model.
        name: for error messages.
        size: pixels S of both sides.
        selection: `attention` is SsVP; `activation` keeps the map's cells that respond most; `none` keeps all.
        patches: K; 0 keeps every sixteenth of a ViT's patches, every fourth cell of a map.
        train_layers: how many of the last layers are trained, with all that follows them; ALL, or 0 for none.

    Raises:
        InputError: a selection or a number of layers that this encoder has no place for.
    """

    def __init__(
        self, module: nn.Module, name: str, size: int, *, selection: Selection, patches: int, train_layers: int
    ) -> None:
        super().__init__()
        self.module, self.selection, self.train_layers = module, selection, train_layers
        tower = take_apart(module, size)
        self._tower = tower  # a plain object: its modules are those of `module`
        depth = len(tower.layers)
        if not ALL <= train_layers <= depth:
            raise InputError(
                f"train_layers = {train_layers}: {name} is taken apart into {depth} layers.",
                cure=f"Give {ALL} for all, or 0 to {depth}.",
            )
        if selection == "attention":
            self._check_attention(name)
        elif selection == "activation" and tower.class_token:
            raise InputError(
                f'{name} has a class token; patch_selection = "activation" is for encoders without.',
                cure='Set patch_selection = "attention" (SsVP).',
            )
        elif selection == "activation" and not tower.prefix and getattr(tower.trunk, "cls_token", None) is not None:
            raise InputError(
                f"{name} ({type(tower.trunk).__name__}) has a class token and does not tell its patches.",
                cure='Choose another encoder, or set patch_selection = "none".',
            )
        # The layer whose attention selects has to run after what is kept.
        self._cut = depth - max(train_layers, 2 if selection == "attention" else 0)
        self.requires_grad_(False)
        for weight in self.trained_weights():
            weight.requires_grad_(True)
        self._measure(name, size, patches)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """E_V [B, V] of pixels [B, 3, S, S]."""
        return self.trained(self.frozen(pixels))

    def frozen(self, pixels: torch.Tensor) -> torch.Tensor:
        """What training does not change, of pixels [B, 3, S, S]: the pixels themselves where all layers are trained,
        E_V [B, V] where none is, else the hidden state before the layers that are."""
        if self.train_layers == ALL:
            return pixels
        with torch.no_grad():
            ropes = self._tower.ropes()
            hidden = self._start(pixels, ropes)
            return self._finish(hidden, ropes)[0] if self.train_layers == 0 else hidden

    @property
    def kept(self) -> str:
        """Names what `frozen` gives: equal for two of one encoder where that is equal."""
        return f"E_V {self.selection} {self.patches}" if self.train_layers == 0 else f"before layer {self._cut}"

    def trained(self, hidden: torch.Tensor) -> torch.Tensor:
        """E_V [B, V] of what `frozen` gave."""
        if self.train_layers == 0:
            return hidden
        ropes = self._tower.ropes()
        ready = self._start(hidden, ropes) if self.train_layers == ALL else _channels_last(hidden)
        return self._finish(ready, ropes)[0]

    @property
    def takes_maps(self) -> bool:
        """Whether E_V follows from the last feature map alone, and nothing before it was trained."""
        return self.train_layers == 0 and self._layout == "NCHW"

    def of_map(self, cells: torch.Tensor) -> torch.Tensor:
        """E_V [B, V] of the last feature map's cells [B, N, V], row by row, as another user of the same encoder has
        computed them; where `takes_maps`."""
        side = math.isqrt(cells.shape[1])
        return self._pooled(cells.transpose(1, 2).unflatten(2, (side, side)))[0]

    def selected(self, pixels: torch.Tensor) -> torch.Tensor | None:
        """Numbers [B, K] of the patches that count, row by row; None where all do."""
        with torch.no_grad():
            ropes = self._tower.ropes()
            return self._finish(self._start(pixels, ropes), ropes)[1]

    def trained_weights(self) -> Iterable[nn.Parameter]:
        """Weights of the layers that are trained and of all that follows them."""
        if self.train_layers == ALL:
            return list(self.module.parameters())
        if self.train_layers == 0:
            return []
        return weights_of([*self._tower.layers[-self.train_layers :], *self._tower.end])

    def levels(self) -> dict[nn.Parameter, int]:
        """For each trained weight how many layers lie above its own."""
        found = self._tower.level()
        return {weight: len(self._tower.layers) - found[weight] for weight in self.trained_weights()}

    def train(self, mode: bool = True) -> Self:
        """Training mode for what is trained alone: statistics and dropout of frozen layers rest."""
        super().train(mode)
        if mode and self.train_layers != ALL:
            self.module.eval()
            if self.train_layers:
                for part in (*self._tower.layers[-self.train_layers :], *self._tower.end):
                    if isinstance(part, nn.Module):
                        part.train()
        return self

    def _start(self, pixels: torch.Tensor, ropes: Ropes) -> torch.Tensor:
        hidden = self._tower.stem(_channels_last(pixels))
        return self._run(hidden, slice(0, self._cut), ropes)

    def _run(self, hidden: torch.Tensor, places: slice, ropes: Ropes) -> torch.Tensor:
        for layer, rope in zip(self._tower.layers[places], ropes[places], strict=True):
            hidden = run_layer(layer, hidden, rope)
        return hidden

    def _finish(self, hidden: torch.Tensor, ropes: Ropes) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(E_V [B, V], numbers of the patches selected [B, K] or None)."""
        ids = None
        if self.selection == "attention":
            penultimate, last = self._tower.layers[-2:]
            hidden = self._run(hidden, slice(self._cut, len(ropes) - 2), ropes)
            hidden, attention = run_watched(penultimate, hidden, ropes[-2])
            ids = attention_ids(attention, self._tower.prefix, self.patches)
            prefix, patches = hidden[:, : self._tower.prefix], hidden[:, self._tower.prefix :]
            hidden = torch.cat([prefix, choose(patches, ids)], dim=1)
            hidden = run_layer(last, hidden, choose_positions(ropes[-1], ids))
        else:
            hidden = self._run(hidden, slice(self._cut, len(ropes)), ropes)
        pooled, cells = self._pooled(self._tower.finish(hidden))
        return pooled, cells if ids is None else ids

    def _pooled(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(E_V [B, V] of tokens or a map, numbers of the cells that were pooled [B, K] or None for all)."""
        if self.selection != "activation":
            return self._tower.pool(features), None
        cells, layout = cells_of(self._tower.trunk, features)
        ids = response_ids(cells, self.patches)
        chosen = choose(cells, ids)
        if layout == "NCHW":
            chosen = chosen.transpose(1, 2).unsqueeze(-1)
        elif layout == "NHWC":
            chosen = chosen.unsqueeze(2)
        else:
            chosen = torch.cat([features[:, : self._tower.prefix], chosen], dim=1)
        return self._tower.pool(chosen), ids

    def _check_attention(self, name: str) -> None:
        tower = self._tower
        if not tower.class_token and getattr(tower.trunk, "cls_token", None) is not None:
            raise InputError(
                f"{name} ({type(tower.trunk).__name__}) has a class token, but SsVP cannot take its layers apart.",
                cure='Choose a ViT, EVA or CLIP encoder, or set patch_selection = "none".',
            )
        if not tower.class_token:
            raise InputError(
                f"{name} has no class token whose attention could select patches (SsVP).",
                cure='Set patch_selection = "activation" or "none".',
            )
        if len(tower.layers) < 2:
            raise InputError(f"{name} has no layer before the last.", cure='Set patch_selection = "none".')
        class_row(tower.layers[-2], name)

    @torch.no_grad()
    def _measure(self, name: str, size: int, patches: int) -> None:
        """Width V, number N of patches or cells, and K, of a black image."""
        mode = self.training
        self.eval()
        weight = next(self.module.parameters())
        pixels = torch.zeros(1, 3, size, size, device=weight.device)
        self.cells, self._layout = self._look_at(pixels, name)
        self.patches = patches or max(self.cells // _SHARE.get(self.selection, 1), 1)
        if self.selection != "none" and self.patches > self.cells:
            raise InputError(
                f"patches = {patches}: {name} has {self.cells} at {size} pixels.", cure="Give fewer, or 0."
            )
        self.width = self(pixels).shape[1]
        self.train(mode)

    def _look_at(self, pixels: torch.Tensor, name: str) -> tuple[int, str]:
        """(patches or cells to select from, layout of the last features)."""
        ropes = self._tower.ropes()
        hidden = self._run(self._start(pixels, ropes), slice(self._cut, len(ropes)), ropes)
        features = self._tower.finish(hidden)
        if features.ndim == 3:
            return features.shape[1] - self._tower.prefix, "NLC"
        if features.ndim == 4:
            cells, layout = cells_of(self._tower.trunk, features)
            return cells.shape[1], layout
        if self.selection == "activation":
            raise InputError(f"{name} does not tell its feature map.", cure='Set patch_selection = "none".')
        return 0, ""


def _channels_last(maps: torch.Tensor) -> torch.Tensor:
    """The layout in which convolutions on a CPU run up to twice as fast; tokens as they are."""
    return maps.contiguous(memory_format=torch.channels_last) if maps.ndim == 4 else maps
