"""open_clip models by MODEL/WEIGHTS: both towers of one come from the same name."""

import logging
from typing import Any

from ramkit.errors import InputError, MissingError, first_line

_WITH_WEIGHTS = ("hf-hub:", "local-dir:")  # open_clip's names for a model together with its weights


def model_and_weights(source: str) -> tuple[str, str | None]:
    """(the model as open_clip names it, its weights) of a source; None for weights that come with the model."""
    if source.startswith(_WITH_WEIGHTS):
        return source, None
    name, _, weights = source.partition("/")
    return name, weights


def load_clip(source: str, *, image_size: int = 0) -> tuple[Any, str]:
    """(model in evaluation mode and frozen, its name without weights).

    Args:
        source: MODEL/WEIGHTS, weights as open_clip lists them or a file, or hf-hub:REPOSITORY or local-dir:FOLDER.
        image_size: pixels of both sides that the image tower is built for; 0 takes its own.

    Raises:
        InputError: no weights are named.
        MissingError: the model or its weights cannot be loaded.
    """
    import open_clip

    name, weights = model_and_weights(source)
    if weights == "":
        raise InputError(
            f"open_clip:{source} names no weights.", cure="Add them, as in open_clip:ViT-B-16/openai, or a file."
        )
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # open_clip logs each error that it raises, too
    try:
        model = open_clip.create_model(
            name,
            pretrained=weights,
            require_pretrained=True,
            force_quick_gelu=_wants_quick_gelu(name, weights),
            force_image_size=image_size or None,
        )
    except Exception as error:
        raise MissingError(
            f"open_clip:{source} cannot be loaded ({first_line(error)}).",
            cure="Check the name with open_clip.list_pretrained(), or give a local weights file.",
        ) from None
    finally:
        logging.disable(before)
    return model.eval().requires_grad_(False), name


def _wants_quick_gelu(name: str, weights: str | None) -> bool:
    """Whether weights that open_clip knows by name were trained with x·σ(1.702 x) for GELU, as OpenAI's were.

    Where the model named has another, open_clip warns and computes other vectors.
    """
    import open_clip

    return bool(open_clip.get_pretrained_cfg(name, weights or "").get("quick_gelu"))
