"""Tensors on disk: what each precision loses, and what is refused."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ramkit.errors import ArtifactError
from ramkit.tensors import Precision, TensorFile, dequantize_rows, load_tensors, quantize_rows, save_tensors


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_eight_bits_are_at_most_half_a_step_off() -> None:
    tensor = drawn(4, 5, 6) * torch.tensor([1e-3, 1.0, 50.0, 0.0])[:, None, None]
    values, scale = quantize_rows(tensor)
    assert values.dtype == torch.int8
    assert scale.shape == (4, 5, 1)
    assert ((dequantize_rows(values, scale) - tensor).abs() <= scale / 2 * 1.001).all()
    assert (values[:3].abs().amax(-1) == 127).all(), "the whole range is used, row by row"


def test_quantising_again_changes_nothing() -> None:
    once = dequantize_rows(*quantize_rows(drawn(3, 7)))
    torch.testing.assert_close(dequantize_rows(*quantize_rows(once)), once)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_names_shapes_and_whole_numbers_are_kept(tmp_path: Path, precision: Precision) -> None:
    tensors = {
        "matrix": drawn(3, 4),
        "row": drawn(4),
        "scalar": torch.tensor(2.5),
        "counts": torch.tensor([1, 2, 3_000_000_000]),
        "flags": torch.tensor([True, False]),
        "channels_last": drawn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "transposed": drawn(3, 4).T,
    }
    save_tensors(tmp_path / "t.safetensors", tensors, precision)
    found = load_tensors(tmp_path / "t.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        if precision == "float32" or not tensor.is_floating_point():
            assert torch.equal(found[name], tensor)
        else:
            torch.testing.assert_close(found[name], tensor, atol=2e-3 if precision == "float16" else 2e-2, rtol=0)


def test_half_precision_halves_the_file_and_one_dimension_never_has_eight_bits(tmp_path: Path) -> None:
    save_tensors(tmp_path / "t", {"matrix": drawn(3, 4), "row": drawn(4)}, "int8")
    stored = load_file(tmp_path / "t")
    types = {name: tensor.dtype for name, tensor in stored.items()}
    assert types == {"matrix": torch.int8, "matrix.scale": torch.float32, "row": torch.float16}
    save_tensors(tmp_path / "t", {"matrix": drawn(3, 4)}, "float16")
    assert load_file(tmp_path / "t")["matrix"].dtype == torch.float16


def test_a_tensor_named_like_a_scale_is_kept(tmp_path: Path) -> None:
    tensors = {"norm.scale": drawn(4), "log_scale": drawn(2)}
    save_tensors(tmp_path / "t", tensors)
    assert load_tensors(tmp_path / "t").keys() == tensors.keys()


@pytest.mark.parametrize("content", [b"", b"not tensors at all", None])
def test_another_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "t.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=re.escape(f"{path}: not a readable safetensors file (")):
        load_tensors(path)


def test_a_file_written_row_by_row_is_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    wanted = {"a": drawn(3, 2, 5), "b": drawn(4, 3).half(), "c": torch.tensor([7, 8, 9])}
    with TensorFile.create(
        path, {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in wanted.items()}
    ) as file:
        assert all(not tensor.any() for tensor in load_file(path).values()), "zeros to begin with"
        file.write("a", 2, wanted["a"].flatten(0, 1)[2:].numpy().tobytes())
        file.write("a", 0, wanted["a"].flatten(0, 1)[:2].numpy().tobytes())
        file.write("b", 0, wanted["b"].numpy().tobytes())
        file.write("c", 0, wanted["c"].numpy().tobytes())
        file.sync()
        assert torch.equal(file.tensor("a", 3, 2), wanted["a"].flatten(0, 1)[3:5])
    found = load_file(path)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_rows_of_any_safetensors_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    tensor = drawn(2, 3, 4)
    save_file({"x": tensor, "n": torch.tensor([1, 2])}, path, metadata={"format": "pt"})
    with TensorFile(path) as file:
        assert file.shape("x") == (2, 3, 4)
        assert sorted(file.names) == ["n", "x"]
        assert torch.equal(file.tensor("x", 1, 4), tensor.flatten(0, 1)[1:5])
        assert file.tensor("n", 0).tolist() == [[1, 2]]


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40, (9).to_bytes(8, "little") + b"not JSON."])
def test_what_is_no_tensor_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=re.escape(f"{path}: not a readable safetensors file")):
        TensorFile(path)


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    save_tensors(tmp_path / "t.safetensors", {"a": drawn(2)})
    assert (tmp_path / "t.safetensors").stat().st_mode & 0o777 == 0o644
