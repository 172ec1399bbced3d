"""Human labels from JSON Lines and webdataset shards."""

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ramkit.errors import InputError, MissingError
from ramkit.labels import LabelColumns, LabelledPhoto, LabelledSet, read_labels
from ramkit.labels.labelled import with_names
from ramkit.labels.sources import read_names
from ramkit.photos import read_photo


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


def read(*sources: object, images: tuple[object, ...] = (), **columns: str) -> list[LabelledPhoto]:
    return whole(*sources, images=images, **columns).photos


def whole(*sources: object, images: tuple[object, ...] = (), **columns: str) -> LabelledSet:
    return read_labels(list(map(str, sources)), LabelColumns(**columns), images=list(map(str, images)))


def told(photos: list[LabelledPhoto]) -> dict[str, list[str]]:
    return {Path(photo.image).name: photo.labels for photo in photos}


def test_rows_name_photos_beside_their_file(tmp_path: Path) -> None:
    source = rows(tmp_path, {"image": "a/1.jpg", "labels": ["dog", "cat"]}, "", {"image": "/x/2.jpg", "labels": []})
    assert read(source) == [
        LabelledPhoto(str(tmp_path / "a/1.jpg"), ["dog", "cat"]),
        LabelledPhoto("/x/2.jpg", []),
    ]


def test_other_keys_may_be_named(tmp_path: Path) -> None:
    source = rows(tmp_path, {"file": "1.jpg", "classes": ["犬"]})
    assert read(source, image="file", labels="classes")[0].labels == ["犬"]


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


def test_a_photo_of_several_rows_is_one_with_all_their_labels(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("image,labels\n1.jpg,dog\n2.jpg,\n1.jpg,cat\n1.jpg,dog\n")
    found = whole(tmp_path / "l.csv")
    assert told(found.photos) == {"1.jpg": ["dog", "cat"], "2.jpg": []}
    assert len(found.photos) == 2
    assert found.remark == "Rows of photos that came before: 2; what several tell of a photo is taken together."
    again = whole(tmp_path / "l.csv", rows(tmp_path, {"image": "2.jpg", "labels": ["sea"]}))
    assert told(again.photos) == {"1.jpg": ["dog", "cat"], "2.jpg": ["sea"]}


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
    (tmp_path / "labels.xml").touch()
    (tmp_path / "bad.tar").write_text("no shard")
    (tmp_path / "empty").mkdir()
    for name, message in {
        "gone.jsonl": "no such file. Known: .tar, .jsonl",
        "labels.xml": "of a kind that evaluate does not read. Known: .tar, .jsonl",
        "bad.tar": "not a readable tar shard",
        "empty": "no photo in this folder.",
    }.items():
        with pytest.raises(InputError, match=re.escape(message)):
            read(tmp_path / name)


def test_names_may_be_given_and_others_are_told_not_asked(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\ufeffzebra\n\n  dog  \ndog\n", encoding="utf-8")
    labelled = whole(rows(tmp_path, {"image": "1.jpg", "labels": ["dog", "cat"]}))
    assert (labelled.names, labelled.remark) == (["cat", "dog"], "")
    found = with_names(labelled, read_names(tmp_path / "names.txt"))
    assert found.names == ["zebra", "dog"]
    assert found.remark == "1 names among the labels are not asked: cat."
    assert found.photos == labelled.photos
    (tmp_path / "names.txt").write_text(" \n")
    with pytest.raises(InputError, match=r"names\.txt: holds no name\. One name a line\."):
        read_names(tmp_path / "names.txt")


def test_sources_keep_all_their_names(tmp_path: Path) -> None:
    (tmp_path / "flags.csv").write_text("image,zebra,dog\n1.jpg,0,1\n")
    other = rows(tmp_path, {"image": "2.jpg", "labels": ["cat"]})
    assert whole(tmp_path / "flags.csv", other).names == ["zebra", "dog", "cat"]


# ---- tables


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("image,labels\n1.jpg,dog;traffic  light\n2.jpg,\n", {"1.jpg": ["dog", "traffic light"], "2.jpg": []}),
        ('image,labels\n1.jpg,dog|cat\n2.jpg,"sled, red"\n', {"1.jpg": ["dog", "cat"], "2.jpg": ["sled, red"]}),
        ('image,labels\n1.jpg,"dog, cat"\n', {"1.jpg": ["dog", "cat"]}),
        ("dog,image,cat\n1,1.jpg,0.0\n,2.jpg,True\n", {"1.jpg": ["dog"], "2.jpg": ["cat"]}),
    ],
)
def test_a_table_has_a_column_of_names_or_a_column_a_name(
    tmp_path: Path, content: str, wanted: dict[str, list[str]]
) -> None:
    for name, text in {"l.csv": content, "l.TSV": content.replace(",", "\t") if '"' not in content else ""}.items():
        if text:
            (tmp_path / name).write_text(text)
            found = whole(tmp_path / name)
            assert told(found.photos) == wanted
            assert found.photos[0].image == str(tmp_path / "1.jpg")
            assert {"dog", "cat"} <= set(found.names) or "cat" not in content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,labels\n1.jpg,dog\n", "l.csv: no column 'image'; it has 'file', 'labels'. Name it: --image-field"),
        ("image,labels\n,dog\n", "l.csv, line 2: no 'image'."),
        ("image,dog,year\n1.jpg,1,2012\n", "l.csv, line 2: '2012' under 'year' is neither 0 nor 1, and there is no"),
        ("image,labels\n", "l.csv: no photo with labels."),
        ("image,labels\n1.jpg,dog,cat\n", "l.csv, line 2: 3 cells, the header names 2. Put a cell that holds commas"),
        ("image,dog,cat\n1.jpg,1,0\n2.jpg,1\n", "l.csv, line 3: 2 cells, the header names 3. Put a cell"),
        ("image,dog,dog\n1.jpg,1,0\n", "l.csv: two columns are called 'dog'. Give each a name of its own."),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "l.csv").write_text(content)
    with pytest.raises(InputError, match=re.escape(message)):
        read(tmp_path / "l.csv")


# ---- COCO

COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
    "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
    "annotations": [
        {"image_id": 7, "category_id": 18, "iscrowd": 0},
        {"image_id": 7, "category_id": 1, "iscrowd": 1},
        {"image_id": 7, "category_id": 18},
    ],
}


def coco(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "instances_val.json"
    path.write_text(json.dumps({key: value for key, value in {**COCO, **changes}.items() if value is not None}))
    return path


def test_a_category_is_true_of_a_photo_with_an_object_of_it(tmp_path: Path) -> None:
    found = whole(coco(tmp_path))
    assert found.names == ["dog", "person", "car"], "one without objects too"
    assert found.photos == [
        LabelledPhoto(str(tmp_path / "a.jpg"), ["dog", "person"]), LabelledPhoto(str(tmp_path / "b.jpg"), [])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": None}, "instances_val.json: no list of categories. Name a file like COCO's"),
        ({"images": [{"id": 7}]}, "instances_val.json: an entry without 'file_name'."),
        ({"annotations": [{"image_id": 7}]}, "instances_val.json: an entry without 'category_id'."),
        ({"annotations": [{"image_id": 8, "category_id": 18}]}, "object 1 is of image 8 and category 18, not both"),
    ],
)
def test_another_json_is_no_coco(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        read(coco(tmp_path, **changes))


# ---- Pascal VOC


def xml(folder: Path, stem: str, *objects: str) -> None:
    (folder / "Annotations").mkdir(exist_ok=True, parents=True)
    inner = "".join(f"<object><name>{name}</name><part><name>head</name></part></object>" for name in objects)
    (folder / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{inner}</annotation>")


def test_voc_by_its_lists(tmp_path: Path) -> None:
    main = tmp_path / "ImageSets" / "Main"
    main.mkdir(parents=True)
    (main / "val.txt").write_text("000001\n000002\n")
    (main / "dog_val.txt").write_text("000001  1\n000002 -1\n")
    (main / "potted plant_val.txt").write_text("000001 -1\n000002  0\n")
    (main / "dog_train.txt").write_text("000009 1\n")
    found = whole(tmp_path)
    assert found.names == ["dog", "potted plant"]
    assert found.photos == [
        LabelledPhoto(str(tmp_path / "JPEGImages/000001.jpg"), ["dog"]),
        LabelledPhoto(str(tmp_path / "JPEGImages/000002.jpg"), ["potted plant"]),
    ], "what is difficult is there, too"
    assert told(read(tmp_path, split="train")) == {"000009.jpg": ["dog"]}
    with pytest.raises(InputError, match=r"has no test2012 \(there: train, val\)\. Name the part: --split"):
        read(tmp_path, split="test2012")
    (main / "dog_val.txt").write_text("000001 yes\n")
    with pytest.raises(InputError, match=r"dog_val\.txt, line 1: no photo with 1, 0 or -1\."):
        read(tmp_path)


def test_voc_by_its_objects(tmp_path: Path) -> None:
    xml(tmp_path, "1", "dog", "person", "dog")
    xml(tmp_path, "2")
    assert told(read(tmp_path)) == {"1.jpg": ["dog", "person"], "2.jpg": []}
    main = tmp_path / "ImageSets" / "Main"
    main.mkdir(parents=True)
    (main / "test.txt").write_text("1\n")
    assert told(read(tmp_path)) == {"1.jpg": ["dog", "person"]}
    (tmp_path / "Annotations" / "1.xml").write_text("<oops")
    with pytest.raises(InputError, match=r"1\.xml: not readable as VOC's XML"):
        read(tmp_path)


# ---- folders


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_photos_folder_is_its_label(tmp_path: Path) -> None:
    touch(tmp_path / "red dog" / "1.jpg", tmp_path / "cat" / "more" / "2.PNG", tmp_path / "cat" / "notes.txt")
    (tmp_path / "zebra").mkdir()
    found = whole(tmp_path)
    assert told(found.photos) == {"1.jpg": ["red dog"], "2.PNG": ["cat"]}
    assert found.names == ["cat", "red dog", "zebra"]
    assert not found.texts
    touch(tmp_path / "set" / "fire_hydrant" / "1.jpg")
    assert whole(tmp_path / "set").texts == {"fire_hydrant": "fire hydrant"}


def test_folders_that_are_no_classes_are_told(tmp_path: Path) -> None:
    touch(tmp_path / "set" / "train" / "cat" / "1.jpg", tmp_path / "set" / "val" / "cat" / "2.jpg")
    with pytest.raises(InputError, match=r"set: holds parts of a set, not classes\. Name one: .*set/val$"):
        read(tmp_path / "set")
    touch(tmp_path / "loose" / "cat" / "1.jpg", tmp_path / "loose" / "2.jpg")
    with pytest.raises(InputError, match=r"loose/2\.jpg: lies in no class's folder\."):
        read(tmp_path / "loose")


# ---- datasets


def picture(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    import datasets

    monkeypatch.setenv("RAMKIT_CACHE", str(tmp_path / "cache"))
    classes = datasets.ClassLabel(names=["cat", "dog", "zebra"])
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "labels": datasets.List(classes),
            "label": classes,
            "texts": datasets.List(datasets.Value("string")),
            "objects": {"category": datasets.List(classes), "area": datasets.List(datasets.Value("int64"))},
            "parts": datasets.List({"category": classes}),
            "number": datasets.Value("int64"),
        }
    )
    rows = [
        {
            "image": {"bytes": picture("red"), "path": "a.png"}, "labels": [1, 0], "label": 1, "texts": ["red dog"],
            "objects": {"category": [1, 1], "area": [3, 4]}, "parts": [{"category": 0}], "number": 1,
        },
        {
            "image": {"bytes": picture("blue"), "path": None}, "labels": [], "label": 0, "texts": [],
            "objects": {"category": [], "area": []}, "parts": [], "number": 0,
        },
    ]  # fmt: skip
    return datasets.Dataset.from_list(rows, features=features)


@pytest.mark.parametrize(
    ("column", "wanted", "classes"),
    [
        ("labels", [["dog", "cat"], []], True),
        ("label", [["dog"], ["cat"]], True),
        ("texts", [["red dog"], []], False),
        ("objects.category", [["dog"], []], True),
        ("parts.category", [["cat"], []], True),
    ],
)
def test_a_dataset_on_disk_with_classes_or_texts(
    tmp_path: Path, dataset: Any, column: str, wanted: list[list[str]], classes: bool
) -> None:
    dataset.save_to_disk(tmp_path / "saved")
    dataset.to_parquet(tmp_path / "folder" / "test.parquet")
    for source in ("saved", "folder", "folder/test.parquet"):
        found = whole(tmp_path / source, labels=column)
        assert [photo.labels for photo in found.photos] == wanted
        assert found.names == (["cat", "dog", "zebra"] if classes else ["red dog"])
        colours = [read_photo(photo.image).getpixel((0, 0)) for photo in found.photos]
        assert colours == [(255, 0, 0), (0, 0, 255)]


def test_parts_and_columns_of_a_dataset_are_chosen_by_name(tmp_path: Path, dataset: Any) -> None:
    import datasets

    parts = datasets.DatasetDict({"train": dataset, "validation": dataset.select([1])})
    parts.save_to_disk(tmp_path / "saved")
    assert len(read(tmp_path / "saved")) == 1
    assert len(read(tmp_path / "saved", split="train")) == 2
    for columns, message in (
        ({"split": "dev"}, "has no dev part (there: train, validation). Name the part: --split"),
        ({"labels": "tags"}, "no column 'tags'; it has 'image', 'labels'"),
        ({"labels": "number"}, "row 1: 'number' holds neither names nor classes."),
        ({"image": "number"}, "row 1: no photo under 'number'."),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            read(tmp_path / "saved", **columns)


def test_a_dataset_that_cannot_be_had_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to host\nat line 1")

    monkeypatch.setattr(datasets, "get_dataset_split_names", offline)
    with pytest.raises(MissingError, match=r"^some/set: no file .*\(no route to host\)\. Check the name") as caught:
        read("some/set")
    assert "\n" not in str(caught.value)
