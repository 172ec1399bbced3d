"""Tensors on disk: safetensors in full, half or 8-bit precision, read back as float32.

8-bit: each row x of a matrix is stored as round(x / s) with its own scale s = max|x| / 127, which stands beside it
under `<name>.scale`. Tensors of one dimension stay in half precision.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ramkit.errors import ArtifactError

Precision = Literal["float32", "float16", "int8"]
_SCALE = ".scale"


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], precision: Precision = "float32") -> None:
    """Write tensors as one safetensors file; whole numbers are kept as they are."""
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or precision == "float32":
            stored[name] = tensor.contiguous()
        elif precision == "int8" and tensor.ndim >= 2:
            stored[name], stored[name + _SCALE] = quantize_rows(tensor)
        else:
            stored[name] = tensor.half().contiguous()
    save_file(stored, path)


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read what `save_tensors` wrote, floats as float32.

    Raises:
        ArtifactError: not a safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            stored = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path}: not a readable safetensors file ({error}).", cure="Make it anew.") from None
    tensors = {}
    for name, tensor in stored.items():
        if name + _SCALE in stored:
            tensors[name] = dequantize_rows(tensor, stored[name + _SCALE])
        elif not (name.endswith(_SCALE) and name.removesuffix(_SCALE) in stored):
            tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    return tensors


def quantize_rows(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(values int8 of the same shape, scales float32 [shape[0], …, 1]); a row is the last dimension."""
    scale = tensor.float().abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / 127
    values = (tensor.float() / scale).round().clamp(-127, 127).to(torch.int8)
    return values.contiguous(), scale.contiguous()


def dequantize_rows(values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The inverse of `quantize_rows`, up to half a scale step."""
    return values.float() * scale.float()
