"""Every kind of caption source, with the rows that real files are spoilt by."""

import gzip
import io
import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from ramkit import captions as captions_module
from ramkit.captions import BadRow, CaptionRow, Columns, open_sources
from ramkit.errors import InputError, MissingError
from ramkit.photos import read_photo


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
    table = pyarrow.table({"image": ["a.jpg", "b.jpg", None], "caption": [["a dog", "two dogs"], [], ["x"]]})
    pyarrow.parquet.write_table(table, tmp_path / "c.parquet")
    good, bad = read(tmp_path / "c.parquet")
    assert good == [CaptionRow(str(tmp_path / "a.jpg"), ("a dog", "two dogs"))]
    assert [row.why for row in bad] == ["'caption' is empty", "no 'image'"]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read(tmp_path / "bad.parquet")


def test_photos_inside_parquet_are_named_by_their_place(squares: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    squares.to_parquet(path, batch_size=2)
    good, bad = read(path, columns=Columns("photo", "text"))
    assert good == [CaptionRow(f"{path}::photo/0", GOOD[0]), CaptionRow(f"{path}::photo/2", GOOD[1])]
    assert [(row.where, row.why) for row in bad] == [("c.parquet, row 2", "'text' is empty")]
    assert [read_photo(row.image).getpixel((0, 0)) for row in good] == PIXELS


@pytest.mark.parametrize("statistics", [True, False])
def test_parquet_of_bytes_of_paths_and_of_both(tmp_path: Path, statistics: bool) -> None:
    image = {"bytes": png("red"), "path": "red.png"}
    columns: dict[str, tuple[list[Any], list[str | None]]] = {
        "mixed": ([image, {"bytes": None, "path": "b.jpg"}, None, {"bytes": None, "path": None}], ["0", "b.jpg"]),
        "bare": ([png("red"), png("blue"), None, None], ["0", "1"]),
        "paths": ([{"path": "a.jpg"}, {"path": "b.jpg"}, {"path": None}, None], ["a.jpg", "b.jpg"]),
    }
    table = pyarrow.table({name: values for name, (values, _) in columns.items()} | {"caption": ["one"] * 4})
    path = tmp_path / "c.parquet"
    pyarrow.parquet.write_table(table, path, write_statistics=statistics)
    for name, (_, expected) in columns.items():
        good, bad = read(path, columns=Columns(name))
        wanted = [f"{path}::{name}/{found}" if found.isdecimal() else str(tmp_path / found) for found in expected]
        assert [row.image for row in good] == wanted
        assert [row.why for row in bad] == [f"no {name!r}"] * 2


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


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)  # as Python has it after `<&-`
    with pytest.raises(InputError, match=r"Standard input is closed\."):
        read("-")


def test_bad_rows_of_standard_input_say_where_they_are_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAMKIT_CACHE", str(tmp_path))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"{broken\n")))
    assert read("-")[1] == [BadRow("standard input, line 1", "not JSON")]


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_cells_that_are_no_utf8_are_bad_rows(tmp_path: Path, ending: str) -> None:
    separator = b"\t" if ending == "tsv" else b","
    path = tmp_path / f"latin.{ending}"
    rows = [b"image", b"caption"], [b"/a.jpg", b"a caf\xe9"], [b"/b.jpg", "a café".encode()]
    path.write_bytes(b"\n".join(separator.join(row) for row in rows))
    assert read(path) == ([CaptionRow("/b.jpg", ("a café",))], [BadRow(f"latin.{ending}, line 2", "not UTF-8")])


def test_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(InputError, match=r"a\.csv: it is empty\."):
        read(tmp_path / "a.csv")


def test_a_table_in_utf16(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,caption\na.jpg,A dog\n", encoding="utf-16")
    with pytest.raises(InputError, match=r"a\.csv: not UTF-8\. Save it as UTF-8\."):
        read(tmp_path / "a.csv")


def test_parquet_that_is_damaged_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"image": ["/a.jpg"] * 9, "caption": [f"a dog {number}" for number in range(9)]})
    pyarrow.parquet.write_table(table, path)
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet: not a readable Parquet file .*Copy it anew"):
        read(path)


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


# ---- what `datasets` reads


def png(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.jsonl", '{"image": "1.jpg", "caption": "a dog"}\n{"image": "2.jpg"}\n'),
        ("c.csv", 'image,caption\n1.jpg,a dog\n2.jpg,""\n'),
        ("C.TSV", "image\tcaption\n1.jpg\ta dog\n2.jpg\t\n"),
    ],
)
def test_compressed_files_are_read_as_what_is_within(tmp_path: Path, name: str, content: str) -> None:
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(content.encode() + b"\n" * 5))
    for source in (packed, tmp_path):  # by name, and as what the folder holds
        good, bad = read(source)
        assert good == [CaptionRow(str(tmp_path / "1.jpg"), ("a dog",))]
        assert len(bad) == 1
    for damaged in (packed.read_bytes()[:-12], b"no gzip at all", b""):
        packed.write_bytes(damaged)
        if damaged:
            with pytest.raises(InputError, match=r"\.gz: not a whole gzip file \(.+\)\. Copy it anew\."):
                read(packed)
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "x" / "gone.jsonl.gz")
    (tmp_path / "c.tar.gz").write_bytes(gzip.compress(b"x"))
    with pytest.raises(InputError, match="cannot be read from this kind of file"):
        read(tmp_path / "c.tar.gz")


SQUARES = [("red", ["a red square", "red"]), ("green", [""]), ("blue", ["a blue square"])]
GOOD = [("a red square", "red"), ("a blue square",)]
PIXELS = [(255, 0, 0), (0, 0, 255)]


@pytest.fixture
def squares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Three photos, the second without a caption; and a cache of its own for what `datasets` keeps."""
    import datasets

    monkeypatch.setenv("RAMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr("ramkit.photo_shards.PhotoShards.SIZE", 2)
    datasets.disable_progress_bars()
    rows = {
        "photo": [{"bytes": png(colour), "path": f"{colour}.png"} for colour, _ in SQUARES],
        "text": [texts for _, texts in SQUARES],
    }
    kinds = {"photo": datasets.Image(), "text": datasets.List(datasets.Value("string"))}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a server for the files in tmp_path."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def as_saved(squares: Any, folder: Path) -> str:
    squares.save_to_disk(folder / "saved")
    return str(folder / "saved")


def as_saved_parts(squares: Any, folder: Path) -> str:
    import datasets

    datasets.DatasetDict(train=squares, test=squares.select([0])).save_to_disk(folder / "parts")
    return str(folder / "parts")


def as_repository(squares: Any, folder: Path) -> str:
    (folder / "repository" / "data").mkdir(parents=True)
    squares.to_parquet(folder / "repository" / "data" / "train-00000-of-00001.parquet")
    squares.select([0]).to_parquet(folder / "repository" / "data" / "test-00000-of-00001.parquet")
    return str(folder / "repository")


@pytest.mark.parametrize("layout", [as_saved, as_saved_parts, as_repository])
def test_photos_inside_a_streamed_dataset_are_kept_for_later_stages(
    squares: Any, tmp_path: Path, layout: Callable[[Any, Path], str]
) -> None:
    name = layout(squares, tmp_path)
    for _ in range(2):  # the second reading finds the shards of the first
        good, bad = read(name, columns=Columns("photo", "text"))
        assert [row.captions for row in good] == GOOD
        assert [(row.where, row.why) for row in bad] == [(f"{name}, row 2", "'text' is empty")]
        assert [read_photo(row.image).getpixel((0, 0)) for row in good] == PIXELS
    [shard] = {row.image.partition("::")[0].rpartition("/")[0] for row in good}
    assert sorted(path.name for path in Path(shard).iterdir()) == ["00000.tar", "00001.tar"]


def test_files_at_an_address(squares: Any, tmp_path: Path, address: str) -> None:
    squares.to_parquet(tmp_path / "c.parquet")
    (tmp_path / "c.jsonl").write_text('{"photo": "/a.jpg", "text": "a dog"}\n')
    samples = [(f"{colour}.{ending}", content) for colour, texts in SQUARES for ending, content in (
        ("png", png(colour)), ("json", json.dumps({"text": texts[0]}).encode()),
    )]  # fmt: skip
    write_shard(tmp_path / "c.tar", samples)
    for name, captions in (("c.parquet", GOOD), ("c.tar", [("a red square",), ("a blue square",)])):
        good, bad = read(f"{address}/{name}", columns=Columns("photo", "text"))
        assert [row.captions for row in good] == captions
        assert len(bad) == 1
        assert [read_photo(row.image).getpixel((0, 0)) for row in good] == PIXELS
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress((tmp_path / "c.jsonl").read_bytes()))
    for name in ("c.jsonl", "p.jsonl.gz"):
        assert read(f"{address}/{name}", columns=Columns("photo", "text"))[0] == [CaptionRow("/a.jpg", ("a dog",))]
    with pytest.raises(MissingError, match=r"nothing.parquet: no file of this name, and no dataset that can be opened"):
        read(f"{address}/nothing.parquet")
    with pytest.raises(InputError, match=r"c.docx: captions cannot be read from this kind of file"):
        read(f"{address}/c.docx")
    with pytest.raises(InputError, match=r"c.parquet: no column 'image' and no 'caption'; it has 'photo', 'text'"):
        read(f"{address}/c.parquet")


def test_identity_of_a_dataset_changes_with_its_files(squares: Any, tmp_path: Path) -> None:
    name = as_repository(squares, tmp_path)
    [before] = open_sources([name], Columns())
    os.utime(tmp_path / "repository" / "data" / "train-00000-of-00001.parquet", (1, 1))
    [after] = open_sources([name], Columns())
    assert before.identity != after.identity


def test_a_stream_that_breaks_off_leaves_no_half_shard(
    squares: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = as_saved(squares, tmp_path)
    read_row = captions_module.checked

    def break_off(image: Any, caption: Any, *, where: str, **given: Any) -> Any:
        if where.endswith("row 3"):
            raise ConnectionResetError("connection reset")
        return read_row(image, caption, where=where, **given)

    monkeypatch.setattr(captions_module, "checked", break_off)
    with pytest.raises(MissingError, match=r"cannot be read on after row 3 \(connection reset\)\. Give the same"):
        read(name, columns=Columns("photo", "text"))
    left = [path.name for path in (tmp_path / "cache" / "photos").rglob("*.*")]
    assert left == ["00000.tar"]


def test_a_name_that_neither_disk_nor_hub_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def refuse(*given: object) -> None:
        asked.append(given)
        raise FileNotFoundError("not on the hub")

    monkeypatch.setattr("datasets.load_dataset_builder", refuse)
    for name in ("someone/nothing", "someone/nothing:english"):
        with pytest.raises(MissingError, match=r"no file of this name, and no dataset .* \(not on the hub\)"):
            read(name)
    assert asked == [("someone/nothing", None), ("someone/nothing", "english")]
