"""Human labels from JSON Lines and webdataset shards."""

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ramkit.errors import InputError
from ramkit.labels import LabelledPhoto, read_labels


def rows(tmp_path: Path, *lines: Any, name: str = "labels.jsonl") -> str:
    path = tmp_path / name
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return str(path)


def shard(tmp_path: Path, members: dict[str, bytes], name: str = "val.tar") -> str:
    with tarfile.open(tmp_path / name, "w") as archive:
        for member, content in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(tmp_path / name)


def read(*sources: str, image_field: str = "image", labels_field: str = "labels") -> list[LabelledPhoto]:
    return read_labels(sources, image_field=image_field, labels_field=labels_field)


def test_rows_name_photos_beside_their_file(tmp_path: Path) -> None:
    source = rows(tmp_path, {"image": "a/1.jpg", "labels": ["dog", "cat"]}, "", {"image": "/x/2.jpg", "labels": []})
    assert read(source) == [
        LabelledPhoto(str(tmp_path / "a/1.jpg"), ["dog", "cat"]),
        LabelledPhoto("/x/2.jpg", []),
    ]


def test_other_keys_may_be_named(tmp_path: Path) -> None:
    source = rows(tmp_path, {"file": "1.jpg", "classes": ["犬"]})
    assert read(source, image_field="file", labels_field="classes")[0].labels == ["犬"]


@pytest.mark.parametrize("name", ["val.tar", "val.TAR"])
def test_a_shard_holds_photos_and_their_json(tmp_path: Path, name: str) -> None:
    source = shard(
        tmp_path,
        {
            "1.jpg": b"",
            "1.json": b'{"labels": ["dog"], "caption": "a dog"}',
            "b/2.PNG": b"",
            "b/2.json": b'{"labels": []}',
            "3.jpg": b"without labels",
            "4.txt": b"no photo",
            "4.json": b"{}",
        },
        name,
    )
    assert read(source) == [LabelledPhoto(f"{source}::1.jpg", ["dog"]), LabelledPhoto(f"{source}::b/2.PNG", [])]


def test_sources_come_one_after_another(tmp_path: Path) -> None:
    one = rows(tmp_path, {"image": "1.jpg", "labels": ["dog"]}, name="one.jsonl")
    other = shard(tmp_path, {"1.jpg": b"", "1.json": b'{"labels": ["cat"]}'})
    assert [photo.labels for photo in read(one, other)] == [["dog"], ["cat"]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "labels.jsonl: no photo with labels. Check the source."),
        ([{"labels": ["dog"]}], "labels.jsonl, row 1: no 'image'. Name the key: --image-field"),
        ([{"image": "", "labels": ["dog"]}], "labels.jsonl, row 1: no 'image'."),
        ([{"image": 3, "labels": ["dog"]}], "labels.jsonl, row 1: no 'image'."),
        ([{"image": "1.jpg"}], "labels.jsonl, row 1: 'labels' is no list of names. Name the key: --labels-field"),
        ([{"image": "1.jpg", "labels": "dog"}], "row 1: 'labels' is no list of names."),
        ([{"image": "1.jpg", "labels": []}, {"image": "2.jpg", "labels": [3]}], "row 2: 'labels' is no list of names."),
        (["{oops"], "labels.jsonl, line 1: not JSON"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, lines: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        read(rows(tmp_path, *lines))


@pytest.mark.parametrize(
    ("json_of_1", "message"),
    [
        (b"{oops", "val.tar::1.json: not JSON ("),
        (b"[]", "val.tar::1.json: 'labels' is no list of names."),
        (b'{"labels": null}', "val.tar::1.json: 'labels' is no list of names."),
    ],
)
def test_a_bad_member_is_named(tmp_path: Path, json_of_1: bytes, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        read(shard(tmp_path, {"1.jpg": b"", "1.json": json_of_1}))


def test_sources_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").touch()
    (tmp_path / "bad.tar").write_text("no shard")
    for name, message in {
        "gone.jsonl": "no such file.",
        "labels.csv": "of a kind that evaluate does not read. Give .tar or .jsonl.",
        "bad.tar": "not a readable tar shard",
        ".": "no such file.",
    }.items():
        with pytest.raises(InputError, match=re.escape(message)):
            read(str(tmp_path / name))
