"""fine + photos → the kind that each shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ramkit.features import read_batches
from ramkit.fgvc.classifier import Classifier, KindScore
from ramkit.photos import find_photos
from ramkit.progress import Track, silent

_BATCH = 4


@dataclass(frozen=True)
class ClassifiedPhoto:
    """The kinds a photo may show, most likely first; or the reason why it has none."""

    image: str
    kinds: list[KindScore] = field(default_factory=list)
    error: str = ""


def fine_classify(
    *, photos: Sequence[str | Path], classifier: Classifier, top_k: int = 5, track: Track = silent
) -> Iterator[ClassifiedPhoto]:
    """The kinds of every photo that the arguments name, one after another.

    Args:
        photos: files, folders, `.tar` shards.
        top_k: most kinds told of a photo; 0 for all.

    Raises:
        InputError: a name that leads to no photo.
    """
    references = find_photos(photos, as_typed=True)
    batches = read_batches(references, lambda photo, _: classifier.prepare(photo), size=_BATCH)
    done = 0
    for positions, pixels, unreadable in track(batches, total=-(-len(references) // _BATCH), what="classifying"):
        rows = iter(classifier.predict(pixels).tolist() if pixels is not None else ())
        for position in range(done, done + len(positions) + len(unreadable)):
            if position in unreadable:
                yield ClassifiedPhoto(references[position], error=unreadable[position])
            else:
                yield ClassifiedPhoto(references[position], classifier.ranked(next(rows), top_k))
        done += len(positions) + len(unreadable)
