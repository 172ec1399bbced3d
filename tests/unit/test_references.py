"""What references lead to: members of shards by a table on disk, rows of Parquet files by their row groups."""

import io
import os
import tarfile
import threading
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from ramkit import references
from ramkit.errors import InputError
from ramkit.references import leads_somewhere, photo_rows, read_inside, read_member, shard_index, split_reference


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAMKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def shard(path: Path, count: int = 200, text: str = "photo") -> str:
    with tarfile.open(path, "w") as archive:
        for number in range(count):
            member = tarfile.TarInfo(f"{number:05}.jpg")
            content = f"{text} {number}".encode()
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return str(path)


def parquet(path: Path, count: int = 100) -> str:
    rows = {
        "image": [{"bytes": f"photo {number}".encode(), "path": None} for number in range(count)],
        "a/b": [f"bytes {number}".encode() for number in range(count)],
        "caption": [f"caption {number}" for number in range(count)],
    }
    pyarrow.parquet.write_table(pyarrow.table(rows), path, row_group_size=7)
    return str(path)


@pytest.mark.parametrize(
    ("reference", "taken"),
    [
        ("a/s.tar::x.jpg", ("a/s.tar", "x.jpg")),
        ("a/S.TAR::x::y.tar::z", ("a/S.TAR", "x::y.tar::z")),
        ("p.parquet::image/12", ("p.parquet", "image/12")),
        ("p.parquet", None),
        ("a::b.jpg", None),
    ],
)
def test_references_are_taken_apart(reference: str, taken: tuple[str, str] | None) -> None:
    assert split_reference(reference) == taken


def test_the_places_of_members_are_found_once_and_kept_on_disk(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shard(tmp_path / "s.tar")
    assert read_member(path, "00150.jpg") == b"photo 150"
    [table] = (cache / "shards").iterdir()
    assert table.stat().st_size < 200 * 24 + 256
    references._shard_table.cache_clear()
    monkeypatch.setattr(references, "_members", lambda *_: pytest.fail("the shard was read again"))
    for number in (199, 0, 7):
        assert read_member(path, f"{number:05}.jpg") == f"photo {number}".encode()
    with pytest.raises(InputError, match=r"s.tar: has no member 00200.jpg"):
        read_member(path, "00200.jpg")
    assert leads_somewhere(f"{path}::00199.jpg")
    assert not leads_somewhere(f"{path}::00200.jpg")
    assert not leads_somewhere(f"{path}x.tar::00199.jpg")


def test_a_changed_shard_is_read_anew(tmp_path: Path) -> None:
    path = shard(tmp_path / "s.tar")
    assert read_member(path, "00001.jpg") == b"photo 1"
    assert len(shard_index(path)) == 200
    shard(tmp_path / "s.tar", 300, "picture")
    assert read_member(path, "00001.jpg") == b"picture 1"
    assert len(shard_index(path)) == 300


def test_where_nothing_can_be_kept_memory_holds_the_table(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder would be")
    assert read_member(shard(tmp_path / "s.tar"), "00042.jpg") == b"photo 42"


def test_an_empty_shard_has_no_member(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no member x"):
        read_member(shard(tmp_path / "s.tar", 0), "x")


def test_rows_of_parquet_in_any_order(tmp_path: Path) -> None:
    path = parquet(tmp_path / "p.parquet")
    for number in (99, 0, 6, 7, 50, 8):
        assert read_inside(path, f"image/{number}") == f"photo {number}".encode()
        assert read_inside(path, f"a/b/{number}") == f"bytes {number}".encode()
    assert leads_somewhere(f"{path}::image/99")
    assert not leads_somewhere(f"{path}::image/100")


def test_photos_in_order_cost_one_reading_of_a_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "p.parquet")
    read: list[Any] = []
    opened = references.open_parquet

    def count(name: str | Path) -> Any:
        read.append(name)
        return opened(name)

    monkeypatch.setattr(references, "open_parquet", count)
    found: dict[int, bytes] = {}

    def take(first: int) -> None:
        for number in range(first, 21, 3):
            found[number] = read_inside(path, f"image/{number}")

    threads = [threading.Thread(target=take, args=[first]) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: f"photo {number}".encode() for number in range(21)}
    assert len(read) < 15, "not once a photo"


def test_the_rows_with_photos_are_told(tmp_path: Path) -> None:
    both = parquet(tmp_path / "both.parquet", 9)
    assert photo_rows(both) == [f"image/{row}" for row in range(9)], "as `datasets` writes them, before plain bytes"
    plain = str(tmp_path / "plain.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"caption": ["a", "b"], "photo": [b"x", b"y"]}), plain)
    assert photo_rows(plain) == ["photo/0", "photo/1"]
    pyarrow.parquet.write_table(pyarrow.table({"caption": ["a", "b"]}), plain)
    assert photo_rows(plain) == []


def test_a_row_that_holds_a_path_alone_names_it(tmp_path: Path) -> None:
    path = str(tmp_path / "p.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"image": [{"bytes": None, "path": "cat.jpg"}]}), path)
    with pytest.raises(InputError, match=r"::image/0: holds a path alone, cat\.jpg\. Name that file\."):
        read_inside(path, "image/0")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("image/100", ": has no row 100, but 100 rows. Check the reference."),
        ("image", "::image: names no row. Write file.parquet::column/row."),
        ("picture/1", ": has no column 'picture'. Check the reference."),
        ("caption/1", "::caption/1: holds no photo. Name a column of photos."),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, name: str, message: str) -> None:
    path = parquet(tmp_path / "p.parquet")
    with pytest.raises(InputError) as caught:
        read_inside(path, name)
    assert str(caught.value) == path + message


def test_a_changed_or_damaged_parquet_file(tmp_path: Path) -> None:
    path = parquet(tmp_path / "p.parquet")
    assert read_inside(path, "image/3") == b"photo 3"
    pyarrow.parquet.write_table(pyarrow.table({"image": [b"other"] * 4}), path)
    os.utime(path, (1, 1))
    assert read_inside(path, "image/3") == b"other"
    Path(path).write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"p.parquet: not a readable Parquet file \("):
        read_inside(path, "image/3")
    Path(path).unlink()
    with pytest.raises(InputError, match=r"p.parquet: no such file"):
        read_inside(path, "image/3")
