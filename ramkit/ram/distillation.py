"""Distillation from CLIP's image encoder: V_global is drawn to what CLIP sees in the same photo (RAM++, section 4.1).

L_dis = mean over images and channels of |V_global − CLIP(image)|, neither of them normalised. CLIP is frozen.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import torch

from ramkit.clip import load_clip
from ramkit.errors import InputError
from ramkit.photos import Preprocess

KIND = "open_clip"


class Distillation:
    """The image tower of an open_clip model, and how it is shown a photo."""

    def __init__(self, tower: Callable[[torch.Tensor], torch.Tensor], preprocess: Preprocess, identity: str) -> None:
        self._tower, self.preprocess, self._identity = tower, preprocess, identity

    def identity(self) -> str:
        """Hash of weights and preprocessing: equal where the features are equal."""
        return self._identity

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Image features [B, E], not normalised, of prepared pixels [B, 3, S, S]."""
        with torch.no_grad():
            return self._tower(pixels).float()

    def target(self, guide: torch.Tensor) -> torch.Tensor:
        """Image features [B, E] of pixels [B, 3, S, S]; or of themselves, where they were computed before."""
        return guide if guide.ndim == 2 else self(guide)


def read_distillation(spec: str, *, width: int, device: torch.device) -> Distillation:
    """The image tower that `open_clip:MODEL/WEIGHTS` names.

    Args:
        width: E, which its features must have.

    Raises:
        InputError: no such spec, or features of another width.
        MissingError: the model cannot be loaded.
    """
    kind, _, source = spec.partition(":")
    if kind != KIND or not source:
        raise InputError(
            f"{spec!r} names no model to distil from.", cure=f"Use {KIND}:MODEL/WEIGHTS, as {KIND}:ViT-B-16/openai."
        )
    model, _ = load_clip(source)
    preprocess = _preprocess_of(model)
    digest = hashlib.sha256(repr(preprocess).encode())
    for name, tensor in sorted(model.visual.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().cpu().numpy().tobytes())
    model.to(device)
    found = Distillation(model.encode_image, preprocess, digest.hexdigest())
    size = preprocess.size
    if (theirs := found(torch.zeros(1, 3, size, size, device=device)).shape[1]) != width:
        raise InputError(
            f"{spec} gives image features of {theirs} numbers, the text encoder vectors of {width}.",
            cure="Distil from the model whose text encoder made the embeddings.",
        )
    return found


def _preprocess_of(model: Any) -> Preprocess:
    """What the tower was trained on: its own size, mean and standard deviation; the photo squashed to a square."""
    settings = model.visual.preprocess_cfg
    size = settings["size"]
    return Preprocess(
        size=size if isinstance(size, int) else size[0],
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        interpolation=settings["interpolation"],
    )
