"""Writing that survives exceptions and kills, and JSON Lines that name their bad line."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ramkit import files
from ramkit.errors import InputError
from ramkit.files import cache_directory, read_rows, remove_parts, sha256_of, to_json_line, write_rows, write_whole


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# ---- write_whole


@pytest.mark.parametrize(("data", "stored"), [("héllo\n", b"h\xc3\xa9llo\n"), (b"\x00\xff", b"\x00\xff"), ("", b"")])
def test_write_whole_replaces_the_file_and_leaves_nothing_else(
    tmp_path: Path, data: bytes | str, stored: bytes
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    write_whole(path, data)
    assert path.read_bytes() == stored
    assert names_in(tmp_path) == ["file.txt"]


def test_write_whole_is_readable_by_others(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_write_whole_keeps_the_old_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    def fail(*_: Any) -> None:
        raise error

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(type(error)):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["file"]


REWRITE = """
import sys
from pathlib import Path
from ramkit.files import write_whole
path, round = Path(sys.argv[1]), 0
while True:
    round += 1
    write_whole(path, str(round % 10) * 300_000)
    if round == 1:
        print("writing", flush=True)
"""


def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path, killed: Any) -> None:
    path = tmp_path / "file"
    for delay in (0.0, 0.004, 0.011):
        killed(REWRITE, path, after=delay)
        content = path.read_text()
        assert len(content) == 300_000
        assert len(set(content)) == 1


def test_parts_left_by_a_kill_are_removed_in_all_folders_and_nothing_else(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from ramkit import files\n"
        "files.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "getattr(files, sys.argv[1])(Path(sys.argv[2]), [] if sys.argv[1] == 'write_rows' else '')\n"
    )
    (tmp_path / "inner").mkdir()
    (tmp_path / "kept.part").touch()
    for writer, target in (("write_rows", "rows.jsonl"), ("write_whole", "inner/text")):
        dead = subprocess.run([sys.executable, "-c", script, writer, str(tmp_path / target)], check=False)
        assert dead.returncode == -signal.SIGKILL
    assert len(list(tmp_path.rglob("*"))) == 4
    remove_parts(tmp_path)
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["inner", "kept.part"]


# ---- rows

ROWS: list[dict[str, Any]] = [
    {"b": 1, "a": [1.5, None, True]},
    {"text": 'naïve 犬 🐕 \u2028 \x85 \r \n \t " \\ \x00'},
    {},
]


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert write_rows(path, ROWS) == 3
    assert list(read_rows(path)) == ROWS
    assert names_in(tmp_path) == ["rows.jsonl"]


def test_a_row_is_one_line_in_the_order_given_with_characters_as_themselves() -> None:
    assert to_json_line({"b": "犬", "a": 1}) == '{"b": "犬", "a": 1}\n'


def test_a_file_name_that_is_no_utf8_survives(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    write_rows(tmp_path / "rows.jsonl", [{"image": name}])
    assert [row["image"] for row in read_rows(tmp_path / "rows.jsonl")] == [name]
    write_whole(tmp_path / "one.json", json.dumps({"image": name}, ensure_ascii=False))
    assert json.loads((tmp_path / "one.json").read_text(encoding="utf-8")) == {"image": name}


def test_rows_that_fail_half_way_leave_the_old_file_alone(tmp_path: Path) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield {"n": 1}
        raise RuntimeError("no more")

    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"old": True}])
    with pytest.raises(RuntimeError, match="no more"):
        write_rows(path, rows())
    assert list(read_rows(path)) == [{"old": True}]
    assert names_in(tmp_path) == ["rows.jsonl"]


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n',
        b'{"a": 1}\r\n{"a": 2}\r\n',
        b'\n{"a": 1}\n  \n{"a": 2}',
        b'{"a": 1}\n\xef\xbb\xbf{"a": 2}\n',
    ],
    ids=["byte order mark", "Windows line ends", "blank lines, no last line end", "two files joined"],
)
def test_harmless_differences_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    assert list(read_rows(tmp_path / "rows.jsonl")) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"a": 1', "not JSON"),
        (b"a dog on a lawn", "not JSON"),
        (b'{"a": 1} {"a": 2}', "not JSON"),
        (b"[1, 2]", "expected an object in braces, found list"),
        (b'"text"', "expected an object in braces, found str"),
        (b"null", "expected an object in braces, found NoneType"),
        (b'{"a": "caf\xe9"}', "not UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not usable"),
        (b'{"a": ' + b"[" * 100_000, "not usable"),
    ],
    ids=lambda value: value[:20].decode(errors="replace") if isinstance(value, bytes) else value,
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, what: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + line + b'\n{"a": 4}\n')
    rows = read_rows(path)
    assert next(rows) == {"a": 1}
    with pytest.raises(InputError, match=what) as caught:
        next(rows)
    assert caught.value.what.startswith(f"{path}, line 3: ")
    assert caught.value.cure
    assert "\n" not in str(caught.value)


def test_utf16_is_named_as_such_a_file(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n', encoding="utf-16")
    with pytest.raises(InputError, match=r"rows\.jsonl, line 1: not UTF-8\. Save the file as UTF-8\."):
        list(read_rows(tmp_path / "rows.jsonl"))


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.jsonl: cannot be read \(No such file or directory\)"):
        list(read_rows(tmp_path / "nothing.jsonl"))
    with pytest.raises(InputError, match="cannot be read"):
        list(read_rows(tmp_path))


# ---- cache


def test_the_cache_goes_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAMKIT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "ramkit"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "ramkit"
    monkeypatch.setenv("RAMKIT_CACHE", str(tmp_path / "own"))
    assert cache_directory() == tmp_path / "own"
