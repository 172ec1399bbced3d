"""A set of photos with the names that are true of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo's reference and the names that are true of it, maybe none."""

    image: str
    labels: list[str]


@dataclass(frozen=True)
class LabelledSet:
    """Photos, and the names that were looked for in every one of them, found or not."""

    photos: list[LabelledPhoto]
    names: list[str]
    texts: Mapping[str, str] = field(default_factory=dict)  # how a name is asked, where not by itself
    remark: str = ""  # what a person should know of the figures


@dataclass(frozen=True)
class LabelColumns:
    """Keys or columns that hold photo and labels, and the part of a set that has several."""

    image: str = "image"
    labels: str = "labels"
    split: str = ""  # empty: test or, where there is none, validation


def of_photos(photos: Iterable[LabelledPhoto]) -> LabelledSet:
    """A set that tells no more than what is true: its names are those that occur."""
    held = list(photos)
    return LabelledSet(held, sorted({name for photo in held for name in photo.labels}))


def joined(sets: Sequence[LabelledSet]) -> LabelledSet:
    """All photos of several sets, all their names."""
    if len(sets) == 1:
        return sets[0]
    texts = {name: text for one in sets for name, text in one.texts.items()}
    names = dict.fromkeys(name for one in sets for name in one.names)
    remarks = dict.fromkeys(one.remark for one in sets if one.remark)
    return LabelledSet([photo for one in sets for photo in one.photos], list(names), texts, " ".join(remarks))


def united(labelled: LabelledSet) -> LabelledSet:
    """The same set with every photo once: what several rows tell of one is true of it together, and is told."""
    labels: dict[str, dict[str, None]] = {}
    for photo in labelled.photos:
        labels.setdefault(photo.image, {}).update(dict.fromkeys(photo.labels))
    if not (again := len(labelled.photos) - len(labels)):
        return labelled
    told = f"Rows of photos that came before: {again:,}; what several tell of a photo is taken together."
    photos = [LabelledPhoto(image, list(own)) for image, own in labels.items()]
    return replace(labelled, photos=photos, remark=" ".join(part for part in (labelled.remark, told) if part))


def spoken(names: Iterable[str]) -> dict[str, str]:
    """How names with underscores are asked: as people write them. Others are asked as they are."""
    return {name: name.replace("_", " ") for name in names if "_" in name}


def with_names(labelled: LabelledSet, names: Sequence[str]) -> LabelledSet:
    """The same photos asked for other names; labels that are not among them are told, not asked."""
    left = sorted({name for photo in labelled.photos for name in photo.labels} - set(names))
    told = f"{len(left)} names among the labels are not asked: {', '.join(left[:5])}{', …' if len(left) > 5 else '.'}"
    remark = " ".join(part for part in (labelled.remark, told if left else "") if part)
    return replace(labelled, names=list(dict.fromkeys(names)), remark=remark)
