"""Photos to tags: `ramkit tag`."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ramkit import console
from ramkit.cli.explained import FOLDER, Explainer, as_document, print_explained
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption, ModelOption

if TYPE_CHECKING:
    from ramkit.cascade import Cascade
    from ramkit.explanation import Explanation
    from ramkit.stages.tag import TaggedPhoto, TagScore
    from ramkit.tagger import Tagger

_ALIKE = 0.98  # cosine of a text's vectors: rounding leaves 0.999, another activation or encoder less


def tag(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Photos, folders, .tar or .parquet files.")],
    open_set: Annotated[
        list[str] | None,
        typer.Option(help="Words to score beside the model's own: comma-separated or @FILE; may be repeated."),
    ] = None,
    open_set_descriptions: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.json|descriptions:vN",
            help="Descriptions of typed words, as published or by `describe`; without --open-set all are asked.",
        ),
    ] = None,
    model: ModelOption = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="Encoder of typed words, where the model only names one that is not here.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Least score shown, 0 to 1; default: the model's own.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=0, help="Most tags a photo, typed words apart; 0 for all.")] = 20,
    at_least: Annotated[
        int, typer.Option(min=0, help="Tags a photo gets even below the model's own threshold, marked as unsure.")
    ] = 5,
    scores: Annotated[
        Literal["raw", "relative", "chance"],
        typer.Option(
            help="relative: each tag's own threshold is at 0.5; chance: that it is right (calibrated models)."
        ),
    ] = "raw",
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Tell why: descriptions chosen, heat maps; writes a PNG a photo."),
    ] = False,
    explain_to: Annotated[Path, typer.Option(help="Folder of the PNGs of --explain.")] = FOLDER,
    json: JsonOption = False,
    refine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD=MODEL[@SCORE]",
            help="Where WORD is found, ask a fine model which kind: dog=fine:v2; may be repeated. "
            "SCORE: from which on WORD counts as found; default: its threshold.",
        ),
    ] = None,
    refine_confidence: Annotated[
        float, typer.Option(help="Least score of a kind, 0 to 1; below it the photo stays with WORD.")
    ] = 0.5,
    artifacts: ArtifactsOption = ARTIFACTS,
) -> None:
    """Tag photos with a model's vocabulary and with any words you type."""
    from ramkit.cascade import open_cascade
    from ramkit.descriptions import read_descriptions
    from ramkit.progress import silent
    from ramkit.stages import tag as stage
    from ramkit.tagger import Tagger, find_model

    words = stage.read_words(open_set or [])
    texts = read_descriptions(artifacts, open_set_descriptions) if open_set_descriptions else {}
    words = words or list(texts)
    tagger = Tagger(find_model(artifacts, model), text_encoder=text_encoder or "")
    cascade = open_cascade(tagger, artifacts, refine or [], refine_confidence)
    for line in _asked_of_other_kinds(cascade) if cascade else ():
        console.say(line)
    asked = [*words, *(cascade.words if cascade else ())]
    if any(word.lower() not in tagger.numbers or word in texts for word in asked):
        _warn_of_another_encoder(tagger)
    # A progress bar and tables on one terminal would be drawn over one another.
    track = console.track if json or not console.results.is_terminal else silent
    found = stage.tag(
        photos=photos, tagger=tagger, open_set=words, descriptions=texts, threshold=threshold, top_k=top_k,
        at_least=at_least, scale=scores, cascade=cascade, track=track,
    )  # fmt: skip
    explainer = Explainer(tagger, explain_to, texts) if explain else None
    failed = total = 0
    documents = []
    for photo in found:
        total += 1
        failed += bool(photo.error)
        if photo.error:
            console.print_error(photo.error)
        why, picture = explainer.explain(photo) if explainer else ([], None)
        if json:
            documents.append(_as_document(photo, why))
        elif not photo.error:
            _print_tags(photo)
            if why:
                print_explained(why, tagger.token_places)
        if picture:
            console.say(f"why, as a picture: {picture}")
    if json:
        console.print_json(documents)
    for line in _refined_in_short(cascade) if cascade else ():
        console.say(line)
    if failed and total > 1:
        console.say(f"{failed} of {total} photos could not be read; they are named above.")
    if failed == total:
        raise typer.Exit(1)


def _warn_of_another_encoder(tagger: "Tagger") -> None:
    """Typed words mean little to a model whose own vectors another text encoder made."""
    agreement = tagger.text_agreement
    if agreement is not None and agreement < _ALIKE:
        console.say(
            f"{tagger.text_identity['spec']} is not what made this model's vectors (mean cosine {agreement:.2f} on its "
            "own texts): scores of typed words mean little. Name the right one with --text-encoder."
        )


def _asked_of_other_kinds(cascade: "Cascade") -> Iterator[str]:
    for word, kinds_of in cascade.other_supercategories.items():
        yield f"{cascade.model_of(word)} tells kinds of {kinds_of} apart; it is asked where {word} is found."


def _refined_in_short(cascade: "Cascade") -> Iterator[str]:
    """A line for each word that some photo was not refined by: why not, and what helps."""
    for word, tally in cascade.tallies.items():
        model = cascade.model_of(word)
        if tally.photos and not tally.found:
            value = shlex.quote(f"{word}={model}@SCORE")
            yield (
                f"{word}: found in no photo; its highest score is {tally.best:.3f}, the least that counts "
                f"{tally.least:.3f}. For a lower one: --refine {value}"
            )
        elif tally.told < tally.photos:
            unsure = f"; it is below --refine-confidence {cascade.confidence:g} on the others"
            yield (
                f"{word}: found in {tally.found} of {tally.photos} photos; {model} tells the kind in {tally.told}"
                f"{unsure if tally.told < tally.found else ''}."
            )


def _as_document(photo: "TaggedPhoto", why: Sequence["Explanation"]) -> dict[str, Any]:
    explained = {entry.tag: {"explanation": as_document(entry)} for entry in why}
    document: dict[str, Any] = {
        "image": photo.image,
        "tags": [{**_as_entry(entry), **explained.get(entry.tag, {})} for entry in photo.tags],
    }
    return {**document, "error": photo.error} if photo.error else document


def _as_entry(entry: "TagScore") -> dict[str, Any]:
    document = {"tag": entry.tag, "score": round(entry.score, 4), **dict.fromkeys(_marks(entry), True)}
    if (refined := entry.refined) is None:
        return document
    top = [{"kind": kind.kind, "score": round(kind.score, 4)} for kind in refined.kinds]
    told = top[0] if refined.sure else {**top[0], "kind": None}
    return {**document, "refined": {**told, "model": refined.model, "top": top}}


def _print_tags(photo: "TaggedPhoto") -> None:
    rows = [row for entry in photo.tags for row in _rows(entry)]
    if not rows:
        console.say(f"{photo.image}: no tag reaches the threshold; --threshold 0 shows all.")
        return
    columns = ["tag", "score", "", *([""] if any(row[-1] for row in rows) else [])]
    console.print_table(photo.image, columns, [row[: len(columns)] for row in rows])


def _rows(entry: "TagScore") -> list[list[Any]]:
    """The row of a tag and, indented under it, of its kind."""
    marks = ", ".join(_marks(entry)).replace("open_set", "typed")
    rows: list[list[Any]] = [[entry.tag, entry.score, _bar(entry.score), marks]]
    if entry.refined is not None and entry.refined.sure:
        best = entry.refined.best
        rows.append([f"  └ {best.kind}", best.score, _bar(best.score), entry.refined.model])
    return rows


def _marks(entry: "TagScore") -> list[str]:
    return [mark for mark in ("open_set", "unsure") if getattr(entry, mark)]


def _bar(score: float, width: int = 20) -> str:
    """The score as a bar, in eighths of a character."""
    eighths = round(score * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
