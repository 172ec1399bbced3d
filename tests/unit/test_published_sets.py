"""Readers of published fine-grained sets, on tiny copies of their layouts with the odd facts of the real ones."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ramkit.errors import InputError
from ramkit.fgvc.examples import Example, FineDataset, read_dataset


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3)).save(path)


def lines(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))


def cub(home: Path) -> None:
    """Two kinds, two photos each; lines in no order, as the split file may be joined by id alone."""
    images = (
        "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg",
        "001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg",
        "113.Baird_Sparrow/Baird_Sparrow_0005_794576.jpg",
        "113.Baird_Sparrow/Baird_Sparrow_0007_794573.jpg",
    )
    lines(home / "images.txt", *(f"{number} {image}" for number, image in enumerate(images, start=1)))
    lines(home / "image_class_labels.txt", "1 1", "2 1", "3 113", "4 113")
    lines(home / "train_test_split.txt", "4 1", "2 1", "3 0", "1 0")
    lines(home / "classes.txt", "1 001.Black_footed_Albatross", "113 113.Baird_Sparrow")
    for image in images:
        photo(home / "images" / image)


def nabirds(home: Path) -> None:
    """Classes 817 and 295 have photos; 22 and 53 are groups above; numbers have gaps and folders leading zeros."""
    rows = (("0000139e-21dc", "0817", 1), ("00002b5f-96ae", "0817", 0), ("0002ae33-1df5", "0295", 1),
            ("0003a1b2-0c0c", "1010", 1))  # fmt: skip
    lines(home / "images.txt", *(f"{name} {folder}/{name.replace('-', '')}.jpg" for name, folder, _ in rows))
    lines(home / "image_class_labels.txt", *(f"{name} {int(folder)}" for name, folder, _ in rows))
    lines(home / "train_test_split.txt", *(f"{name} {train}" for name, _, train in rows))
    lines(
        home / "classes.txt", "0 Birds", "22 Ducks, Geese, and Swans", "53 Ruddy Duck", "295 Common Goldeneye",
        "817 Ruddy Duck (Female/Eclipse plumage)", "1010 Common Goldeneye",
    )  # fmt: skip
    lines(home / "hierarchy.txt", "22 0", "53 22", "817 53", "295 22", "1010 22")
    for name, folder, _ in rows:
        photo(home / "images" / folder / f"{name.replace('-', '')}.jpg")


def dogs(home: Path) -> None:
    lists = {
        "train_list.mat": [
            ("n02085620-Chihuahua/n02085620_5927.jpg", 1),
            ("n02098105-soft-coated_wheaten_terrier/n02098105_1.jpg", 40),
        ],
        "test_list.mat": [("n02085620-Chihuahua/n02085620_2650.jpg", 1)],
    }
    for name, rows in lists.items():
        write_mat(home / name, rows)
        for image, _ in rows:
            photo(home / "Images" / image)


def save_matlab(path: Path, content: dict[str, np.ndarray]) -> None:
    from scipy.io import savemat

    savemat(path, content)


def write_mat(path: Path, rows: Sequence[tuple[str, int]]) -> None:
    """As published: cells [N, 1] of text, labels [N, 1] of floating point."""
    cells = np.empty((len(rows), 1), dtype=object)
    cells[:, 0] = [image for image, _ in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_matlab(path, {"file_list": cells, "annotation_list": cells, "labels": np.array([[float(n)] for _, n in rows])})


def food(home: Path) -> None:
    splits = {
        "train": {"churros": ["churros/1004234"], "apple_pie": ["apple_pie/1005649", "apple_pie/1014775"]},
        "test": {"churros": ["churros/1061830"], "apple_pie": ["apple_pie/1011328"]},
    }
    lines(home / "meta" / "classes.txt", "apple_pie", "churros")
    for name, content in splits.items():
        (home / "meta" / f"{name}.json").write_text(json.dumps(content))
        for image in (image for images in content.values() for image in images):
            photo(home / "images" / f"{image}.jpg")


WRITERS = {"CUB-200-2011": cub, "NABirds": nabirds, "Stanford Dogs": dogs, "Food-101": food}


def shown(examples: list[Example], found: FineDataset, home: Path) -> list[tuple[str, str]]:
    """(path inside the set, name of the kind) of each."""
    return [(str(Path(entry.image).relative_to(home)), found.kinds[entry.kind]) for entry in examples]


@pytest.mark.parametrize(
    ("name", "supercategory", "kinds", "train", "test"),
    [
        (
            "CUB-200-2011", "bird", ["Black footed Albatross", "Baird Sparrow"],
            [("images/001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg", "Black footed Albatross"),
             ("images/113.Baird_Sparrow/Baird_Sparrow_0007_794573.jpg", "Baird Sparrow")],
            [("images/001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg", "Black footed Albatross"),
             ("images/113.Baird_Sparrow/Baird_Sparrow_0005_794576.jpg", "Baird Sparrow")],
        ),
        (
            "NABirds", "bird",
            ["Common Goldeneye (295)", "Ruddy Duck (Female/Eclipse plumage)", "Common Goldeneye (1010)"],
            [("images/0817/0000139e21dc.jpg", "Ruddy Duck (Female/Eclipse plumage)"),
             ("images/0295/0002ae331df5.jpg", "Common Goldeneye (295)"),
             ("images/1010/0003a1b20c0c.jpg", "Common Goldeneye (1010)")],
            [("images/0817/00002b5f96ae.jpg", "Ruddy Duck (Female/Eclipse plumage)")],
        ),
        (
            "Stanford Dogs", "dog", ["Chihuahua", "soft-coated wheaten terrier"],
            [("Images/n02085620-Chihuahua/n02085620_5927.jpg", "Chihuahua"),
             ("Images/n02098105-soft-coated_wheaten_terrier/n02098105_1.jpg", "soft-coated wheaten terrier")],
            [("Images/n02085620-Chihuahua/n02085620_2650.jpg", "Chihuahua")],
        ),
        (
            "Food-101", "food", ["apple pie", "churros"],
            [("images/churros/1004234.jpg", "churros"), ("images/apple_pie/1005649.jpg", "apple pie"),
             ("images/apple_pie/1014775.jpg", "apple pie")],
            [("images/churros/1061830.jpg", "churros"), ("images/apple_pie/1011328.jpg", "apple pie")],
        ),
    ],
)  # fmt: skip
def test_each_published_layout_is_known_by_its_files(
    tmp_path: Path, name: str, supercategory: str, kinds: list[str], train: object, test: object
) -> None:
    WRITERS[name](tmp_path)
    found = read_dataset(str(tmp_path))
    assert (found.name, found.supercategory, found.kinds) == (name, supercategory, kinds)
    assert (shown(found.train, found, tmp_path), shown(found.test, found, tmp_path)) == (train, test)
    assert (found.validation, found.missing) == ([], [])


@pytest.mark.parametrize(("key", "write"), [("cub", cub), ("nabirds", nabirds), ("dogs", dogs), ("food", food)])
def test_a_layout_may_be_named(tmp_path: Path, key: str, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    assert read_dataset(str(tmp_path), key) == read_dataset(str(tmp_path))
    with pytest.raises(InputError, match=r"but .* is missing\. Unpack it there again\."):
        read_dataset(str(tmp_path / "images"), key)


@pytest.mark.parametrize(("layout", "inner"), [(cub, "CUB_200_2011"), (nabirds, "nabirds"), (food, "food-101")])
def test_the_folder_an_archive_unpacks_to_may_be_named_by_the_one_around_it(
    tmp_path: Path, layout: Callable[[Path], None], inner: str
) -> None:
    layout(tmp_path / inner)
    assert read_dataset(str(tmp_path)) == read_dataset(str(tmp_path / inner))


def test_photos_that_are_listed_but_not_there_are_told_and_left_out(tmp_path: Path) -> None:
    cub(tmp_path)
    gone = tmp_path / "images" / "113.Baird_Sparrow" / "Baird_Sparrow_0007_794573.jpg"
    gone.unlink()
    found = read_dataset(str(tmp_path))
    assert found.missing == [str(gone)]
    assert found.kinds == ["Black footed Albatross", "Baird Sparrow"]
    assert (len(found.train), len(found.test)) == (1, 2)


def refusal(home: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_dataset(str(home))
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(home), "SET")


@pytest.mark.parametrize(
    ("layout", "needed", "message"),
    [
        ("CUB-200-2011", "classes.txt", "SET: CUB-200-2011, but classes.txt is missing. Unpack it there again."),
        ("NABirds", "images.txt", "SET: NABirds, but images.txt is missing. Unpack it there again."),
        ("Stanford Dogs", "test_list.mat", "SET: Stanford Dogs, but test_list.mat is missing. Unpack it there again."),
        ("Food-101", "meta/test.json", "SET: Food-101, but meta/test.json is missing. Unpack it there again."),
    ],
)
def test_a_file_that_is_missing_is_named(tmp_path: Path, layout: str, needed: str, message: str) -> None:
    WRITERS[layout](tmp_path)
    (tmp_path / needed).unlink()
    assert refusal(tmp_path) == message


@pytest.mark.parametrize(
    ("layout", "name", "content", "message"),
    [
        (cub, "images.txt", "1", "SET/images.txt, line 1: no value after '1'."),
        (cub, "image_class_labels.txt", "1 1\n2 1\n4 1", "SET/image_class_labels.txt: image 3 is missing."),
        (cub, "train_test_split.txt", "1 1", "SET/train_test_split.txt: image 2 is missing."),
        (cub, "image_class_labels.txt", "1 x\n2 1\n3 1\n4 1", "SET/image_class_labels.txt: 'x' is no class number."),
        (cub, "classes.txt", "1 001.Albatross", "SET/classes.txt: class 113 is missing."),
        (cub, "train_test_split.txt", "1 1\n2 1\n3 1\n4 1", "SET: CUB-200-2011, but no test photo is there"),
        (dogs, "train_list.mat", "not MATLAB", "SET/train_list.mat: no list of photos and labels ("),
        (food, "meta/train.json", "{", "SET/meta/train.json: not JSON ("),
        (food, "meta/train.json", '{"apple_pie": 3}', "SET/meta/train.json: not an object of lists."),
        (food, "meta/test.json", '{"pizza": []}', "SET/meta/test.json: 'pizza' is not in meta/classes.txt."),
    ],
)
def test_a_damaged_file_is_named(
    tmp_path: Path, layout: Callable[[Path], None], name: str, content: str, message: str
) -> None:
    layout(tmp_path)
    (tmp_path / name).write_text(content)
    assert refusal(tmp_path).startswith(message)


def test_a_matlab_file_without_the_lists_is_named(tmp_path: Path) -> None:
    dogs(tmp_path)
    save_matlab(tmp_path / "test_list.mat", {"other": np.ones(3)})
    assert refusal(tmp_path).startswith("SET/test_list.mat: no list of photos and labels (")


def test_a_set_without_its_photos_is_refused(tmp_path: Path) -> None:
    cub(tmp_path)
    for image in tmp_path.glob("images/*/*"):
        image.unlink()
    assert refusal(tmp_path) == (
        "SET: CUB-200-2011, but no training photo is there (4 are missing). Unpack its photos there too."
    )
