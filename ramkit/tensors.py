"""Tensors on disk: safetensors in full, half or 8-bit precision, read back as float32.

8-bit: each row x of a matrix is stored as round(x / s) with its own scale s = max|x| / 127, which stands beside it
under `<name>.scale`. Tensors of one dimension stay in half precision.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ramkit.errors import ArtifactError
from ramkit.files import READABLE

Precision = Literal["float32", "float16", "int8"]
_SCALE = ".scale"
_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.int8: "I8", torch.int64: "I64"}  # as the format has them


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], precision: Precision = "float32") -> None:
    """Write tensors as one safetensors file; whole numbers are kept as they are."""
    stored = (as_stored(name, tensor, precision) for name, tensor in tensors.items())
    write_file(path, {name: tensor for parts in stored for name, tensor in parts.items()})


def write_file(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Tensors as they are, as a file that others may read, too: safetensors alone leaves it to its owner."""
    save_file(tensors, path, metadata)
    path.chmod(READABLE)


def as_stored(name: str, tensor: torch.Tensor, precision: Precision) -> dict[str, torch.Tensor]:
    """A tensor as it stands in a file: under its name, in 8 bits with its scales beside it."""
    if not tensor.is_floating_point() or precision == "float32":
        return {name: tensor.contiguous()}
    if precision == "int8" and tensor.ndim >= 2:
        values, scale = quantize_rows(tensor)
        return {name: values, name + _SCALE: scale}
    return {name: tensor.half().contiguous()}


def from_stored(name: str, parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The inverse of `as_stored`, as float32."""
    if name + _SCALE in parts:
        return dequantize_rows(parts[name], parts[name + _SCALE])
    return parts[name].float() if parts[name].is_floating_point() else parts[name]


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
    scales = {name + _SCALE for name in stored} & stored.keys()
    return {name: from_stored(name, stored) for name in stored if name not in scales}


def quantize_rows(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(values int8 of the same shape, scales float32 [shape[0], …, 1]); a row is the last dimension."""
    scale = tensor.float().abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / 127
    values = (tensor.float() / scale).round().clamp(-127, 127).to(torch.int8)
    return values.contiguous(), scale.contiguous()


def dequantize_rows(values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The inverse of `quantize_rows`, up to half a scale step."""
    return values.float() * scale.float()


class TensorFile:
    """A safetensors file read and written a few rows at a time, so that no tensor has to be in memory whole.

    A row is the last dimension. Bytes go through the file, not through a mapping, so that memory stays what it is.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        """Open a file that is there.

        Raises:
            ArtifactError: not a safetensors file.
        """
        self._file = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        try:
            length = int.from_bytes(os.pread(self._file, 8, 0), "little")
            header = json.loads(os.pread(self._file, length, 8))
            self._parts = {name: _Part(8 + length, entry) for name, entry in header.items() if name != "__metadata__"}
        except (ValueError, KeyError, TypeError, MemoryError, OverflowError, OSError) as error:
            os.close(self._file)
            raise ArtifactError(f"{path}: not a readable safetensors file ({error}).", cure="Make it anew.") from None

    @classmethod
    def create(cls, path: Path, shapes: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> "TensorFile":
        """A new file of zeros."""
        header, end = {}, 0
        for name, (kind, shape) in sorted(shapes.items(), key=lambda item: (-item[1][0].itemsize, item[0])):
            start, end = end, end + kind.itemsize * math.prod(shape)
            header[name] = {"dtype": _NAMES[kind], "shape": list(shape), "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with path.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            stream.truncate(8 + len(text) + end)
        return cls(path, writable=True)

    def __enter__(self) -> "TensorFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    @property
    def names(self) -> list[str]:
        return list(self._parts)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._parts[name].shape

    def read(self, name: str, row: int, rows: int = 1) -> bytes:
        """The bytes of some rows."""
        part = self._parts[name]
        return os.pread(self._file, rows * part.row_bytes, part.start + row * part.row_bytes)

    def tensor(self, name: str, row: int, rows: int = 1) -> torch.Tensor:
        """The same as a tensor [rows, last dimension]."""
        kind = next(kind for kind, known in _NAMES.items() if known == self._parts[name].kind)
        return torch.frombuffer(bytearray(self.read(name, row, rows)), dtype=kind).view(rows, -1)

    def write(self, name: str, row: int, data: bytes | bytearray) -> None:
        """Put whole rows in their place."""
        part = self._parts[name]
        place, view = part.start + row * part.row_bytes, memoryview(data)
        while view:
            written = os.pwrite(self._file, view, place)
            place, view = place + written, view[written:]

    def row_bytes(self, name: str) -> int:
        return self._parts[name].row_bytes

    def sync(self) -> None:
        """Return when all that was written is on disk."""
        os.fsync(self._file)


class _Part:
    """Where a tensor lies in a file."""

    def __init__(self, data: int, entry: Mapping[str, Any]) -> None:
        self.kind: str = entry["dtype"]
        self.shape = tuple(entry["shape"])
        self.start = data + entry["data_offsets"][0]
        rows = math.prod(self.shape[:-1])
        self.row_bytes = (entry["data_offsets"][1] - entry["data_offsets"][0]) // max(rows, 1)
