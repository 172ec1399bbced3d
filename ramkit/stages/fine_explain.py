"""fine + photos → drawings of the patches that the model's last layer saw."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw

from ramkit.errors import InputError
from ramkit.fgvc.classifier import Classifier, KindScore
from ramkit.photos import find_photos, read_photo
from ramkit.progress import Track, silent
from ramkit.references import MEMBER

_MARK, _DIM = (255, 210, 0), 0.45  # colour of chosen patches' borders; brightness of the rest
_LEAST_SIDE, _SIDE = 512, 1024  # pixels of a drawing's longer side: small photos grow up to the first, others shrink


@dataclass(frozen=True)
class ExplainedPhoto:
    """A drawing of what decided; or the reason why there is none."""

    image: str
    kinds: list[KindScore] = field(default_factory=list)
    patches: list[int] = field(default_factory=list)  # numbers, row by row
    side: int = 0  # patches in a row
    drawing: Path | None = None
    error: str = ""


def fine_explain(
    *, photos: Sequence[str | Path], classifier: Classifier, folder: Path, track: Track = silent
) -> Iterator[ExplainedPhoto]:
    """Draw, for every photo, which patches the model's last layer saw: they stay bright, the rest is dimmed.

    Args:
        folder: where the drawings are written, as PNG, each named after its photo.

    Raises:
        InputError: a name that leads to no photo, a model whose last layer sees all, or a folder that cannot be made.
    """
    if classifier.vision.selection == "none":
        raise InputError(
            f"{classifier.source.name} was trained with all patches; there is no choice to show.",
            cure='Train with patch_selection = "attention" or "activation".',
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}).", cure="Name another folder: --out") from None
    references = find_photos(photos, as_typed=True)
    names = _names(references)
    for reference in track(references, total=len(references), what="explaining"):
        try:
            yield _explained(reference, classifier, folder / names[reference])
        except InputError as error:
            yield ExplainedPhoto(reference, error=str(error))


def _names(references: Sequence[str]) -> dict[str, str]:
    """A file name for each photo's drawing; photos of one name in several folders get a number."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for reference in references:
        stem = name = Path(reference.rpartition(MEMBER)[2]).stem
        number = 2
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        found[reference] = f"{name}.png"
    return found


def _explained(reference: str, classifier: Classifier, path: Path) -> ExplainedPhoto:
    photo = read_photo(reference)
    pixels = classifier.prepare(photo)[None]
    ids = classifier.selected(pixels)
    assert ids is not None
    patches, side = ids[0].tolist(), math.isqrt(classifier.vision.cells)
    kinds = classifier.ranked(classifier.predict(pixels)[0].tolist(), 3)
    try:
        draw_patches(photo, classifier, patches, side).save(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}).", cure="Name another folder: --out") from None
    return ExplainedPhoto(reference, kinds, patches, side, path)


def draw_patches(photo: Image.Image, classifier: Classifier, patches: Sequence[int], side: int) -> Image.Image:
    """The photo, dimmed but for the patches, each of which lies where the model took it from."""
    times = max(_LEAST_SIDE // max(photo.size), 1)
    shown = photo.resize((photo.width * times, photo.height * times)) if times > 1 else photo.copy()
    shown.thumbnail((_SIDE, _SIDE))
    drawing = Image.eval(shown, lambda value: round(value * _DIM))
    pen = ImageDraw.Draw(drawing)
    boxes = []
    for patch in patches:
        left, top, right, bottom = classifier.crop.cell(patch, side, shown.width, shown.height)
        boxes.append((round(left), round(top), round(right), round(bottom)))
    for box in boxes:
        drawing.paste(shown.crop(box), box)
    for left, top, right, bottom in boxes:
        pen.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), outline=_MARK)
    return drawing
