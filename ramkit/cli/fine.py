"""Kinds of one super-category: `ramkit fine train | evaluate | classify | explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption, JsonOption

if TYPE_CHECKING:
    from ramkit.fgvc.classifier import Classifier, KindScore

app = typer.Typer(
    help="Tell the kinds of one super-category apart: birds, dogs, flowers (MP-FGVC).",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
Layout = Literal["auto", "folder", "cub", "dogs", "nabirds", "food"]
LayoutOption = Annotated[Layout | None, typer.Option(help="How the photos lie; default: as their files tell.")]
FineOption = Annotated[str | None, typer.Option("--model", help="fine:vN or a folder; default: the newest here.")]
PhotosArgument = Annotated[
    list[str], typer.Argument(metavar="PHOTO...", help="Photos, folders, .tar or .parquet files.")
]


@app.command("train")
def train(
    photos: Annotated[str, typer.Argument(help="A folder or .tar with train/ and val/, or a published set's folder.")],
    supercategory: Annotated[str | None, typer.Option(help="What all kinds are, as in flower or 'wild cat'.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file of settings (FineTrainConfig), or a shipped one, as fine-cub.")
    ] = None,
    layout: LayoutOption = None,
    image_encoder: Annotated[
        str | None, typer.Option(help="A timm model, open_clip:MODEL/WEIGHTS, `mini` or model:vN (a tagging model's).")
    ] = None,
    image_weights: Annotated[
        str | None, typer.Option(help="`timm` (fetched by it), a file, or package:NAME of an installed package.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(min=0, help="Pixels of both sides; 0: the encoder's own.")] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="`mini`, sentence:FOLDER, sentence:package:NAME or open_clip:MODEL/WEIGHTS.")
    ] = None,
    patch_selection: Annotated[
        Literal["attention", "activation", "none"] | None,
        typer.Option(help="What the last layer sees: attention (SsVP), activation (encoders without class token)."),
    ] = None,
    train_layers: Annotated[
        int | None, typer.Option(min=-1, help="Last blocks of the image encoder that learn; -1: all, 0: none.")
    ] = None,
    views: Annotated[
        int | None, typer.Option(min=0, help="Fixed crops of each photo, kept; 0: new ones each epoch.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the photos in stage 1.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Photos a step, of all processes together.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the image encoder's last block.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    artifacts: ArtifactsOption = ARTIFACTS,
    json: JsonOption = False,
) -> None:
    """Train on photos sorted by kind: → fine. A stopped run goes on when the same command is given again."""
    from ramkit.config import FineTrainConfig, read_config
    from ramkit.stages import fine_train as stage

    settings = read_config(
        config, FineTrainConfig, supercategory=supercategory, layout=layout, image_encoder=image_encoder,
        image_weights=image_weights, image_size=image_size, text_encoder=text_encoder,
        patch_selection=patch_selection, train_layers=train_layers, views=views, epochs=epochs, batch=batch,
        learning_rate=learning_rate, seed=seed,
    )  # fmt: skip
    made = stage.fine_train(source=photos, artifacts=artifacts, config=settings, track=console.track, tell=console.say)
    if made is None:
        return
    for reason in made.statistics["unreadable"]:
        console.print_error(reason)
    for kind in made.statistics.get("unlearnt_kinds", ()):
        console.print_error(f"{kind}: none of its training photos can be read; the model has not learnt it.")
    if json:
        console.print_json({"model": made.name, **made.statistics})
        return
    hidden = ("unreadable", "missing", "unlearnt_kinds")
    rows = [[name.replace("_", " "), _shown(value)] for name, value in made.statistics.items() if name not in hidden]
    console.print_table("", ["measure", "value"], rows)
    console.say(f"{made.name} in {made.path}")


@app.command("evaluate")
def evaluate(
    photos: Annotated[
        str | None, typer.Argument(help="Photos sorted by kind; default: those the model was trained beside.")
    ] = None,
    model: FineOption = None,
    split: Annotated[
        Literal["train", "validation", "test"] | None, typer.Option(help="Default: test, or validation without one.")
    ] = None,
    layout: LayoutOption = None,
    artifacts: ArtifactsOption = ARTIFACTS,
    json: JsonOption = False,
) -> None:
    """Measure a fine-grained model on photos it was not trained on: top 1, top 5, each kind, what is confused."""
    from ramkit.stages import fine_evaluate as stage

    made = stage.fine_evaluate(
        artifacts=artifacts, source=photos or "", split=split or "", layout=layout or "", model=model,
        track=console.track,
    )  # fmt: skip
    metrics = stage.read_metrics(made)
    for line in metrics["unreadable"]:
        console.print_error(line)
    if json:
        console.print_json(metrics)
        return
    worst = sorted(metrics["per_kind"], key=lambda row: (row["top1"], row["kind"]))
    console.print_table(
        "Kinds, the hardest first", ["kind", "photos", "top 1"], [list(row.values()) for row in worst[:40]]
    )
    confused = [list(row.values()) for row in metrics["confusions"][:15]]
    if confused:
        console.print_table("What is taken for what", ["kind", "taken for", "times"], confused)
    names = [name for name, value in metrics.items() if not isinstance(value, list)]
    console.print_table("", ["measure", "value"], [[name.replace("_", " "), _shown(metrics[name])] for name in names])
    console.say(f"{made.name} in {made.path}")


@app.command("classify")
def classify(
    photos: PhotosArgument,
    model: FineOption = None,
    top_k: Annotated[int, typer.Option(min=0, help="Most kinds a photo; 0 for all.")] = 5,
    artifacts: ArtifactsOption = ARTIFACTS,
    json: JsonOption = False,
) -> None:
    """Tell which kind each photo shows."""
    from ramkit.progress import silent
    from ramkit.stages import fine_classify as stage

    classifier = _classifier(artifacts, model)
    track = console.track if json or not console.results.is_terminal else silent
    failed = total = 0
    documents = []
    for photo in stage.fine_classify(photos=photos, classifier=classifier, top_k=top_k, track=track):
        total += 1
        failed += bool(photo.error)
        if photo.error:
            console.print_error(photo.error)
        if json:
            documents.append(_document(photo.image, photo.kinds, photo.error))
        elif not photo.error:
            console.print_table(photo.image, [classifier.supercategory or "kind", "score"], _rows(photo.kinds))
    if json:
        console.print_json(documents)
    _finish(failed, total)


@app.command("explain")
def explain(
    photos: PhotosArgument,
    out: Annotated[Path, typer.Option(help="Folder for the drawings.")] = Path("explained"),
    model: FineOption = None,
    artifacts: ArtifactsOption = ARTIFACTS,
    json: JsonOption = False,
) -> None:
    """Draw on each photo the patches that the model's last layer saw."""
    from ramkit.stages import fine_explain as stage

    classifier = _classifier(artifacts, model)
    failed = total = 0
    documents = []
    found = stage.fine_explain(photos=photos, classifier=classifier, folder=out, track=console.track)
    for photo in found:
        total += 1
        failed += bool(photo.error)
        if photo.error:
            console.print_error(photo.error)
        elif not json:
            best = photo.kinds[0]
            seen = f"{len(photo.patches)} of {photo.side**2} patches"
            line = f"{photo.image}: {best.kind} ({best.score:.3f}), by {seen}; drawn in {photo.drawing}"
            console.results.print(line, markup=False, soft_wrap=True)
        document = _document(photo.image, photo.kinds, photo.error)
        documents.append(
            {**document, "patches": photo.patches, "side": photo.side, "drawing": str(photo.drawing or "")}
        )
    if json:
        console.print_json(documents)
    _finish(failed, total)


def _classifier(artifacts: Path, model: str | None) -> "Classifier":
    from ramkit import artifact
    from ramkit.distributed import choose_device
    from ramkit.fgvc.classifier import KIND, Classifier

    return Classifier(artifact.find(artifacts, KIND, model), choose_device("auto"))


def _document(image: str, kinds: "list[KindScore]", error: str) -> dict[str, Any]:
    rows = [{"kind": entry.kind, "score": round(entry.score, 4)} for entry in kinds]
    return {"image": image, "kinds": rows, **({"error": error} if error else {})}


def _rows(kinds: "list[KindScore]") -> list[list[Any]]:
    return [[entry.kind, entry.score] for entry in kinds]


def _finish(failed: int, total: int) -> None:
    """Exit code 1 where no photo at all could be read."""
    if failed and total > 1:
        console.say(f"{failed} of {total} photos could not be read; they are named above.")
    if failed == total:
        raise typer.Exit(1)


def _shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
