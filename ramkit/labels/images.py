"""The photos that annotations name, found in the folders and shards where a person keeps them."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from ramkit.errors import InputError
from ramkit.photos import SUFFIXES, find_photos
from ramkit.references import MEMBER, leads_somewhere, split_reference

Parts = tuple[str, ...]


class ImageFinder:
    """Finds a photo by the name in an annotation: `test/0000c64e.jpg`, with or without folders and ending.

    Without places a name is a path beside the annotations. In places (folders, shards) a photo is found however deep it
    lies: its path and the name, as far as both go, have to be the same, or, with `last_part`, what their last parts
    are, for names that are no other photo's in any folder.
    """

    def __init__(self, places: Sequence[str], beside: Path, *, last_part: bool = False) -> None:
        self._beside = beside
        self._last_part = last_part
        self._places = places
        self._found: dict[str, list[tuple[Parts, str]]] = {}
        for place in places:
            for reference in find_photos([place]):
                parts = _parts(_inside(reference, place))
                self._found.setdefault(parts[-1], []).append((parts, reference))

    def reference(self, name: str) -> str:
        """Of the photo; where there is none, of the place where it was looked for.

        Raises:
            InputError: several photos have that name.
        """
        if not self._places:
            return name if "://" in name else str(self._beside / name)
        parts = _parts(name)
        named = self._found.get(parts[-1], [])
        candidates = [entry for entry in named if _fits(entry[0], parts)] or (named if self._last_part else [])
        nearest = [entry for entry in candidates if entry[0] == parts] or candidates
        same_ending = [entry for entry in nearest if entry[1].endswith(PurePosixPath(name).name)] or nearest
        if len(same_ending) > 1:
            first, second = (reference for _, reference in same_ending[:2])
            raise InputError(f"{name} may be {first} or {second}.", cure="Name the folder of one: --images DIR")
        return same_ending[0][1] if same_ending else self._missing(name)

    def _missing(self, name: str) -> str:
        place = self._places[0]
        return f"{place}{MEMBER}{name}" if place.lower().endswith(".tar") else os.path.join(place, name)


def missing_of(references: Iterable[str]) -> list[str]:
    """The references that lead to no file or member of a shard."""
    return [reference for reference in references if not leads_somewhere(reference)]


def _inside(reference: str, place: str) -> str:
    """The path of a photo inside its place."""
    if (taken := split_reference(reference)) and taken[0] == place:
        return taken[1]
    return Path(os.path.relpath(reference, place)).as_posix() if reference != place else Path(reference).name


def _parts(name: str) -> Parts:
    path = PurePosixPath(name)
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).parts


def _fits(there: Parts, asked: Parts) -> bool:
    """Whether one path ends with the other."""
    length = min(len(there), len(asked))
    return there[-length:] == asked[-length:]
