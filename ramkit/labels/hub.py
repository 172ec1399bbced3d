"""Sets that the `datasets` library reads: a hub id, a folder that it saved, Parquet files.

The labels' column holds classes, texts, or lists of them; a dot leads inside, as in `objects.category`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ramkit.errors import InputError, MissingError
from ramkit.files import cache_directory
from ramkit.labels.images import ImageFinder
from ramkit.labels.labelled import LabelColumns, LabelledPhoto, LabelledSet, of_photos, spoken
from ramkit.photo_shards import PhotoShards

_SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk leaves
_SPLITS = ("test", "validation", "val")  # looked for in this order where none is named


def is_dataset(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _SAVED) or any(folder.rglob("*.parquet"))


def read_dataset(name: str, columns: LabelColumns, finder: ImageFinder) -> LabelledSet:
    """All rows of one part of a set; names are all classes where the column tells them, else those that occur.

    Raises:
        MissingError: no such set.
        InputError: no such part or column, or a row without photo or labels.
    """
    dataset = _open(name, columns)
    for column in (columns.image, columns.labels.partition(".")[0]):
        if column not in dataset.column_names:
            raise InputError(
                f"{name}: no column {column!r}; it has {', '.join(map(repr, dataset.column_names))}.",
                cure="Name them: --image-field NAME --labels-field NAME",
            )
    classes = _classes(dataset.features, columns.labels.split("."))
    photos = list(_photos(name, dataset, columns, classes, finder))
    return LabelledSet(photos, classes, spoken(classes)) if classes else of_photos(photos)


def _open(name: str, columns: LabelColumns) -> Any:
    import datasets

    path = Path(name)
    try:
        if path.suffix.lower() == ".parquet":
            return datasets.load_dataset("parquet", data_files=name, split="train")
        if any((path / saved).is_file() for saved in _SAVED):
            held = datasets.load_from_disk(name)
            return held[_split(name, list(held), columns)] if isinstance(held, datasets.DatasetDict) else held
        return datasets.load_dataset(name, split=_split(name, datasets.get_dataset_split_names(name), columns))
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise MissingError(
            f"{name}: no file of this name, and no dataset that can be had ({reason}).",
            cure="Check the name and the connection.",
        ) from None


def _split(name: str, there: Sequence[str], columns: LabelColumns) -> str:
    if len(there) == 1 and not columns.split:
        return there[0]
    for split in [columns.split] if columns.split else _SPLITS:
        if split in there:
            return split
    raise InputError(
        f"{name}: has no {columns.split or 'test or validation'} part (there: {', '.join(there)}).",
        cure="Name the part: --split",
    )


def _classes(feature: Any, path: Sequence[str]) -> list[str]:
    """Names of the classes that a column inside the features holds; empty where it holds texts."""
    for step in path:
        feature = _element(feature).get(step) if isinstance(_element(feature), dict) else None
    names = getattr(_element(feature), "names", None)
    return list(names) if names else []


def _element(feature: Any) -> Any:
    """What a list is of."""
    while (inner := getattr(feature, "feature", None)) is not None:
        feature = inner
    return feature


def _photos(
    name: str, dataset: Any, columns: LabelColumns, classes: Sequence[str], finder: ImageFinder
) -> Iterator[LabelledPhoto]:
    import datasets

    if isinstance(dataset.features.get(columns.image), datasets.Image):
        dataset = dataset.cast_column(columns.image, datasets.Image(decode=False))
    folder = cache_directory() / "photos" / name.strip("/").replace("/", "--") / (columns.split or "default")
    with PhotoShards(folder) as shards:
        for number, row in enumerate(dataset, start=1):
            where = f"{name}, row {number}"
            image = row[columns.image]
            if isinstance(image, dict) and image.get("bytes"):
                reference = shards.add(image["bytes"], image.get("path"))
            else:
                given = image.get("path") if isinstance(image, dict) else image
                if not isinstance(given, str) or not given:
                    raise InputError(f"{where}: no photo under {columns.image!r}.", cure="Name it: --image-field")
                reference = finder.reference(given)
            yield LabelledPhoto(reference, _names(row, columns, classes, where))


def _names(row: Any, columns: LabelColumns, classes: Sequence[str], where: str) -> list[str]:
    found = _values(row, columns.labels.split("."))
    names = [classes[value] if classes and isinstance(value, int) else value for value in found]
    if not all(isinstance(name, str) for name in names):
        raise InputError(
            f"{where}: {columns.labels!r} holds neither names nor classes.", cure="Name the column: --labels-field"
        )
    return list(dict.fromkeys(names))


def _values(value: Any, path: Sequence[str]) -> list[Any]:
    """All that stands at the end of a path, lists on the way taken apart."""
    if isinstance(value, list):
        return [inner for entry in value for inner in _values(entry, path)]
    if path:
        return _values(value.get(path[0]) if isinstance(value, dict) else None, path[1:])
    return [] if value is None else [value]
