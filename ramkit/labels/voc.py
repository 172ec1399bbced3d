"""Pascal VOC: `ImageSets/Main/CLASS_SPLIT.txt` or, where these are not there, the objects in `Annotations/*.xml`.

What VOC calls difficult counts as present: the object is in the photo.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ramkit.errors import InputError
from ramkit.labels.images import ImageFinder
from ramkit.labels.labelled import LabelledPhoto, LabelledSet

_SPLITS = ("test", "val")  # looked for in this order where none is named
_ABSENT = "-1"


def is_voc(folder: Path) -> bool:
    return (folder / "ImageSets" / "Main").is_dir() or (folder / "Annotations").is_dir()


def read_voc(folder: Path, split: str, finder: ImageFinder) -> LabelledSet:
    """The photos of a split; without `ImageSets` those of all annotations.

    Raises:
        InputError: no such split, or a file that is not as VOC has it.
    """
    main = folder / "ImageSets" / "Main"
    if not main.is_dir():
        return _of_objects(folder, sorted(path.stem for path in (folder / "Annotations").glob("*.xml")), finder)
    chosen = _split(main, split)
    if lists := sorted(main.glob(f"*_{chosen}.txt")):
        return _of_lists(lists, chosen, finder)
    return _of_objects(folder, (main / f"{chosen}.txt").read_text(encoding="utf-8").split(), finder)


def _split(main: Path, wanted: str) -> str:
    there = sorted({path.stem.rpartition("_")[2] for path in main.glob("*.txt")})
    for split in [wanted] if wanted else _SPLITS:
        if split in there:
            return split
    raise InputError(
        f"{main}: has no {wanted or ' and no '.join(_SPLITS)} (there: {', '.join(there) or 'nothing'}).",
        cure="Name the part: --split",
    )


def _of_lists(lists: Sequence[Path], split: str, finder: ImageFinder) -> LabelledSet:
    labels: dict[str, list[str]] = {}
    names = [path.stem.removesuffix(f"_{split}") for path in lists]
    for path, name in zip(lists, names, strict=True):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            parts = line.split()
            if not parts:
                continue
            if len(parts) != 2 or parts[1] not in ("1", "0", _ABSENT):
                raise InputError(f"{path}, line {number}: no photo with 1, 0 or -1.", cure="Copy the file anew.")
            own = labels.setdefault(parts[0], [])
            if parts[1] != _ABSENT:
                own.append(name)
    return LabelledSet([_photo(stem, own, finder) for stem, own in labels.items()], names)


def _of_objects(folder: Path, stems: Sequence[str], finder: ImageFinder) -> LabelledSet:
    photos = [_photo(stem, _objects(folder / "Annotations" / f"{stem}.xml"), finder) for stem in stems]
    return LabelledSet(photos, sorted({name for photo in photos for name in photo.labels}))


def _objects(path: Path) -> list[str]:
    try:
        found = [element.findtext("name") for element in ElementTree.parse(path).getroot().findall("object")]
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(f"{path}: not readable as VOC's XML ({error}).", cure="Copy the file anew.") from None
    return list(dict.fromkeys(name.strip() for name in found if name))


def _photo(stem: str, labels: list[str], finder: ImageFinder) -> LabelledPhoto:
    return LabelledPhoto(finder.reference(f"JPEGImages/{stem}.jpg"), labels)
