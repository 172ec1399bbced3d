"""Photos in one folder a class, as `torchvision.datasets.ImageFolder` reads them."""

from pathlib import Path

from ramkit.errors import InputError
from ramkit.labels.labelled import LabelledPhoto, LabelledSet, spoken
from ramkit.photos import find_photos

_PARTS = frozenset({"train", "training", "val", "valid", "validation", "test"})


def read_folders(folder: Path) -> LabelledSet:
    """Every photo with the name of the folder it lies in, right under `folder`; empty folders are names too.

    Raises:
        InputError: no photo, one beside the folders, or parts of a set instead of classes.
    """
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if names and _PARTS.issuperset(name.lower() for name in names):
        raise InputError(f"{folder}: holds parts of a set, not classes.", cure=f"Name one: {folder / names[-1]}")
    photos = []
    for reference in find_photos([folder]):
        parts = Path(reference).relative_to(folder).parts
        if len(parts) < 2:
            raise InputError(f"{reference}: lies in no class's folder.", cure="Put it into one, named as the class.")
        photos.append(LabelledPhoto(reference, [parts[0]]))
    return LabelledSet(photos, names, spoken(names))
