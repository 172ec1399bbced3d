"""Triplets and vectors to a model: `ramkit train`."""

from pathlib import Path
from typing import Annotated

import typer

from ramkit import console
from ramkit.cli.options import ARTIFACTS, ArtifactsOption

_SHIPPED = "ram-plus-swin-b-4m, ram-plus-swin-b-14m, ram-plus-swin-b-384, ram-plus-swin-l-14m, ram-plus-swin-l-384"


def train(
    artifacts: ArtifactsOption = ARTIFACTS,
    config: Annotated[
        Path | None, typer.Option(help=f"TOML file of settings (TrainConfig), or one that is shipped: {_SHIPPED}.")
    ] = None,
    vocabulary: Annotated[str | None, typer.Option(help="Vocabulary version; default: the newest.")] = None,
    triplets: Annotated[str | None, typer.Option(help="Triplets version; default: the newest.")] = None,
    embeddings: Annotated[str | None, typer.Option(help="Embeddings version; default: the newest.")] = None,
    image_encoder: Annotated[str | None, typer.Option(help="Any timm model.")] = None,
    image_weights: Annotated[
        str | None, typer.Option(help="`timm` (fetched by it), a file, or package:NAME of an installed package.")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option(help="Begin with a model's weights: model:vN, a folder, or `mini`.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the photos.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Photos a step, of each process.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder to write losses and learning rate into, for TensorBoard.")
    ] = None,
) -> None:
    """Train a model: triplets and embeddings → model. A stopped run goes on from its last checkpoint.

    On several GPUs: torchrun --nproc-per-node GPUS -m ramkit train …
    """
    from ramkit.config import TrainConfig, read_config
    from ramkit.stages import train as stage

    settings = read_config(
        config, TrainConfig, image_encoder=image_encoder, image_weights=image_weights,
        start_from=start_from, epochs=epochs, batch=batch, seed=seed,
    )  # fmt: skip
    made = stage.train(
        artifacts=artifacts, config=settings, vocabulary=vocabulary, triplets=triplets, embeddings=embeddings,
        tensorboard=tensorboard, track=console.track, tell=console.say,
    )  # fmt: skip
    for photo in made.statistics["unreadable"]:
        console.say(f"could not be read: {photo}")
    console.say(f"{made.name} in {made.path}")
    shown = ("tags", "photos", "unreadable_photos", "steps", "validation_map", "validation_f1", "threshold", "seconds")
    found = {name.replace("_", " "): made.statistics[name] for name in shown if name in made.statistics}
    rows = [[name, f"{value:.4g}" if isinstance(value, float) else f"{value:,}"] for name, value in found.items()]
    console.print_table("", ["measure", "value"], rows)
