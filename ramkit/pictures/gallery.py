"""Photos of a report, each with what was told of it, the descriptions chosen and heat maps, ready for a page."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ramkit.errors import InputError
from ramkit.explanation import Explanation, can_explain, explain
from ramkit.measuring.measured import Measured
from ramkit.measuring.surprises import choose, margins, told
from ramkit.photos import read_photo
from ramkit.pictures.explained import span
from ramkit.pictures.heat import overlay, thumbnail
from ramkit.progress import Track, silent
from ramkit.tagger import Tagger

TEXTS = 3  # descriptions of a name
_NAMES = 6  # told of a photo
_EXPLAINED = 2  # of them with heat maps
_PIXELS, _HEAT_PIXELS = 320, 220
HEADINGS = {
    "surprising": "Surprising: furthest on the wrong side of a threshold",
    "worst": "Worst: what is true is told last",
    "best": "Best: what is true is told first",
}


@dataclass(frozen=True)
class Told:
    """A name of a photo: what the model says, and what is so."""

    name: str
    score: float
    shown: bool  # the score reaches the name's threshold
    true: bool


@dataclass(frozen=True)
class Why:
    """A name explained; pictures are JPEG as data URIs."""

    name: str
    chosen: list[tuple[float, str]]  # weight and text
    in_use: float
    maps: dict[str, str]  # title → picture


@dataclass(frozen=True)
class Exhibit:
    """One photo of the gallery."""

    image: str  # its reference
    picture: str
    told: list[Told]
    why: list[Why]


def gallery(measured: Measured, tagger: Tagger | None, track: Track = silent) -> dict[str, list[Exhibit]]:
    """Exhibits by their heading; a photo that is no longer there is left out.

    Args:
        tagger: explains what it told, where its kind can be explained; None for a model that cannot.
    """
    if tagger is not None and not can_explain(tagger):
        tagger = None
    chosen = choose(measured)
    wanted = [(kind, place) for kind in HEADINGS for place in getattr(chosen, kind)]
    found: dict[str, list[Exhibit]] = {HEADINGS[kind]: [] for kind, _ in wanted}
    for kind, place in track(wanted, total=len(wanted), what="gallery"):
        try:
            photo = read_photo(measured.photos[place])
        except InputError:
            continue
        order = _order(measured, place, surprising=kind == "surprising")
        why = [] if tagger is None else _explained(measured, order[:_EXPLAINED], photo, tagger)
        picture = as_jpeg(thumbnail(photo, _PIXELS))
        found[HEADINGS[kind]].append(Exhibit(measured.photos[place], picture, _told(measured, place, order), why))
    return found


def _told(measured: Measured, place: int, order: Sequence[int]) -> list[Told]:
    shown, scores = told(measured)[place], measured.scores[place]
    return [
        Told(measured.names[n], float(scores[n]), bool(shown[n]), bool(measured.labels[place, n]))
        for n in order[:_NAMES]
    ]


def _order(measured: Measured, place: int, *, surprising: bool) -> list[int]:
    """Names in the order of telling: a surprise, those that are told or true by margin, all others."""
    labels, margin = measured.labels[place], margins(measured)[place]
    order = np.argsort(-margin, kind="stable")
    first = [n for n in order if margin[n] >= 0 or labels[n]]
    if surprising:
        first.insert(0, int(np.argmax(np.where(labels, -margin, margin))))
    return [int(n) for n in dict.fromkeys([*first, *order])]


def _explained(measured: Measured, numbers: Sequence[int], photo: Image.Image, tagger: Tagger) -> list[Why]:
    small = thumbnail(photo, _HEAT_PIXELS)
    explained = explain(tagger, photo, [measured.columns[n].asked for n in numbers])
    return [
        _why(entry, measured.names[n], small, tagger.token_places) for n, entry in zip(numbers, explained, strict=True)
    ]


def _why(entry: Explanation, name: str, photo: Image.Image, places: Sequence[float]) -> Why:
    kinds = {"where the decoder looked": entry.attention, "what is like it": entry.likeness}
    maps = {
        title: as_jpeg(overlay(photo, tokens, places, *span([tokens])))
        for title, tokens in kinds.items()
        if tokens is not None
    }
    return Why(name, entry.chosen(TEXTS), entry.in_use, maps)


def as_jpeg(photo: Image.Image) -> str:
    """A data URI of a JPEG."""
    buffer = io.BytesIO()
    photo.convert("RGB").save(buffer, "JPEG", quality=80)
    return data_uri(buffer.getvalue(), "image/jpeg")


def data_uri(content: bytes, kind: str) -> str:
    """`data:KIND;base64,…`"""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
