"""Vectors of typed words, kept from run to run; whatever is wrong with the file, they come."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from ramkit.text import vector_cache as room
from ramkit.text.vector_cache import VectorCache

WIDTH = 8


class Encoder:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        self.asked += texts
        return torch.stack([vector(text) for text in texts]) if texts else torch.empty(0, WIDTH)


def vector(text: str) -> torch.Tensor:
    return torch.randn(WIDTH, generator=torch.Generator().manual_seed(sum(text.encode())))


def encode(path: Path, texts: list[str], encoder: str = "a") -> list[str]:
    """Checks the vectors; returns what had to be encoded."""
    asked = Encoder()
    found = VectorCache(path, encoder, WIDTH).encode(texts, asked)
    assert torch.equal(found, torch.stack([vector(text) for text in texts]) if texts else torch.empty(0, WIDTH))
    return asked.asked


def test_each_text_is_encoded_once(tmp_path: Path) -> None:
    path = tmp_path / "below" / "words.sqlite"
    assert encode(path, ["cat", "dog", "cat"]) == ["cat", "dog"]
    assert encode(path, ["dog", "fish", "cat"]) == ["fish"]
    assert encode(path, ["cat", "fish"]) == []
    assert encode(path, []) == []
    assert encode(path, ["cat"], encoder="b") == ["cat"], "another encoder"
    assert b"fish" not in path.read_bytes(), "words are known by their hashes alone"


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_costs_time_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "words.sqlite"
    path.write_bytes(content)
    for _ in range(2):
        encode(path, ["cat"])
    assert encode(path, ["cat"]) == [], "it was begun anew"


def test_a_vector_of_another_width_is_none(tmp_path: Path) -> None:
    path = tmp_path / "words.sqlite"
    encode(path, ["cat"])
    with sqlite3.connect(path) as base:
        base.execute("UPDATE vectors SET vector = x'00'")
    base.close()
    assert encode(path, ["cat"]) == ["cat"]
    assert encode(path, ["cat"]) == []


def test_a_place_that_cannot_be_written_costs_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert encode(tmp_path / "file" / "words.sqlite", ["cat"]) == ["cat"]
    path = tmp_path / "words.sqlite"
    encode(path, ["cat"])

    def read_only(self: VectorCache) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    monkeypatch.setattr(VectorCache, "_open", read_only)
    assert encode(path, ["cat", "dog"]) == ["dog"], "what is there can be read"
    assert encode(path, ["cat", "dog"]) == ["dog"]


def test_what_was_not_asked_for_the_longest_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_BYTES", 10 * 4 * WIDTH)
    now = iter(range(10_000))
    monkeypatch.setattr(room.time, "time", lambda: float(next(now)))
    path = tmp_path / "words.sqlite"
    for number in range(10):
        encode(path, [f"word {number}"])
    encode(path, ["word 0"])
    encode(path, ["one too many"])
    assert encode(path, ["word 0", "one too many"]) == [], "asked for last"
    assert encode(path, ["word 1"]) == ["word 1"]
    with sqlite3.connect(path) as base:
        (count,) = base.execute("SELECT COUNT(*) FROM vectors").fetchone()
    base.close()
    assert count <= 10


_WRITER = """
import sys, torch
from pathlib import Path
from ramkit.text.vector_cache import VectorCache
cache = VectorCache(Path(sys.argv[1]), "a", 8)
for number in range(40):
    cache.encode([f"{sys.argv[2]} {number}", f"both {number}"], lambda texts: torch.ones(len(texts), 8))
"""


def test_two_processes_at_once_do_no_harm(tmp_path: Path) -> None:
    """One may pass over what it cannot write in time; what is written is right."""
    path = tmp_path / "words.sqlite"
    commands = [[sys.executable, "-c", _WRITER, str(path), name] for name in ("one", "two")]
    running = [subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}) for command in commands]
    assert [process.wait(120) for process in running] == [0, 0]
    texts = [f"{name} {number}" for name in ("one", "two", "both") for number in range(40)]
    missing: list[str] = []

    def ones(new: Sequence[str]) -> torch.Tensor:
        missing.extend(new)
        return torch.ones(len(new), WIDTH)

    for _ in range(2):
        assert torch.equal(VectorCache(path, "a", WIDTH).encode(texts, ones), torch.ones(120, WIDTH))
    assert len(missing) == len(set(missing)) < 120
    with sqlite3.connect(path) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    base.close()
