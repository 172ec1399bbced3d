"""A fine-grained classifier's weights on disk are those that it was measured with."""

from typing import Any

import torch
from safetensors.torch import load_file

from ramkit.fgvc.classifier import round_weights, save_classifier
from ramkit.fgvc.model import FineHead, HeadConfig
from ramkit.fgvc.vision import Vision
from ramkit.image_encoder import create_image_encoder


def saved(folder: Any, change: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(weights in memory after rounding, weights on disk) of an encoder, changed."""
    torch.manual_seed(0)
    encoder = create_image_encoder("test_efficientnet", size=64)
    change(encoder.module)
    vision = Vision(encoder.module, "x", 64, selection="none", patches=0, train_layers=-1)
    round_weights(vision)
    head = FineHead(HeadConfig(3, vision.width, 0, False, True, "cosine", True, "none", "gelu", "fused"))
    save_classifier(
        folder, kinds=["a", "b", "c"], supercategory="", encoder=encoder, vision=vision, head=head, crop_share=1.0
    )
    return encoder.module.state_dict(), load_file(folder / "image_encoder.safetensors")


def test_what_is_saved_in_half_precision_is_what_was_measured(tmp_path: Any) -> None:
    own, stored = saved(tmp_path, lambda module: None)
    assert stored["conv_stem.weight"].dtype == torch.float16
    assert all(torch.equal(stored[name].to(tensor.dtype), tensor) for name, tensor in own.items())


def test_numbers_beyond_half_precision_are_saved_whole(tmp_path: Any) -> None:
    own, stored = saved(tmp_path, lambda module: module.bn1.running_var.fill_(123_456.7))
    assert stored["bn1.running_var"].dtype == torch.float32
    assert all(torch.equal(stored[name], tensor) for name, tensor in own.items())
