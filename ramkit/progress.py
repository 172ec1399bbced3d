"""How a stage tells of its progress without printing: it wraps its loop in the `Track` that it was given."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Detail = Callable[[], str]


class Track(Protocol):
    """Passes the items on, one by one, and may show how many of `total` have gone by, and beside that a few words of
    what `detail` tells at the moment."""

    def __call__(
        self, items: Iterable[Item], *, total: int | None, what: str, done: int = 0, detail: Detail | None = None
    ) -> Iterable[Item]: ...


def silent(
    items: Iterable[Item], *, total: int | None, what: str, done: int = 0, detail: Detail | None = None
) -> Iterable[Item]:
    """The Track of a library call: shows nothing."""
    del total, what, done, detail
    return items
