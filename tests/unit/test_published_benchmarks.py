"""The paper's benchmarks in their published files, and the photos that annotations name."""

import io
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ramkit.errors import InputError
from ramkit.labels.images import ImageFinder, missing_of
from ramkit.labels.labelled import LabelledSet
from ramkit.labels.published import BENCHMARKS, read_benchmark

SAMPLES = {"openimages-common": 199, "openimages-uncommon": 200, "imagenet-multi": 187, "hico": 200}


@pytest.fixture
def upstream(shared: Path) -> Path:
    return shared / "data/upstream"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_published_files_are_read_as_they_are(upstream: Path, name: str) -> None:
    found = read_benchmark(name, annotations=upstream, images=[])
    assert len(found.names) == len(set(found.names)) == BENCHMARKS[name].tags
    assert len(found.photos) == 200
    assert sum(bool(photo.labels) for photo in found.photos) == SAMPLES[name], "some rows name no tag"
    assert {label for photo in found.photos for label in photo.labels} <= set(found.names)
    file = next(upstream.glob(f"{BENCHMARKS[name].files}_annots*"))
    assert read_benchmark(name, annotations=file) == found


def labels_of(found: LabelledSet, image: str) -> list[str]:
    return next(photo.labels for photo in found.photos if photo.image.endswith(image))


def test_class_numbers_count_from_zero_and_namesakes_stay_apart(upstream: Path) -> None:
    imagenet = read_benchmark("imagenet-multi", annotations=upstream)
    assert labels_of(imagenet, "ILSVRC2012_val_00000001.JPEG") == []
    assert labels_of(imagenet, "ILSVRC2012_val_00000003.JPEG") == ["Shetland Sheepdog", "collie"]
    assert [name for name in imagenet.names if "[" in name] == [
        "missile [657]", "missile [744]", "sunglasses [836]", "sunglasses [837]"
    ]  # fmt: skip
    assert imagenet.texts["missile [744]"] == "missile"
    assert "492 common and 508 uncommon classes is unpublished" in imagenet.remark
    hico = read_benchmark("hico", annotations=upstream)
    assert labels_of(hico, "00000001.jpg") == ["person sit_on bench"]
    assert hico.texts["person sit_on bench"] == "person sit on bench"
    assert hico.remark == ""


# ---- made up


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A benchmark of three tags."""
    small = BENCHMARKS["openimages-uncommon"]
    monkeypatch.setitem(BENCHMARKS, "small", type(small)("small", "small_3", 3, 2))
    monkeypatch.setitem(BENCHMARKS, "counted", type(small)("counted", "small_3", 3, 2, numbers=True))
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "small_3_taglist.txt").write_text("Ale\nred dog\nAloe\n")
    write(tmp_path, "test/00a,Ale,red dog\n\ntest/00b\n")
    return tmp_path


def write(folder: Path, rows: str) -> None:
    (folder / "small" / "small_3_annots.txt").write_text(rows)


def test_a_folder_of_folders_holds_the_files(files: Path) -> None:
    found = read_benchmark("small", annotations=files)
    assert [photo.labels for photo in found.photos] == [["Ale", "red dog"], []]
    assert found.names == ["Ale", "red dog", "Aloe"]


def refused(message: str, name: str = "small", **given: Any) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_benchmark(name, **given)
    assert "\n" not in str(caught.value)


def test_what_is_missing_or_does_not_fit_is_told(files: Path) -> None:
    annotations = files / "small" / "small_3_annots.txt"
    refused("No benchmark is called 'voc'. Known: openimages-common, openimages-uncommon, ", "voc", annotations=files)
    refused("small needs its annotations. Name small_3_annots.txt, or its folder", annotations=None)
    refused(f"{files}/gone: no small_3_annots.txt here. Name the file: --annotations FILE", annotations=files / "gone")
    write(files, "test/00a,Ale\ntest/00b,Calabaza\n")
    refused(f"{annotations}, line 2: 'Calabaza' is none of the 3 tags of small. Name its own", annotations=files)
    for cell in ("3", "-1", "two", "1.0"):
        write(files, f"a.jpg,0 {cell}\n")
        refused(f"line 1: '{cell}' is none of the 3 tags of counted.", "counted", annotations=files)
    (files / "other.txt").write_text("Ale\n")
    refused("other.txt: 1 tags, small has 3. Name its own list", annotations=files, tag_list=files / "other.txt")
    (files / "small" / "small_3_annots.txt").write_bytes(b"\xff\xfe")
    refused("small_3_annots.txt: not readable (", annotations=files)
    (files / "small" / "small_3_taglist.txt").unlink()
    refused("no small_3_taglist.txt here. Name the file: --tag-list FILE", annotations=files)


# ---- finding photos


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


@pytest.mark.parametrize("there", ["00a.jpg", "test/00a.jpg", "open/images/test/00a.JPEG"])
@pytest.mark.parametrize("asked", ["test/00a", "00a", "00a.jpg", "v6/test/00a.png"])
def test_a_photo_is_found_under_other_folders_and_endings(tmp_path: Path, there: str, asked: str) -> None:
    touch(tmp_path / there, tmp_path / "test/00b.jpg")
    fits = not (asked.startswith("v6") and there.startswith("open"))
    assert ImageFinder([str(tmp_path)], Path()).reference(asked) == str(tmp_path / (there if fits else asked))


def test_a_benchmarks_photo_is_found_in_whatever_folder_it_lies(tmp_path: Path) -> None:
    touch(tmp_path / "photos/deep/00a.jpg", tmp_path / "photos/test/00b.jpg", tmp_path / "photos/other/00b.jpg")
    places = [str(tmp_path / "photos")]
    lenient, strict = ImageFinder(places, Path(), last_part=True), ImageFinder(places, Path())
    assert lenient.reference("test/00a") == f"{places[0]}/deep/00a.jpg"
    assert strict.reference("test/00a") == f"{places[0]}/test/00a", "another class's photo may have the same name"
    assert lenient.reference("test/00b") == f"{places[0]}/test/00b.jpg"
    with pytest.raises(InputError, match=r"val/00b may be .*/00b\.jpg or .*/00b\.jpg\. Name the folder of one"):
        lenient.reference("val/00b")


def test_of_several_the_nearest_is_meant_or_none(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("a/1.jpg", "b/1.jpg", "1.jpg", "b/2.jpg", "b/2.png", "c/3.jpg", "d/3.jpg")))
    finder = ImageFinder([str(tmp_path)], Path())
    for asked, wanted in {"a/1.jpg": "a/1.jpg", "1.jpg": "1.jpg", "b/2.png": "b/2.png"}.items():
        assert finder.reference(asked) == str(tmp_path / wanted)
    for asked in ("3.jpg", "b/2"):
        with pytest.raises(InputError, match=rf"^{asked} may be .* or .*\. Name the folder of one: --images DIR$"):
            finder.reference(asked)


def test_photos_in_shards_and_several_places(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        member = tarfile.TarInfo("test/00a.jpg")
        archive.addfile(member, io.BytesIO())
    touch(tmp_path / "more" / "00b.jpg")
    shard, more = f"{tmp_path}/s.tar", f"{tmp_path}/more"
    finder = ImageFinder([shard, more], Path())
    asked = [finder.reference(name) for name in ("00a", "test/00b", "00c")]
    assert asked == [f"{shard}::test/00a.jpg", f"{more}/00b.jpg", f"{shard}::00c"]
    assert missing_of(asked) == [f"{shard}::00c"]


def test_without_places_photos_lie_beside_the_annotations(tmp_path: Path) -> None:
    finder = ImageFinder([], tmp_path)
    assert finder.reference("a/1.jpg") == str(tmp_path / "a/1.jpg")
    assert finder.reference("/x/1.jpg") == "/x/1.jpg"
    assert missing_of([str(tmp_path), finder.reference("a/1.jpg")]) == [str(tmp_path / "a/1.jpg")]
