"""Finding published weights and reading them without running code in them."""

import os
import pickle
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ramkit.errors import InputError, MissingError
from ramkit.weights import locate, read_state_dict

STATE = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package `some_weights`."""
    folder = tmp_path / "some_weights"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (tmp_path / "bare").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_a_path_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.pth").touch()
    assert locate(str(tmp_path / "w.pth")) == tmp_path / "w.pth"
    assert locate(str(tmp_path)) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/w.pth") == tmp_path / "w.pth"


@pytest.mark.parametrize("ending", ["safetensors", "pth", "pt"])
def test_a_package_is_its_one_weights_file_however_deep(package: Path, ending: str) -> None:
    (package / "data" / f"w.{ending}").touch()
    (package / "data" / "notes.txt").touch()
    assert locate("package:some_weights") == package / "data" / f"w.{ending}"


@pytest.mark.parametrize("count", [0, 2])
def test_a_package_with_another_number_of_weights_files_is_refused(package: Path, count: int) -> None:
    for number in range(count):
        (package / f"{number}.pt").touch()
    with pytest.raises(InputError, match=rf"Package some_weights holds {count} weight files, expected one\. Name the"):
        locate("package:some_weights")


@pytest.mark.parametrize("name", ["not_installed", "not_installed.inner", "os.path.inner", "", "bare"])
def test_a_package_that_is_not_installed_is_told(package: Path, name: str) -> None:
    with pytest.raises(MissingError, match=re.escape(f"Package {name} is not installed. Run: pip install")):
        locate(f"package:{name}")


def test_a_missing_path_is_told() -> None:
    with pytest.raises(InputError, match=r"/no/where\.pth: no such file or folder\. Check the path"):
        locate("/no/where.pth")


def test_both_kinds_of_files_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    torch.save(STATE, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        found = read_state_dict(tmp_path / name)
        assert found.keys() == STATE.keys()
        assert all(torch.equal(found[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_weights_among_other_things_are_taken_out(tmp_path: Path, key: str) -> None:
    torch.save({key: STATE, "epoch": 3, "optimizer": {"state": {}}}, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == STATE.keys()


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"model": state}])
def test_names_from_within_data_parallel_are_the_models(tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    torch.save(wrap({f"module.{name}": tensor for name, tensor in STATE.items()}), tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == STATE.keys()
    torch.save(wrap({"module.a": torch.ones(1), "b": torch.ones(1)}), tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth").keys() == {"module.a", "b"}, "a module of that name"


@pytest.mark.parametrize("content", [[1, 2], torch.ones(2), {"a": 1.0}, {"a": {"b": torch.ones(2)}}, {"model": 3}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'w.pth'}: holds no state dict.")):
        read_state_dict(tmp_path / "w.pth")


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harm-was-done"),))


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch harm-was-done",))


def test_a_pickle_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": Harmful()}))
    with pytest.raises(InputError, match="not readable as weights"):
        read_state_dict(tmp_path / "w.pth")
    for value, what in ((Harmful(), "getattr"), (Runs(), r"\w+\.system"), (Namespace(), r"argparse\.Namespace")):
        torch.save({"a": value}, tmp_path / "w.pth")
        with pytest.raises(InputError, match=rf"not readable as weights \(it holds an object of {what}, which"):
            read_state_dict(tmp_path / "w.pth")
    assert not (tmp_path / "harm-was-done").exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_an_unreadable_file_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("no weights\nat all")
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / name}: not readable as weights (")) as caught:
        read_state_dict(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    with pytest.raises(InputError, match="not readable as weights"):
        read_state_dict(tmp_path)
