"""Objects as COCO's `instances_*.json` has them: a category is true of a photo that holds an object of it."""

import json
from pathlib import Path
from typing import Any

from ramkit.errors import InputError
from ramkit.labels.images import ImageFinder
from ramkit.labels.labelled import LabelledPhoto, LabelledSet

_CURE = "Name a file like COCO's instances_val2017.json."


def read_coco(path: Path, finder: ImageFinder) -> LabelledSet:
    """All photos of the file, those without objects too; the names are all categories.

    Raises:
        InputError: not such a file, or an object of a photo or category that is not there.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}).", cure=_CURE) from None
    images, annotations, categories = (_rows(document, key, path) for key in ("images", "annotations", "categories"))
    names = {_value(row, "id", path): str(_value(row, "name", path)) for row in categories}
    labels: dict[Any, dict[str, None]] = {_value(row, "id", path): {} for row in images}
    for number, row in enumerate(annotations, start=1):
        image, category = _value(row, "image_id", path), _value(row, "category_id", path)
        if image not in labels or category not in names:
            raise InputError(
                f"{path}: object {number} is of image {image} and category {category}, not both of which are there.",
                cure=_CURE,
            )
        labels[image][names[category]] = None
    photos = [
        LabelledPhoto(finder.reference(str(_value(row, "file_name", path))), list(labels[row["id"]])) for row in images
    ]
    return LabelledSet(photos, list(names.values()))


def _rows(document: Any, key: str, path: Path) -> list[Any]:
    rows = document.get(key) if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise InputError(f"{path}: no list of {key}.", cure=_CURE)
    return rows


def _value(row: Any, key: str, path: Path) -> Any:
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, str | int):
        raise InputError(f"{path}: an entry without {key!r}.", cure=_CURE)
    return value
