"""The image encoder: any timm model, asked for its spatial features."""

import hashlib
import sys
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from ramkit.errors import InputError, MissingError
from ramkit.photos import Preprocess
from ramkit.weights import locate, read_state_dict

TIMM = "timm"  # weights source: what timm fetches from its hub


@dataclass(frozen=True)
class ImageEncoder:
    """A timm model with what it expects of its input."""

    name: str
    module: nn.Module
    width: int  # V, channels of the spatial features
    preprocess: Preprocess

    def identity(self) -> str:
        """Hash of weights and preprocessing: equal for encoders that give equal features."""
        digest = hashlib.sha256(repr(self.preprocess).encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(name.encode() + tensor.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Spatial features [B, T, V] of pixels [B, 3, S, S]."""
        return spatial_features(self.module, pixels)


def create_image_encoder(name: str, *, weights: str = "", size: int = 0) -> ImageEncoder:
    """Build a timm model by name and fill it.

    Args:
        weights: `timm` (fetched by timm), a file, `package:NAME`, or empty for random weights.
        size: pixels of both sides; 0 takes the model's own.

    Raises:
        InputError: timm has no such model, or the weights are of another architecture.
        MissingError: the weights cannot be fetched, or their package is not installed.
    """
    from_file = bool(weights) and weights != TIMM
    module = build_timm(name, size=0 if from_file else size, pretrained=weights == TIMM)
    if from_file:  # whose position embeddings are of the model's own size
        load_image_weights(module, weights)
        fit_to_size(name, module, size)
    settings: dict[str, Any] = vars(module)["pretrained_cfg"]
    preprocess = Preprocess(
        size=size or settings["input_size"][-1],
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        interpolation=settings["interpolation"] if settings["interpolation"] in ("bilinear", "bicubic") else "bicubic",
    )
    return ImageEncoder(name, module.eval(), _width_at(name, module, preprocess.size), preprocess)


def build_timm(name: str, *, size: int = 0, pretrained: bool = False) -> nn.Module:
    """A timm model without classifier; encoders of fixed input size are built for `size`."""
    import timm

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0].split('.')[0]}*")[:5]) or "see timm.list_models()"
        raise InputError(f"timm has no model {name!r}.", cure=f"Choose another, such as {near}")
    if "." in name and name not in timm.list_pretrained(name):
        known = ", ".join(timm.list_pretrained(f"{name.partition('.')[0]}.*"))
        raise InputError(f"timm has no weights {name!r}.", cure=f"Choose from {known}")
    fixed = timm.models.get_pretrained_cfg_value(name, "fixed_input_size")
    options: dict[str, Any] = {"img_size": size} if size and fixed else {}
    if pretrained:
        from huggingface_hub.utils import logging

        logging.set_verbosity_error()  # the end of its attempts is told below
    try:
        module: nn.Module = timm.create_model(name, num_classes=0, pretrained=pretrained, **options)
    except Exception as error:  # of the hub's many classes, or an assertion about the size
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if pretrained:
            raise MissingError(
                f"Weights of {name} cannot be fetched ({reason}).", cure="Go online, or name a weights file."
            ) from None
        raise InputError(
            f"{name} cannot be built for images of {size} pixels ({reason}).", cure="Choose another image_size."
        ) from None
    return module.to(memory_format=torch.channels_last)


def fit_to_size(name: str, module: Any, size: int) -> None:
    """Fit a model of fixed input size to another one, its position embeddings interpolated."""
    import timm

    if size and timm.models.get_pretrained_cfg_value(name, "fixed_input_size"):
        try:
            module.set_input_size(img_size=(size, size))
        except (AttributeError, AssertionError, RuntimeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(
                f"{name} cannot be fitted to images of {size} pixels ({reason}).", cure="Choose another image_size."
            ) from None


def load_image_weights(module: nn.Module, source: str) -> None:
    """Fill a timm model from a file: tensors by name or, where no name of a .pth fits, in order with equal shapes.

    Raises:
        InputError: tensors missing, left over (a classifier apart), or of another shape.
    """
    path = locate(source)
    theirs = read_state_dict(path)
    own = module.state_dict()
    if path.suffix != ".safetensors" and not own.keys() & theirs.keys():  # safetensors files keep no order
        theirs = _renamed_in_order(own, theirs, str(path))
    if missing := sorted(own.keys() - theirs.keys()):
        raise InputError(
            f"{path}: lacks {missing[0]} and {len(missing) - 1} more tensors.", cure="Name its own weights."
        )
    if left_over := [name for name in theirs if name not in own and not name.startswith(_dropped(module))]:
        more = len(left_over) - 1
        raise InputError(
            f"{path}: {left_over[0]} and {more} more tensors have no place in the model.", cure="Name its own weights."
        )
    for name, tensor in own.items():
        if theirs[name].shape != tensor.shape:
            raise InputError(
                f"{path}: {name} is {list(theirs[name].shape)}, the model's {list(tensor.shape)}.",
                cure="Name weights of this model.",
            )
    module.load_state_dict({name: theirs[name] for name in own})


def adopt_weights(module: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Fill a timm model from another of its family: the same but for input size or window, by which tables of positions
    are interpolated, as timm does it.

    Raises:
        InputError: the other is of another family.
    """
    own = module.state_dict()
    fitting = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    same_names = own.keys() <= state.keys()
    if fitting is not None and same_names and any(state[name].shape != own[name].shape for name in own):
        # Without its classifier timm would take a state of today for one of years ago and rename it.
        with warnings.catch_warnings():  # a remark on the speed of its interpolation
            warnings.simplefilter("ignore")
            state = fitting({**state, "head.fc.weight": torch.empty(0)}, module)
    if wrong := sorted(name for name in own if name not in state or state[name].shape != own[name].shape):
        raise InputError(
            f"{source}: its image encoder gives no {wrong[0]} {list(own[wrong[0]].shape)} and {len(wrong) - 1} more.",
            cure="Train the same kind of image encoder, another input size or window apart.",
        )
    module.load_state_dict({name: state[name] for name in own})


def spatial_features(module: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Spatial features [B, T, V] of pixels [B, 3, S, S], whichever layout the model answers in.

    Class and register tokens are left out; NCHW (convolutional) and NHWC (Swin) maps are flattened row by row.
    """
    pixels = pixels.contiguous(memory_format=torch.channels_last)  # convolutions on a CPU run up to twice as fast
    return cells_of(module, module.forward_features(pixels))[0]  # type: ignore[operator]


def cells_of(module: nn.Module, features: torch.Tensor) -> tuple[torch.Tensor, Literal["NLC", "NCHW", "NHWC"]]:
    """(cells [B, T, V], layout) of what `forward_features` gives."""
    if features.ndim == 3:
        return features[:, getattr(module, "num_prefix_tokens", 0) :], "NLC"
    if features.shape[-1] == module.num_features and features.shape[1] != module.num_features:
        return features.flatten(1, 2), "NHWC"
    return features.flatten(2).transpose(1, 2), "NCHW"


def _width_at(name: str, module: nn.Module, size: int) -> int:
    """V, of a black image; not every encoder takes every size."""
    try:
        with torch.no_grad():
            return int(spatial_features(module, torch.zeros(1, 3, size, size)).shape[-1])
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{name} does not take images of {size} pixels ({reason}).", cure="Choose another image_size."
        ) from None


def _dropped(module: nn.Module) -> tuple[str, ...]:
    """How names of a timm model's classifier begin; `build_timm` leaves it out."""
    classifier = vars(module)["pretrained_cfg"].get("classifier") or ()
    return tuple(f"{name}." for name in ([classifier] if isinstance(classifier, str) else classifier))


def _renamed_in_order(
    own: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], path: str
) -> dict[str, torch.Tensor]:
    """Give their tensors our names, position by position; a classifier at the end may be left over."""
    values = list(theirs.values())
    for (name, tensor), (their_name, value) in zip(own.items(), theirs.items(), strict=False):
        if tensor.shape != value.shape:
            raise InputError(
                f"{path}: {their_name} {list(value.shape)} stands where {name} {list(tensor.shape)} is needed.",
                cure="Name weights of this model.",
            )
    if not 0 <= len(values) - len(own) <= 2:
        raise InputError(
            f"{path}: holds {len(values)} tensors, the model {len(own)}.", cure="Name weights of this model."
        )
    return dict(zip(own, values, strict=False))
