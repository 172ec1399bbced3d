"""Finding published weights: a file, a folder, or a file inside an installed package (`package:NAME`)."""

import importlib.util
import pickle
import re
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from ramkit.errors import InputError, MissingError

PACKAGE = "package:"
_ENDINGS = (".safetensors", ".pth", ".pt")
_WRAPPERS = ("state_dict", "model")  # keys under which training scripts store the weights, beside other things
_PARALLEL = "module."  # what torch's (Distributed)DataParallel puts before every name


def locate(source: str) -> Path:
    """The path that a source names; `package:NAME` is the one folder of an installed package that holds weights.

    Raises:
        MissingError: the package is not installed.
        InputError: no such path, or not exactly one weights file in the package.
    """
    if not source.startswith(PACKAGE):
        path = Path(source).expanduser()
        if not path.exists():
            raise InputError(f"{source}: no such file or folder.", cure="Check the path of the weights.")
        return path
    name = source.removeprefix(PACKAGE)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a package around it that is not there, or no name at all
        spec = None
    if spec is None or spec.origin is None:
        raise MissingError(f"Package {name} is not installed.", cure=f"Run: pip install {name.replace('_', '-')}")
    found = [path for path in sorted(Path(spec.origin).parent.rglob("*")) if path.suffix in _ENDINGS]
    if len(found) != 1:
        raise InputError(f"Package {name} holds {len(found)} weight files, expected one.", cure="Name the file itself.")
    return found[0]


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a .safetensors or PyTorch file, which is read without running code in it and, where its format
    allows, mapped into memory: only the tensors that are used are read.

    Names are told as the model has them, also where the file was written from within torch's DataParallel.

    Raises:
        InputError: not such a file.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        reason = _reason(error)
        raise InputError(
            f"{path}: not readable as weights ({reason}).", cure="Name a .safetensors or .pth file."
        ) from None
    if isinstance(state, dict):
        state = next((state[key] for key in _WRAPPERS if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{path}: holds no state dict.", cure="Name a file of model weights.")
    if all(name.startswith(_PARALLEL) for name in state):
        return {name.removeprefix(_PARALLEL): tensor for name, tensor in state.items()}
    return state


def _reason(error: Exception) -> str:
    """One line; of what torch tells about a file with more than tensors in it, the name of what that is.

    torch's own words are passed over where they advise to run the code in the file.
    """
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if foreign := re.search(r"GLOBAL (\S+) (?:was not an allowed global|whose module)", str(error)):
        return f"it holds an object of {foreign[1]}, which could run code"
    if isinstance(error, pickle.UnpicklingError | LookupError | EOFError):
        return "it is no file of torch's, or more than tensors is in it"
    return str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
