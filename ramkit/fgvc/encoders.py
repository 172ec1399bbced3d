"""Image encoders for fine-grained work: timm's and open_clip's, with weights to train from, or without to load into."""

from typing import Any

from torch import nn

from ramkit.clip import load_clip, model_and_weights
from ramkit.errors import InputError
from ramkit.image_encoder import ImageEncoder, build_timm, create_image_encoder
from ramkit.photos import Preprocess

CLIP = "open_clip:"


def create_encoder(name: str, *, weights: str, size: int) -> ImageEncoder:
    """The image encoder that a name tells: any of timm's, or `open_clip:MODEL/WEIGHTS`.

    Args:
        weights: of a timm model: `timm`, a file, `package:NAME`, or empty for random ones.
        size: pixels of both sides; 0 takes the encoder's own.

    Raises:
        InputError: no such model, or one that does not take this size.
        MissingError: the weights cannot be had.
    """
    if not name.startswith(CLIP):
        return create_image_encoder(name, weights=weights, size=size)
    model, _ = load_clip(name.removeprefix(CLIP), image_size=size)
    visual = model.visual
    settings = visual.preprocess_cfg
    sides = visual.image_size if isinstance(visual.image_size, tuple) else (visual.image_size,) * 2
    preprocess = Preprocess(sides[0], tuple(settings["mean"]), tuple(settings["std"]), settings["interpolation"])
    return ImageEncoder(name, visual, _clip_config(name)["embed_dim"], preprocess)


def architecture(encoder: ImageEncoder) -> dict[str, Any]:
    """What `rebuild` needs, as JSON takes it."""
    if not encoder.name.startswith(CLIP):
        return {"timm": encoder.name}
    config = _clip_config(encoder.name)
    # Some weights bring their own activation, which the model's configuration does not tell.
    quick = any(type(part).__name__ == "QuickGELU" for part in encoder.module.modules())
    return {"open_clip": {"embed_dim": config["embed_dim"], "vision": config["vision_cfg"], "quick_gelu": quick}}


def _clip_config(name: str) -> dict[str, Any]:
    """open_clip's configuration of the model that `open_clip:MODEL/WEIGHTS` names."""
    import open_clip

    model, _ = model_and_weights(name.removeprefix(CLIP))
    config = open_clip.get_model_config(model)
    assert config is not None, "the model was made by it"
    return config


def rebuild(found: dict[str, Any], size: int) -> nn.Module:
    """An image encoder without its weights, for images of `size` pixels.

    Raises:
        InputError: this timm or open_clip does not know it.
    """
    if "timm" in found:
        return build_timm(found["timm"].partition(".")[0], size=size)
    from open_clip.model import _build_vision_tower

    settings = found["open_clip"]
    vision = {**settings["vision"], "image_size": size, "timm_model_pretrained": False}
    try:
        tower = _build_vision_tower(settings["embed_dim"], vision, settings["quick_gelu"])
        if hasattr(tower, "set_input_size"):  # around a timm model, which is built for its own size, whatever is asked
            tower.set_input_size(size)
        return tower
    except Exception as error:
        raise InputError(
            f"This open_clip cannot build the image encoder ({error}).",
            cure="Install that of the training.",
        ) from None
