"""What `ramkit tag --explain` shows of a photo: a table, JSON and a PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ramkit import console

if TYPE_CHECKING:
    from ramkit.explanation import Explanation
    from ramkit.stages.tag import TaggedPhoto, TagScore
    from ramkit.tagger import Tagger

FOLDER = Path("explained")
_TAGS, _TYPED = 5, 5  # of the vocabulary, and typed ones, that are explained of a photo
_TEXTS = 4


class Explainer:
    """Explains the first tags of photos, one photo after another, and writes a PNG of each into a folder."""

    def __init__(self, tagger: "Tagger", folder: Path, descriptions: Mapping[str, Sequence[str]]) -> None:
        self._tagger, self._folder = tagger, folder
        self._descriptions = {word.lower(): own for word, own in descriptions.items()}
        self._written: set[str] = set()

    def explain(self, photo: "TaggedPhoto") -> tuple[list["Explanation"], Path | None]:
        """Explanations of the first tags and the path of their picture; none of a photo without tags."""
        from ramkit.explanation import explain
        from ramkit.files import write_whole
        from ramkit.photos import read_photo
        from ramkit.pictures.explained import picture

        chosen = _first(photo.tags)
        if not chosen:
            return [], None
        image = read_photo(photo.image)
        found = explain(self._tagger, image, [entry.tag for entry in chosen], self._descriptions)
        drawn = picture(image, photo.image, [entry.score for entry in chosen], found, self._tagger.token_places)
        path = self._free_path(photo.image)
        write_whole(path, drawn)
        return found, path

    def _free_path(self, reference: str) -> Path:
        """Named after the photo; a second photo of that name in the same run gets a number."""
        self._folder.mkdir(parents=True, exist_ok=True)
        stem = Path(reference.rpartition("::")[2]).stem
        names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(self._written) + 2))
        name = next(name for name in names if name not in self._written)
        self._written.add(name)
        return self._folder / f"{name}.png"


def print_explained(found: Sequence["Explanation"], places: Sequence[float]) -> None:
    """A row a tag: where its logit comes from, coarse heat maps, the descriptions that were chosen."""
    from ramkit.pictures.explained import NO_TEXTS, span
    from ramkit.pictures.heat import in_characters

    maps = {"decoder looked": "attention", "like the tag": "likeness"}
    kinds = {title: kind for title, kind in maps.items() if getattr(found[0], kind) is not None}
    spans = {kind: span([getattr(entry, kind) for entry in found]) for kind in kinds.values()}
    rows = []
    for entry in found:
        source = [
            entry.tag, f"logit {entry.logit:+.2f}", f"decoder {entry.decoder:+.2f}", f"similarity {entry.direct:+.2f}"
        ]  # fmt: skip
        drawn = [in_characters(getattr(entry, kind), places, *spans[kind]) for kind in kinds.values()]
        used = f"{entry.in_use:.1f} of {len(entry.weights)} in use"
        texts = [f"{weight:.2f} {text}" for weight, text in entry.chosen(_TEXTS)] or [NO_TEXTS]
        rows.append(["\n".join(lines) for lines in (source, *drawn, [used, *texts])])
    console.print_table("", ["tag", *kinds, "descriptions chosen"], rows, lines=True)


def as_document(entry: "Explanation") -> dict[str, Any]:
    """The whole explanation for programs."""
    return {
        "logit": round(entry.logit, 4),
        "decoder": round(entry.decoder, 4),
        "similarity": round(entry.direct, 4),
        "descriptions_in_use": round(entry.in_use, 2),
        "descriptions": [
            {"weight": round(weight, 4), "text": text} for weight, text in entry.chosen(len(entry.weights))
        ],
        "attention_on_global_token": round(entry.on_global, 4),
        "attention": _rounded(entry.attention),
        "likeness": _rounded(entry.likeness),
    }


def _first(tags: Sequence["TagScore"]) -> list["TagScore"]:
    """The first of the vocabulary and the first that were typed, in the order they are told in."""
    kept = [entry for entry in tags if not entry.open_set][:_TAGS] + [entry for entry in tags if entry.open_set][
        :_TYPED
    ]
    return [entry for entry in tags if entry in kept]


def _rounded(tokens: Any) -> list[list[float]] | None:
    return None if tokens is None else [[round(float(value), 5) for value in row] for row in tokens]
