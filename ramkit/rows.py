"""Rows of a JSON Lines file read in any order: they stay on disk, memory holds where each begins, 8 bytes a row."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ramkit.errors import InputError
from ramkit.files import parse_row

_BLOCK = 1 << 24  # bytes searched for ends of lines at a time


class Rows:
    """The rows of a file as `write_rows` leaves it, by number, from 0.

    Raises:
        InputError: the file cannot be read; or, when it is asked for, a row that is no JSON object.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._bounds = _bounds_of_lines(path)
            with path.open("rb") as stream:
                self._content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if len(self) else b""
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}).", cure="Check the path.") from None

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, number: int) -> dict[str, Any]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return parse_row(self._path, number + 1, self._content[self._bounds[number] : self._bounds[number + 1]])


def _bounds_of_lines(path: Path) -> npt.NDArray[np.int64]:
    """Where each of N lines begins, and where the last one ends [N + 1]."""
    found = [np.zeros(1, dtype=np.int64)]
    done = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            found.append(np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")) + done + 1)
            done += len(block)
    bounds = np.concatenate(found)
    return bounds if bounds[-1] == done else np.append(bounds, done)
