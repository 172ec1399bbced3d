"""Fine-grained photo sets in the layouts they are published in: which photo shows which kind, and which split it is in.

CUB-200-2011    images.txt  image_class_labels.txt  train_test_split.txt  classes.txt  images/
NABirds         the same, and hierarchy.txt; class numbers have gaps, since classes.txt lists the groups above too
Stanford Dogs   train_list.mat  test_list.mat  Images/
Food-101        meta/train.json  meta/test.json  meta/classes.txt  images/
a plain folder  train/KIND/photo.jpg  val/KIND/photo.jpg

A set is known by its files; nothing has to be said about it. What its authors call the test split is `val` here.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramkit.errors import InputError
from ramkit.photos import find_photos

_VAL_FOLDERS = ("val", "valid", "validation", "test")  # the first that is there


@dataclass(frozen=True)
class KindPhoto:
    """A photo's path and the number of its kind."""

    image: str
    kind: int


@dataclass(frozen=True)
class FineSet:
    """C kinds and the photos that show them."""

    layout: str  # as people call it: "CUB-200-2011"
    supercategory: str  # what all kinds are, as a word for a prompt; empty where the layout does not tell
    kinds: tuple[str, ...]
    train: tuple[KindPhoto, ...]
    val: tuple[KindPhoto, ...]
    missing: tuple[str, ...]  # photos that are listed but not there; left out of both splits


def read_fine_set(path: Path) -> FineSet:
    """The set in a folder, or in the one folder inside it that its archive unpacks to.

    Raises:
        InputError: no such folder, no known layout, a file of the layout that is missing or damaged, or a split
            without a photo.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder.", cure="Name the folder that holds the photos.")
    for layout in _LAYOUTS:
        for home in (path, path / layout.unpacks_to):
            if any((home / mark).exists() for mark in layout.marks):
                return layout.read_from(home)
    layouts = ", ".join(layout.name for layout in _LAYOUTS)
    raise InputError(f"{path}: neither train/ and val/ here nor the files of {layouts}.", cure="Name such a folder.")


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

    def read_from(self, home: Path) -> FineSet:
        for name in self.needed:
            if not (home / name).exists():
                raise InputError(f"{home}: {self.name}, but {name} is missing.", cure="Unpack it there again.")
        listed = self.read(home)
        there = [(str(image), number, training) for image, number, training in listed.photos if image.is_file()]
        missing = tuple(str(image) for image, _, _ in listed.photos if not image.is_file())
        # Kinds are the classes that have photos; numbers with gaps close up, in the published order.
        numbers = {number: position for position, number in enumerate(sorted({entry[1] for entry in listed.photos}))}
        train, val = (
            tuple(KindPhoto(image, numbers[number]) for image, number, training in there if training is wanted)
            for wanted in (True, False)
        )
        if not train or not val:
            which = "training" if not train else "validation"
            raise InputError(
                f"{home}: {self.name}, but no {which} photo is there ({len(missing)} are missing).",
                cure="Unpack its photos there too.",
            )
        kinds = _told_apart([(number, listed.names[number]) for number in numbers])
        return FineSet(self.name, self.supercategory, kinds, train, val, missing)


def _told_apart(named: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    """Names of classes; of those that share a name each gets its published number."""
    count = Counter(name for _, name in named)
    return tuple(name if count[name] == 1 else f"{name} ({number})" for number, name in named)


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


# ---- plain folders


def _read_folder(home: Path) -> _Listed:
    """Kinds are the folders of train/ in order of name; photos that lie in none of them show no kind."""
    val = next((home / name for name in _VAL_FOLDERS if (home / name).is_dir()), None)
    if val is None:
        raise InputError(f"{home}: has train/, but no val/ beside it.", cure="Move some photos of each kind there.")
    inside = {split: _by_kind(split) for split in (home / "train", val)}
    kinds = sorted(inside[home / "train"])
    if strange := sorted(inside[val].keys() - set(kinds)):
        raise InputError(
            f"{val / strange[0]}: train/ has no photo of this kind.", cure="Give a kind the same name in both."
        )
    photos = [
        (image, number, split != val)
        for split, images in inside.items()
        for number, kind in enumerate(kinds)
        for image in images.get(kind, ())
    ]
    return _Listed(dict(enumerate(kinds)), photos)


def _by_kind(split: Path) -> dict[str, list[Path]]:
    """Photos below a folder by the folder inside it that they lie in."""
    found: dict[str, list[Path]] = {}
    for image in map(Path, find_photos([split])):
        kind, *rest = image.relative_to(split).parts
        if rest:
            found.setdefault(kind, []).append(image)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as text ({error}).", cure="Unpack it again.") from None


_BIRD_LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "images")
_LAYOUTS = (  # NABirds first: it has all files of CUB-200-2011
    _Layout("NABirds", "bird", ("hierarchy.txt",), _BIRD_LISTS, "nabirds", _read_nabirds),
    _Layout("CUB-200-2011", "bird", ("train_test_split.txt",), _BIRD_LISTS, "CUB_200_2011", _read_cub),
    _Layout(
        "Stanford Dogs", "dog", ("train_list.mat", "test_list.mat"),
        ("train_list.mat", "test_list.mat", "Images"), "", _read_dogs,
    ),
    _Layout(
        "Food-101", "food", ("meta/train.json", "meta/test.json"),
        ("meta/train.json", "meta/test.json", "meta/classes.txt", "images"), "food-101", _read_food,
    ),
    _Layout("image folder", "", ("train",), (), "", _read_folder),
)  # fmt: skip
