"""RAM++'s benchmarks in their published files: a tag list, and a row a photo of names or of class numbers.

    test/000411001ff7dd4f,chicken,bird        names: OpenImages
    HICO_test2015_00000002.jpg,131 139 143    numbers in the tag list, from 0: ImageNet-Multi, HICO

A row may name no tag: none is true of that photo. In ImageNet-Multi's list two names stand for two classes each; each
class is a column of its own, its number beside the name.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ramkit.errors import InputError
from ramkit.labels.images import ImageFinder
from ramkit.labels.labelled import LabelledPhoto, LabelledSet


@dataclass(frozen=True)
class Benchmark:
    """One of the paper's, as its files have it."""

    name: str
    files: str  # how the names of its files begin
    tags: int
    photos: int
    numbers: bool = False  # rows hold class numbers, not names
    remark: str = ""


_UNPUBLISHED = (
    "ImageNet-Multi's split into 492 common and 508 uncommon classes is unpublished: here a class is common if the"
    " model's vocabulary has it, by its own name or by an alias too."
)
BENCHMARKS = {
    entry.name: entry
    for entry in (
        Benchmark("openimages-common", "openimages_common_214_ram", 214, 57_224),
        Benchmark("openimages-uncommon", "openimages_rare_200_ram", 200, 21_991),
        Benchmark("imagenet-multi", "imagenet_multi_1000", 1000, 5_000, numbers=True, remark=_UNPUBLISHED),
        Benchmark("hico", "hico_600", 600, 9_658, numbers=True),
    )
}


def read_benchmark(
    name: str, *, annotations: Path | None, tag_list: Path | None = None, images: Sequence[str] = ()
) -> LabelledSet:
    """A benchmark from its published files.

    Args:
        annotations: the annotation file, or a folder that holds it under its published name.
        tag_list: the tag list; None looks for it beside the annotations, under its published name.
        images: folders and shards with the photos; none means beside the annotations.

    Raises:
        InputError: an unknown benchmark, a file that is missing or of another benchmark, or no photo at all.
    """
    if name not in BENCHMARKS:
        raise InputError(f"No benchmark is called {name!r}.", cure=f"Known: {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    if annotations is None:
        raise InputError(
            f"{name} needs its annotations.",
            cure=f"Name {benchmark.files}_annots.txt, or its folder: --annotations PATH",
        )
    rows = annotations if annotations.is_file() else _published(annotations, benchmark, "annots")
    tags = _read_tags(tag_list or _published(rows.parent, benchmark, "taglist"), benchmark)
    columns = _columns(tags)
    finder = ImageFinder(images, rows.parent, last_part=True)
    photos = [LabelledPhoto(finder.reference(image), own) for image, own in _read_rows(rows, benchmark, tags, columns)]
    # As people write them: "person sit_on bench" is asked as "person sit on bench".
    texts = {column: tag.replace("_", " ") for column, tag in zip(columns, tags, strict=True)}
    asked_otherwise = {column: text for column, text in texts.items() if column != text}
    return LabelledSet(photos, columns, asked_otherwise, benchmark.remark)


def _published(folder: Path, benchmark: Benchmark, what: str) -> Path:
    """The one file of a benchmark in a folder or in a folder of it."""
    pattern = f"{benchmark.files}_{what}*.txt"
    found = sorted({*folder.glob(pattern), *folder.glob(f"*/{pattern}")})
    if len(found) != 1:
        there = f"{len(found)} files {pattern}" if found else f"no {benchmark.files}_{what}.txt"
        option = "--annotations" if what == "annots" else "--tag-list"
        raise InputError(f"{folder}: {there} here.", cure=f"Name the file: {option} FILE")
    return found[0]


def _read_tags(path: Path, benchmark: Benchmark) -> list[str]:
    tags = [line.strip() for line in _lines(path) if line.strip()]
    if len(tags) != benchmark.tags:
        raise InputError(
            f"{path}: {len(tags)} tags, {benchmark.name} has {benchmark.tags}.", cure="Name its own list: --tag-list"
        )
    return tags


def _columns(tags: Sequence[str]) -> list[str]:
    """The tags; those that come more than once with their numbers."""
    counts = Counter(tags)
    return [tag if counts[tag] == 1 else f"{tag} [{number}]" for number, tag in enumerate(tags)]


def _read_rows(
    path: Path, benchmark: Benchmark, tags: Sequence[str], columns: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    by_tag: dict[str, list[str]] = {}
    for tag, column in zip(tags, columns, strict=True):
        by_tag.setdefault(tag, []).append(column)
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        image, _, rest = line.strip().partition(",")
        cells = rest.replace(",", " ").split() if benchmark.numbers else [cell for cell in rest.split(",") if cell]
        labels = []
        for cell in cells:
            columns_of_cell = _numbered(cell, columns) if benchmark.numbers else by_tag.get(cell.strip(), [])
            if not columns_of_cell:
                raise InputError(
                    f"{path}, line {number}: {cell!r} is none of the {len(tags)} tags of {benchmark.name}.",
                    cure=f"Name its own annotations ({benchmark.files}_annots.txt) and tag list.",
                )
            labels.extend(columns_of_cell)
        yield image, labels


def _numbered(cell: str, columns: Sequence[str]) -> list[str]:
    return [columns[int(cell)]] if cell.isascii() and cell.isdigit() and int(cell) < len(columns) else []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable ({error}).", cure="Name one of the published files.") from None
