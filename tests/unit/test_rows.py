"""Rows read by number are those that are read one after another."""

from pathlib import Path

import pytest

from ramkit import rows
from ramkit.errors import InputError
from ramkit.files import read_rows, write_rows
from ramkit.rows import Rows


@pytest.mark.parametrize("block", [1, 7, 1 << 24])
def test_every_row_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(rows, "_BLOCK", block)
    path = tmp_path / "rows.jsonl"
    write_rows(path, ({"number": number, "text": "é\n" * (number % 3)} for number in range(50)))
    found, expected = Rows(path), list(read_rows(path))
    assert len(found) == 50
    assert [found[number] for number in reversed(range(50))] == expected[::-1]
    for outside in (-1, 50):
        with pytest.raises(IndexError):
            found[outside]


@pytest.mark.parametrize(("content", "expected"), [(b"", []), (b'{"a": 1}', [{"a": 1}]), (b"{}\n{}", [{}, {}])])
def test_a_file_of_nothing_and_one_without_a_last_newline(tmp_path: Path, content: bytes, expected: list[dict]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    found = Rows(path)
    assert [found[number] for number in range(len(found))] == expected


def test_a_bad_row_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n{oops\n[1]\n")
    found = Rows(path)
    assert found[0] == {}
    with pytest.raises(InputError, match=r"rows.jsonl, line 2: not JSON"):
        found[1]
    with pytest.raises(InputError, match=r"rows.jsonl, line 3: expected an object in braces, found list"):
        found[2]
    with pytest.raises(InputError, match=r"nothing.jsonl: cannot be read \(No such file or directory\)"):
        Rows(tmp_path / "nothing.jsonl")
