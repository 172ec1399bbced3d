"""Fine-grained photo sets in the layouts that their authors published: what shows what, and in which split.

CUB-200-2011    images.txt  image_class_labels.txt  train_test_split.txt  classes.txt  images/
NABirds         the same, and hierarchy.txt; class numbers have gaps, since classes.txt lists the groups above too
Stanford Dogs   train_list.mat  test_list.mat  Images/
Food-101        meta/train.json  meta/test.json  meta/classes.txt  images/

A set is known by its files; nothing has to be said about it.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramkit.errors import InputError

Pair = tuple[str, str]  # a photo's path and the name of its kind


@dataclass(frozen=True)
class PublishedSet:
    """Kinds in the published order, and the photos of both published splits."""

    name: str  # as people call it: "CUB-200-2011"
    supercategory: str  # what all kinds are, as a word for a prompt
    kinds: list[str]
    train: list[Pair]
    test: list[Pair]
    missing: list[str]  # photos that are listed but not there; left out of both splits


def recognise(source: Path) -> str:
    """The key in PUBLISHED of the set that a folder holds, itself or in what its archive unpacks to; "" for none."""
    return next((key for key, layout in PUBLISHED.items() if layout.home(source)), "")


def read_published(source: Path, key: str) -> PublishedSet:
    """The published set in a folder.

    Raises:
        InputError: a file of the set is missing or damaged, or a split has no photo.
    """
    layout = PUBLISHED[key]
    return layout.read_from(layout.home(source) or source)


@dataclass(frozen=True)
class _Listed:
    """What a layout's files say: names by class, and photos as (path, class, whether for training)."""

    names: dict[int, str]
    photos: Sequence[tuple[Path, int, bool]]


@dataclass(frozen=True)
class _Layout:
    name: str
    supercategory: str
    marks: tuple[str, ...]  # any of them tells this layout
    needed: tuple[str, ...]
    unpacks_to: str
    read: Callable[[Path], _Listed]

    def home(self, source: Path) -> Path | None:
        """The folder with the set's files: the source, or the one in it that the archive unpacks to."""
        places = (source, source / self.unpacks_to)
        return next((place for place in places if any((place / mark).exists() for mark in self.marks)), None)

    def read_from(self, home: Path) -> PublishedSet:
        for name in self.needed:
            if not (home / name).exists():
                raise InputError(f"{home}: {self.name}, but {name} is missing.", cure="Unpack it there again.")
        listed = self.read(home)
        # Kinds are the classes that have photos, in the published order; numbers with gaps close up.
        classes = sorted({number for _, number, _ in listed.photos})
        kinds = _told_apart([(number, listed.names[number]) for number in classes])
        kind_of = dict(zip(classes, kinds, strict=True))
        split: dict[bool, list[Pair]] = {True: [], False: []}
        missing = []
        for image, number, training in listed.photos:
            if image.is_file():
                split[training].append((str(image), kind_of[number]))
            else:
                missing.append(str(image))
        for training, which in ((True, "training"), (False, "test")):
            if not split[training]:
                raise InputError(
                    f"{home}: {self.name}, but no {which} photo is there ({len(missing)} are missing).",
                    cure="Unpack its photos there too.",
                )
        return PublishedSet(self.name, self.supercategory, kinds, split[True], split[False], missing)


def _told_apart(named: Sequence[tuple[int, str]]) -> list[str]:
    """Names of classes; of those that share a name each gets its published number."""
    count = Counter(name for _, name in named)
    return [name if count[name] == 1 else f"{name} ({number})" for number, name in named]


# ---- CUB-200-2011 and NABirds


def _read_cub(home: Path) -> _Listed:
    names = {number: re.sub(r"^\d+\.", "", name).replace("_", " ") for number, name in _classes(home).items()}
    return _Listed(names, _listed_birds(home, names))


def _read_nabirds(home: Path) -> _Listed:
    names = _classes(home)
    return _Listed(names, _listed_birds(home, names))


def _classes(home: Path) -> dict[int, str]:
    path = home / "classes.txt"
    return {_whole_number(number, path): name for number, name in _pairs(path).items()}


def _listed_birds(home: Path, names: dict[int, str]) -> list[tuple[Path, int, bool]]:
    """Photos of three lists that say path, class and split by the photo's id."""
    images = _pairs(home / "images.txt")
    classes, splits = (_pairs(home / name) for name in ("image_class_labels.txt", "train_test_split.txt"))
    photos = []
    for identity, image in images.items():
        for other, name in ((classes, "image_class_labels.txt"), (splits, "train_test_split.txt")):
            if identity not in other:
                raise InputError(f"{home / name}: image {identity} is missing.", cure="Unpack it again.")
        number = _whole_number(classes[identity], home / "image_class_labels.txt")
        if number not in names:
            raise InputError(f"{home / 'classes.txt'}: class {number} is missing.", cure="Unpack it again.")
        photos.append((home / "images" / image, number, splits[identity] == "1"))
    return photos


def _pairs(path: Path) -> dict[str, str]:
    """Lines of a key, a space and a value, which may have spaces in it."""
    found = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.strip():
            key, _, value = line.strip().partition(" ")
            if not value.strip():
                raise InputError(f"{path}, line {number}: no value after {key!r}.", cure="Unpack it again.")
            found[key] = value.strip()
    return found


def _whole_number(text: str, path: Path) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{path}: {text!r} is no class number.", cure="Unpack it again.") from None


# ---- Stanford Dogs


def _read_dogs(home: Path) -> _Listed:
    names: dict[int, str] = {}
    photos = []
    for name, training in (("train_list.mat", True), ("test_list.mat", False)):
        for image, number in _matlab_list(home / name):
            # n02085620-Chihuahua/n02085620_5927.jpg: WordNet's number of the breed, its name, the photo
            names[number] = image.partition("/")[0].partition("-")[2].replace("_", " ")
            photos.append((home / "Images" / image, number, training))
    return _Listed(names, photos)


def _matlab_list(path: Path) -> Iterable[tuple[str, int]]:
    """(path, class) of a list that MATLAB wrote: `file_list`, a column of cells, and `labels`, a column of numbers."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["file_list", "labels"])
        files = [str(cell[0].item()) for cell in content["file_list"]]
        return list(zip(files, content["labels"].ravel().astype(int).tolist(), strict=True))
    except Exception as error:  # a damaged file raises errors of many classes
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: no list of photos and labels ({reason}).", cure="Unpack it again.") from None


# ---- Food-101


def _read_food(home: Path) -> _Listed:
    folders = [line.strip() for line in _text(home / "meta" / "classes.txt").splitlines() if line.strip()]
    numbers = {folder: number for number, folder in enumerate(folders)}
    photos = []
    for name, training in (("train.json", True), ("test.json", False)):
        path = home / "meta" / name
        for folder, images in _food_json(path).items():
            if folder not in numbers:
                raise InputError(f"{path}: {folder!r} is not in meta/classes.txt.", cure="Unpack it again.")
            # Names come without their ending: "apple_pie/1005649".
            photos += [(home / "images" / f"{image}.jpg", numbers[folder], training) for image in images]
    return _Listed({number: folder.replace("_", " ") for folder, number in numbers.items()}, photos)


def _food_json(path: Path) -> dict[str, list[str]]:
    try:
        content: Any = json.loads(_text(path))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}).", cure="Unpack it again.") from None
    if not isinstance(content, dict) or not all(isinstance(images, list) for images in content.values()):
        raise InputError(f"{path}: not an object of lists.", cure="Unpack it again.")
    return content


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as text ({error}).", cure="Unpack it again.") from None


_BIRD_LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "images")
PUBLISHED = {  # NABirds first: it has all files of CUB-200-2011
    "nabirds": _Layout("NABirds", "bird", ("hierarchy.txt",), _BIRD_LISTS, "nabirds", _read_nabirds),
    "cub": _Layout("CUB-200-2011", "bird", ("train_test_split.txt",), _BIRD_LISTS, "CUB_200_2011", _read_cub),
    "dogs": _Layout(
        "Stanford Dogs", "dog", ("train_list.mat", "test_list.mat"),
        ("train_list.mat", "test_list.mat", "Images"), "", _read_dogs,
    ),
    "food": _Layout(
        "Food-101", "food", ("meta/train.json", "meta/test.json"),
        ("meta/train.json", "meta/test.json", "meta/classes.txt", "images"), "food-101", _read_food,
    ),
}  # fmt: skip
