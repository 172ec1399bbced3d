"""Photos of the kinds of one super-category: what fine-grained training and evaluation read.

A plain image folder holds train/ and val/ (and maybe test/), each a folder a kind:

    flowers/train/daisy/1.jpg
    flowers/val/daisy/2.jpg

The same inside a .tar is read without unpacking it; one folder around train/ and val/ does not matter. Published sets
are read in their own layouts (published_sets.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ramkit.errors import InputError
from ramkit.fgvc.published_sets import PUBLISHED, read_published, recognise
from ramkit.photos import find_photos
from ramkit.references import split_reference

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
AUTO, FOLDER = "auto", "folder"
LAYOUTS = (AUTO, FOLDER, *PUBLISHED)


@dataclass(frozen=True)
class Example:
    """A photo's reference and the number of the kind that it shows."""

    image: str
    kind: int


@dataclass(frozen=True)
class FineDataset:
    """Examples of every split; `kind` of each counts in `kinds`. Validation or test may be empty."""

    kinds: list[str]
    train: list[Example]
    validation: list[Example] = field(default_factory=list)
    test: list[Example] = field(default_factory=list)
    name: str = ""  # what people call it, of a published set
    supercategory: str = ""  # what all kinds are, where the published set tells
    missing: list[str] = field(default_factory=list)  # photos that a published set lists but that are not there

    def split(self, name: str) -> list[Example]:
        """Examples of `train`, `validation` or `test`; of what is held out where `name` is empty: test, if there is
        one, else validation.

        Raises:
            InputError: the split has no photo.
        """
        found = (self.test or self.validation) if not name else vars(self)[name]
        if not found:
            raise InputError(f"There is no photo for {name or 'validation'}.", cure="Name a split that has photos.")
        return found


def read_image_folder(source: str) -> FineDataset:
    """The image folder at a path, or in a .tar; kinds in the order of their names.

    Raises:
        InputError: no such folder, no train/ with photos of two kinds, or a kind that only validation or test has.
    """
    photos: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    for reference in find_photos([source]):
        split, kind = _place(source, reference)
        if split:
            photos[split].append((reference, kind))
    kinds = sorted({kind for _, kind in photos["train"]})
    if len(kinds) < 2:
        raise InputError(
            f"{source}: {len(kinds)} kind{'s' if not kinds else ''} with photos in train/.",
            cure="Give train/KIND/PHOTO of two kinds or more, and val/KIND/PHOTO likewise.",
        )
    return dataset_of(source, kinds, **photos)


def read_dataset(source: str, layout: str = AUTO) -> FineDataset:
    """The data set at a path, in one of the LAYOUTS; `auto` takes the one that the files there tell.

    Raises:
        InputError: an unknown layout, or whatever its reader cannot read.
    """
    if layout not in LAYOUTS:
        raise InputError(f"{layout!r} is no layout.", cure=f"Choose from {', '.join(LAYOUTS)}.")
    found = layout if layout != AUTO else recognise(Path(source)) or FOLDER
    return read_image_folder(source) if found == FOLDER else _read_published(source, found)


def _read_published(source: str, layout: str) -> FineDataset:
    found = read_published(Path(source), layout)
    made = dataset_of(source, found.kinds, train=found.train, test=found.test)
    return replace(made, name=found.name, supercategory=found.supercategory, missing=found.missing)


def dataset_of(
    source: str,
    kinds: list[str],
    *,
    train: Iterable[tuple[str, str]],
    validation: Iterable[tuple[str, str]] = (),
    test: Iterable[tuple[str, str]] = (),
) -> FineDataset:
    """A data set of (reference, name of its kind) pairs.

    Raises:
        InputError: a pair's kind is not one of `kinds`.
    """
    numbers = {kind: number for number, kind in enumerate(kinds)}

    def examples(pairs: Iterable[tuple[str, str]]) -> list[Example]:
        found = []
        for reference, kind in pairs:
            if kind not in numbers:
                raise InputError(
                    f"{reference}: no photo of {kind!r} to train on in {source}.", cure="Move it, or add some."
                )
            found.append(Example(reference, numbers[kind]))
        return found

    return FineDataset(kinds, examples(train), examples(validation), examples(test))


def _place(source: str, reference: str) -> tuple[str, str]:
    """(split, kind) of a photo; an empty split for one that lies in none."""
    inside = split_reference(reference)
    parts = PurePosixPath(inside[1]).parts if inside else Path(reference).relative_to(source).parts
    for depth in (0, 1):  # one folder around the splits
        if len(parts) > depth + 1 and (split := _SPLITS.get(parts[depth].lower())):
            if len(parts) == depth + 2:
                raise InputError(f"{reference}: lies in no kind's folder.", cure="Move it to train/KIND/PHOTO.")
            return split, parts[depth + 1]
    return "", ""
