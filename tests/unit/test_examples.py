"""Photos of kinds, from folders and .tar files."""

import shutil
import tarfile
from pathlib import Path

import pytest

from ramkit.errors import InputError
from ramkit.fgvc.examples import Example, FineDataset, dataset_of, read_dataset, read_image_folder

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "cat.jpg"


def fill(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PHOTO, root / name)
    return str(root)


def test_an_image_folder_a_kind_a_folder(tmp_path: Path) -> None:
    source = fill(tmp_path, "train/rose/2.jpg", "train/daisy/deep/1.jpg", "valid/rose/3.jpg", "other/4.jpg")
    assert read_image_folder(source) == FineDataset(
        kinds=["daisy", "rose"],
        train=[Example(f"{tmp_path}/train/daisy/deep/1.jpg", 0), Example(f"{tmp_path}/train/rose/2.jpg", 1)],
        validation=[Example(f"{tmp_path}/valid/rose/3.jpg", 1)],
    )


def test_the_same_in_a_tar_with_a_folder_around_it(tmp_path: Path) -> None:
    fill(tmp_path / "flowers", "train/rose/2.jpg", "train/daisy/1.jpg", "test/rose/3.jpg")
    with tarfile.open(tmp_path / "flowers.tar", "w") as archive:
        archive.add(tmp_path / "flowers", "flowers")
    found = read_dataset(str(tmp_path / "flowers.tar"))
    folder = read_dataset(str(tmp_path))
    assert found.kinds == folder.kinds == ["daisy", "rose"]
    assert found.test == [Example(f"{tmp_path}/flowers.tar::flowers/test/rose/3.jpg", 1)]
    assert [example.kind for example in sorted(found.train, key=lambda e: e.image)] == [0, 1]
    assert (found.validation, len(folder.train), len(folder.test)) == ([], 2, 1)


def test_what_is_held_out_is_the_test_split_if_there_is_one() -> None:
    train, validation, test = ([Example(name, 0)] for name in "abc")
    assert FineDataset(["x"], train, validation, test).split("") == test
    assert FineDataset(["x"], train, validation).split("") == validation
    assert FineDataset(["x"], train, validation, test).split("train") == train
    with pytest.raises(InputError, match="no photo for test"):
        FineDataset(["x"], train, validation).split("test")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/rose/1.jpg"], r"1 kind with photos in train/\. Give train/KIND/PHOTO of two kinds or more"),
        (["rose/1.jpg", "daisy/1.jpg"], "0 kinds with photos"),
        (["train/1.jpg", "train/a/1.jpg"], r"train/1\.jpg: lies in no kind's folder"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/c/1.jpg"], "no photo of 'c' to train on"),
    ],
)
def test_a_folder_that_is_no_set_of_kinds_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_image_folder(fill(tmp_path, *names))


def test_an_unknown_layout_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'voc' is no layout\. Choose from auto, folder, nabirds, cub, dogs, food\."):
        read_dataset("x", "voc")


def test_a_data_set_of_pairs() -> None:
    made = dataset_of("x", ["a", "b"], train=[("1.jpg", "b")], test=[("2.jpg", "a")])
    assert made == FineDataset(["a", "b"], [Example("1.jpg", 1)], [], [Example("2.jpg", 0)])


def test_the_shared_sets(shared: Path) -> None:
    flowers = read_dataset(str(shared / "data" / "fine" / "flowers17.tar"))
    assert (len(flowers.kinds), len(flowers.train), len(flowers.validation)) == (17, 1088, 272)
