"""Every kind of caption source, with the rows that real files are spoilt by."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from ramkit.captions import BadRow, CaptionRow, Columns, open_sources
from ramkit.errors import InputError, MissingError


def read(*names: str | Path, columns: Columns | None = None) -> tuple[list[CaptionRow], list[BadRow]]:
    rows = [row for source in open_sources(list(map(str, names)), columns or Columns()) for row in source.read()]
    return [row for row in rows if isinstance(row, CaptionRow)], [row for row in rows if isinstance(row, BadRow)]


def write_shard(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_json_lines_with_every_kind_of_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"image": "a.jpg", "caption": "a dog"}\n'
        b"\n"
        b"{oops\n"
        b"[1, 2]\n"
        b'{"image": "b.jpg"}\n'
        b'{"image": "b.jpg", "caption": 7}\n'
        b'{"image": "b.jpg", "caption": "  "}\n'
        b'{"image": 3, "caption": "a cat"}\n'
        b'{"caption": "a cat"}\n'
        b'{"image": "\xff.jpg", "caption": "a cat"}\n'
        b'{"image": "/abs/c.jpg", "caption": ["one  cat", "a cat", "a cat"]}'
    )
    good, bad = read(path)
    assert good == [
        CaptionRow(str(tmp_path / "a.jpg"), ("a dog",)),
        CaptionRow("/abs/c.jpg", ("one cat", "a cat")),
    ]
    assert [(row.where, row.why) for row in bad] == [
        ("captions.jsonl, line 3", "not JSON"),
        ("captions.jsonl, line 4", "no object in braces"),
        ("captions.jsonl, line 5", "no 'caption'"),
        ("captions.jsonl, line 6", "'caption' is no text and no list of texts"),
        ("captions.jsonl, line 7", "'caption' is empty"),
        ("captions.jsonl, line 8", "'image' is no text but int"),
        ("captions.jsonl, line 9", "no 'image'"),
        ("captions.jsonl, line 10", "not JSON"),
    ]


def test_rows_of_one_photo_that_follow_one_another_are_merged(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    rows = [("a.jpg", "one"), ("a.jpg", "two"), ("a.jpg", "one"), ("b.jpg", "three")]
    path.write_text("".join(json.dumps({"image": image, "caption": text}) + "\n" for image, text in rows))
    assert [row.captions for row in read(path)[0]] == [("one", "two"), ("three",)]


@pytest.mark.parametrize(("name", "separator"), [("c.csv", ","), ("c.tsv", "\t")])
def test_tables_with_named_columns(tmp_path: Path, name: str, separator: str) -> None:
    path = tmp_path / name
    lines = [["file", "text"], ["a.jpg", '"a dog, brown\nand big"'], ["b.jpg", ""], ["c.jpg"]]
    path.write_text("\n".join(separator.join(line) for line in lines))
    good, bad = read(path, columns=Columns("file", "text"))
    assert good == [CaptionRow(str(tmp_path / "a.jpg"), ("a dog, brown and big",))]
    assert [row.why for row in bad] == ["'text' is empty", "no 'text'"]


def test_a_missing_column_names_the_ones_there(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("file,text\na.jpg,a dog\n")
    with pytest.raises(InputError, match=r"no column 'image' and no 'caption'; it has 'file', 'text'.*--image-field"):
        read(path)


def test_parquet_with_texts_or_lists(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"image": ["a.jpg", "b.jpg", None], "caption": [["a dog", "two dogs"], [], ["x"]]})
    pyarrow.parquet.write_table(table, tmp_path / "c.parquet")
    good, bad = read(tmp_path / "c.parquet")
    assert good == [CaptionRow(str(tmp_path / "a.jpg"), ("a dog", "two dogs"))]
    assert [row.why for row in bad] == ["'caption' is empty", "no 'image'"]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read(tmp_path / "bad.parquet")


def test_shards_name_their_photos_by_member(tmp_path: Path) -> None:
    members = [
        ("1.jpg", b""), ("1.json", b'{"caption": "a dog"}'), ("2.txt", b"a cat"), ("2.png", b""),
        ("3.jpg", b""), ("4.json", b'{"caption": "x"}'), ("5.jpg", b""), ("5.json", b"{oops"),
        ("d/1.jpg", b""), ("d/1.json", b'{"caption": ["a", "b"]}'), ("6.jpg", b""), ("6.json", b"[]"),
    ]  # fmt: skip
    shard = write_shard(tmp_path / "s.tar", members)
    good, bad = read(shard)
    assert good == [
        CaptionRow(f"{shard}::1.jpg", ("a dog",)),
        CaptionRow(f"{shard}::2.png", ("a cat",)),
        CaptionRow(f"{shard}::d/1.jpg", ("a", "b")),
    ]
    assert [(row.where.partition("::")[2], row.why) for row in bad] == [
        ("3.jpg", "no .json and no .txt beside the photo"),
        ("4.json", "no photo beside the caption"),
        ("5.json", "not JSON"),
        ("6.json", "no object in braces"),
    ]


def test_standard_input_is_json_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAMKIT_CACHE", str(tmp_path))
    content = b'{"image": "/a.jpg", "caption": "a dog"}\n'
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert read("-")[0] == [CaptionRow("/a.jpg", ("a dog",))]


def test_a_folder_stands_for_the_caption_files_in_it(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        (tmp_path / name).write_text(json.dumps({"image": f"/{name}", "caption": "x"}))
    (tmp_path / "notes.txt").write_text("no captions")
    assert [row.image for row in read(tmp_path)[0]] == ["/a.jsonl", "/b.jsonl"]


@pytest.mark.parametrize("name", ["missing.jsonl", "none/such.csv"])
def test_a_missing_file(name: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_sources([name], Columns())


def test_an_unknown_kind_names_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "c.docx").write_text("x")
    with pytest.raises(InputError, match=r"cannot be read from this kind of file.*\.parquet"):
        open_sources([str(tmp_path / "c.docx")], Columns())


def test_identity_changes_with_the_content(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"image": "a", "caption": "b"}')
    [before] = open_sources([str(path)], Columns())
    path.write_text('{"image": "a", "caption": "bc"}')
    [after] = open_sources([str(path)], Columns())
    assert before.identity != after.identity


def test_photos_inside_a_hub_dataset_are_kept_for_later_stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets
    from PIL import Image

    from ramkit import photos

    monkeypatch.setenv("RAMKIT_CACHE", str(tmp_path))
    monkeypatch.setattr("ramkit.photo_shards.PhotoShards.SIZE", 2)
    pixels = []
    for colour in ("red", "green", "blue"):
        stream = io.BytesIO()
        Image.new("RGB", (4, 4), colour).save(stream, "PNG")
        pixels.append({"bytes": stream.getvalue(), "path": f"{colour}.png"})
    table = {"photo": pixels, "text": [["a red square", "red"], "", "a blue square"]}
    rows = [{"photo": photo, "text": text} for photo, text in zip(table["photo"], table["text"], strict=True)]
    features = datasets.Features({"photo": datasets.Image()})
    made = SimpleNamespace(column_names=["photo", "text"], features=features)
    made.cast_column = lambda name, feature: rows
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: made)
    good, bad = read("someone/squares", columns=Columns("photo", "text"))
    assert [row.captions for row in good] == [("a red square", "red"), ("a blue square",)]
    assert [row.where for row in bad] == ["someone/squares, row 2"]
    assert [photos.read_photo(row.image).getpixel((0, 0)) for row in good] == [(255, 0, 0), (0, 0, 255)]


def test_a_name_that_neither_disk_nor_hub_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError("not on the hub")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(MissingError, match="no file of this name, and no dataset that the hub gives"):
        read("someone/nothing")
