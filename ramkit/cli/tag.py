"""Photos to tags: `ramkit tag`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption, ModelOption

if TYPE_CHECKING:
    from ramkit.stages.tag import TaggedPhoto, TagScore


def tag(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Photos, folders or .tar shards.")],
    open_set: Annotated[
        list[str] | None,
        typer.Option(help="Words to score beside the model's own: comma-separated or @FILE; may be repeated."),
    ] = None,
    model: ModelOption = None,
    threshold: Annotated[
        float | None, typer.Option(help="Least score shown, 0 to 1; default: the model's own.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=0, help="Most tags a photo, typed words apart; 0 for all.")] = 20,
    at_least: Annotated[
        int, typer.Option(min=0, help="Tags a photo gets even below the model's own threshold, marked as unsure.")
    ] = 5,
    json: JsonOption = False,
    artifacts: ArtifactsOption = ARTIFACTS,
) -> None:
    """Tag photos with a model's vocabulary and with any words you type."""
    from ramkit.progress import silent
    from ramkit.stages import tag as stage
    from ramkit.tagger import Tagger, find_model

    words = stage.read_words(open_set or [])
    tagger = Tagger(find_model(artifacts, model))
    # A progress bar and tables on one terminal would be drawn over one another.
    track = console.track if json or not console.results.is_terminal else silent
    found = stage.tag(
        photos=photos, tagger=tagger, open_set=words, threshold=threshold, top_k=top_k, at_least=at_least, track=track
    )
    failed = total = 0
    documents = []
    for photo in found:
        total += 1
        failed += bool(photo.error)
        if photo.error:
            console.print_error(photo.error)
        if json:
            documents.append(_as_document(photo))
        elif not photo.error:
            _print_tags(photo)
    if json:
        console.print_json(documents)
    if failed and total > 1:
        console.say(f"{failed} of {total} photos could not be read; they are named above.")
    if failed == total:
        raise typer.Exit(1)


def _as_document(photo: "TaggedPhoto") -> dict[str, Any]:
    document: dict[str, Any] = {
        "image": photo.image,
        "tags": [
            {"tag": entry.tag, "score": round(entry.score, 4), **dict.fromkeys(_marks(entry), True)}
            for entry in photo.tags
        ],
    }
    return {**document, "error": photo.error} if photo.error else document


def _print_tags(photo: "TaggedPhoto") -> None:
    rows = [
        [entry.tag, entry.score, _bar(entry.score), ", ".join(_marks(entry)).replace("open_set", "typed")]
        for entry in photo.tags
    ]
    if not rows:
        console.say(f"{photo.image}: no tag reaches the threshold; --threshold 0 shows all.")
        return
    marked = any(_marks(entry) for entry in photo.tags)
    columns = ["tag", "score", "", *([""] if marked else [])]
    console.print_table(photo.image, columns, [row[: len(columns)] for row in rows])


def _marks(entry: "TagScore") -> list[str]:
    return [mark for mark in ("open_set", "unsure") if getattr(entry, mark)]


def _bar(score: float, width: int = 20) -> str:
    """The score as a bar, in eighths of a character."""
    eighths = round(score * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
