"""triplets + embeddings → model: tags and captions are aligned with the image in one pass of the decoder."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ramkit import artifact
from ramkit.artifact import Artifact, Draft
from ramkit.config import TrainConfig, as_dict
from ramkit.embeddings import TENSORS, Embedded, read_embeddings
from ramkit.errors import ArtifactError, InputError
from ramkit.features import compute_features
from ramkit.files import read_rows, to_json_line, write_rows
from ramkit.image_encoder import ImageEncoder, create_image_encoder
from ramkit.metrics import best_threshold, mean_average_precision
from ramkit.progress import Track, silent
from ramkit.ram.model import AlignmentHead, ModelConfig
from ramkit.ram.photo_batches import AugmentedPhotos, CachedFeatures, ImageSource
from ramkit.ram.teacher import Teacher, imagenet_teacher
from ramkit.ram.training import Losses, Trainer, batches, epoch_order, remove_checkpoint
from ramkit.tagger import save_model, text_encoder_named
from ramkit.text.encoders import TextEncoder
from ramkit.triplets import Triplet, mentions, read_triplets, split

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"
FEATURES = ".features"  # folder in the artefact root
_DEFAULT_THRESHOLD = 0.68  # the published one, where nothing is kept aside to set it on


@dataclass(frozen=True)
class Task:
    """All that training reads, checked to belong together."""

    rows: list[dict[str, Any]]  # of the vocabulary, without what is held out
    embedded: Embedded
    images: list[str]  # all photos of the triplets, by position
    training: list[Triplet]
    validation: list[Triplet]
    inputs: list[Artifact]


def train(
    *,
    artifacts: Path,
    config: TrainConfig,
    embeddings: str | None = None,
    triplets: str | None = None,
    vocabulary: str | None = None,
    track: Track = silent,
    tell: Callable[[str], None] = lambda message: None,
) -> Artifact:
    """Train a model on the newest triplets and embeddings, or those named, and publish it.

    A killed run goes on from its last checkpoint when the same command is given again.

    Raises:
        ArtifactError: an input is missing or made from another vocabulary or text encoder.
        InputError: nothing to train on, or unusable weights.
    """
    started = time.monotonic()
    _check(config)
    task, text_encoder = _read_task(artifacts, config, vocabulary, triplets, embeddings)
    torch.manual_seed(config.seed)  # random weights, too, are the same in a run that goes on
    image_encoder = create_image_encoder(config.image_encoder, weights=config.image_weights, size=config.image_size)
    identities = {"text_encoder": text_encoder.identity(), "image_encoder_sha256": image_encoder.identity()}
    settings = {**as_dict(config), **identities}
    with artifact.draft(artifacts, "model", inputs=task.inputs, config=settings, resumable=True) as work:
        torch.manual_seed(config.seed)
        model = model_config(config, image_encoder, text_encoder.width)
        head = AlignmentHead(model)
        source = _image_source(artifacts, config, image_encoder, task.images, track)
        trained = _fit(work, task, head, image_encoder, source, text_encoder, config, track, tell)
        image_encoder.module.eval()
        threshold, quality = _validate(
            task, head.eval(), _validation_features(artifacts, task, source, image_encoder, track)
        )
        save_model(
            work.path,
            config=model,
            head=head,
            image_encoder=image_encoder.module,
            embedded=task.embedded,
            rows=task.rows,
            text_encoder=text_encoder,
            threshold=threshold,
        )
        work.statistics = {
            "tags": len(task.rows),
            "photos": sum(example.position not in source.failed for example in task.training),
            "unreadable": [task.images[position] for position in sorted(source.failed)][:20],
            "unreadable_photos": len(source.failed),
            "threshold": threshold,
            **trained,
            **quality,
            "seconds": round(time.monotonic() - started),
        }
        made = work.publish()
        remove_checkpoint(_checkpoint(work))
        return made


def _checkpoint(work: Draft) -> Path:
    """Beside the draft, not in it, so that it outlives even a kill while the model is published."""
    return work.path.with_name(f"{work.path.name}-{CHECKPOINT}")


def _check(config: TrainConfig) -> None:
    """Refuse numbers that no training can run with.

    Raises:
        InputError: names the setting.
    """
    counts = ("query_width", "heads", "hidden", "epochs", "batch", "checkpoint_steps")
    if wrong := [name for name in counts if getattr(config, name) < 1]:
        raise InputError(f"{wrong[0]} = {getattr(config, wrong[0])}.", cure="Give a whole number above 0.")
    least_zero = (
        "layers",
        "image_size",
        "tags_per_image",
        "captions_per_image",
        "warmup_steps",
        "clip_gradient",
        "dropout",
    )
    if wrong := [name for name in least_zero if getattr(config, name) < 0]:
        raise InputError(f"{wrong[0]} = {getattr(config, wrong[0])}.", cure="Give 0 or more.")
    if wrong := [name for name in ("validation", "dropout") if not 0 <= getattr(config, name) < 1]:
        raise InputError(f"{wrong[0]} = {getattr(config, wrong[0])}.", cure="Give a share from 0 to less than 1.")
    if config.query_width % config.heads:
        raise InputError(
            f"query_width = {config.query_width} is no multiple of heads = {config.heads}.", cure="Change one of them."
        )


def model_config(config: TrainConfig, image_encoder: ImageEncoder, embed_width: int) -> ModelConfig:
    """The architecture that a training configuration asks for."""
    return ModelConfig(
        image_encoder=config.image_encoder,
        image_size=image_encoder.preprocess.size,
        image_width=image_encoder.width,
        embed_width=embed_width,
        query_width=config.query_width,
        heads=config.heads,
        hidden=config.hidden,
        layers=config.layers,
        dropout=config.dropout,
        reweighting=config.reweighting,
        similarity=config.similarity,
        mean=image_encoder.preprocess.mean,
        std=image_encoder.preprocess.std,
        interpolation=image_encoder.preprocess.interpolation,
    )


def _read_task(
    artifacts: Path,
    config: TrainConfig,
    vocabulary: str | None,
    triplets: str | None,
    embeddings: str | None,
) -> tuple[Task, TextEncoder]:
    words = artifact.find(artifacts, "vocabulary", vocabulary)
    photos = artifact.find(artifacts, "triplets", triplets)
    vectors = artifact.find(artifacts, "embeddings", embeddings)
    photos.require_input(words)
    vectors.require_input(words)
    text_encoder = text_encoder_named(config.text_encoder or vectors.config["text_encoder"])
    if vectors.config["encoder"] != text_encoder.identity():
        raise ArtifactError(
            f"{vectors.name} was made with {vectors.config['encoder']['spec']}, training would use "
            f"{text_encoder.identity()['spec']}.",
            cure="Use the same text encoder, or embed anew: ramkit embed --text-encoder SPEC",
        )
    rows = list(read_rows(words.file("vocabulary.jsonl")))
    kept = _kept(rows, config.hold_out)
    examples = read_triplets(photos, [rows[number]["tag"] for number in kept], config.hold_out)
    useful = [example for example in examples if example.tags or example.captions]
    training, validation = split(useful, config.validation)
    if not training:
        raise InputError(f"{photos.path}: no photo with a tag or caption.", cure="Parse more captions.")
    task = Task(
        rows=[rows[number] for number in kept],
        embedded=read_embeddings(vectors.file(TENSORS)).choose(kept),
        images=[example.image for example in examples],
        training=training,
        validation=validation,
        inputs=[words, photos, vectors],
    )
    return task, text_encoder


def _kept(rows: Sequence[dict[str, Any]], hold_out: Sequence[str]) -> list[int]:
    """Numbers of the tags that training may see: none that is held out or has a held-out word within."""
    if unknown := sorted(set(hold_out) - {row["tag"] for row in rows}):
        raise InputError(f"hold_out names {', '.join(unknown)}: not in the vocabulary.", cure="Check the spelling.")
    forbidden = mentions(hold_out)
    return [
        number
        for number, row in enumerate(rows)
        if not any(forbidden(name) for name in [row["tag"], *row.get("aliases", ())])
    ]


def _image_source(
    artifacts: Path, config: TrainConfig, encoder: ImageEncoder, references: Sequence[str], track: Track
) -> ImageSource:
    """Of all photos, whether this run uses each or not, so that runs on parts of them share their features."""
    if not config.freeze_image_encoder:
        return AugmentedPhotos(references, encoder.preprocess, config.seed)
    return CachedFeatures(_features(artifacts, encoder, references, track))


def _features(artifacts: Path, encoder: ImageEncoder, references: Sequence[str], track: Track) -> Any:
    return compute_features(
        artifacts / FEATURES,
        references,
        identity=encoder.identity(),
        prepare=lambda photo, _: encoder.preprocess(photo),
        encode=encoder,
        track=track,
    )


def _fit(
    work: Draft,
    task: Task,
    head: AlignmentHead,
    image_encoder: ImageEncoder,
    source: ImageSource,
    text_encoder: TextEncoder,
    config: TrainConfig,
    track: Track,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Run all epochs, from the draft's checkpoint where it holds one."""
    triplets = {example.position: example for example in task.training}
    usable = [position for position in triplets if position not in source.failed]
    if not usable:
        raise _none_readable()
    steps_an_epoch = max(len(usable) // config.batch, 1)
    trainer = _trainer(task, head, image_encoder, text_encoder, config, steps_an_epoch)
    trainer.resume(_checkpoint(work))
    resumed = trainer.steps_done > 0
    if resumed:
        tell(f"going on after step {trainer.steps_done:,} of an earlier run")
    _cut_log(work.path / LOG, trainer.steps_done)
    captions = _CaptionVectors(text_encoder)
    total = config.epochs * steps_an_epoch
    steps = _steps(usable, source, config, steps_an_epoch, trainer.steps_done)
    meter: dict[str, list[float]] = {}
    for epoch, positions, images in track(steps, total=total, what="training", done=trainer.steps_done):
        if positions:
            losses = _step(trainer, images, [triplets[position] for position in positions], captions, epoch)
            for name in ("tag", "text", "teacher"):
                meter.setdefault(name, []).append(float(getattr(losses, name).detach()))
        else:
            trainer.skip()
        if trainer.steps_done % steps_an_epoch == 0:
            tell(_log_epoch(work.path / LOG, epoch, trainer, meter))
            meter.clear()
        if trainer.steps_done % config.checkpoint_steps == 0:
            trainer.save(_checkpoint(work))
    if not trainer.optimizer.state:  # not one step has changed a weight
        raise _none_readable()
    trainer.save(_checkpoint(work))  # what follows may be interrupted, too
    return {"steps": trainer.steps_done, "resumed": resumed}


def _trainer(
    task: Task,
    head: AlignmentHead,
    image_encoder: ImageEncoder,
    text_encoder: TextEncoder,
    config: TrainConfig,
    steps_an_epoch: int,
) -> Trainer:
    teacher = _teacher(config, text_encoder, image_encoder.width)
    if teacher is not None and config.teacher_start:
        head.start_from(*teacher.projection())
    trained = None if config.freeze_image_encoder else image_encoder.module.train()
    return Trainer(head, trained, task.embedded, teacher if config.teacher_loss else None, config, steps_an_epoch)


def _step(
    trainer: Trainer, images: torch.Tensor, examples: Sequence[Triplet], captions: "_CaptionVectors", epoch: int
) -> Losses:
    chosen = [(number, _one_of(example.captions, epoch)) for number, example in enumerate(examples)]
    if not trainer.config.text_loss:
        chosen = []  # nothing would be learnt from them
    owners = [number for number, text in chosen if text]
    vectors = captions([text for _, text in chosen if text])
    return trainer.step(images, [example.tags for example in examples], vectors, owners)


def _none_readable() -> InputError:
    return InputError("None of the photos to train on can be read.", cure="Check that they are where they were.")


def _steps(
    usable: Sequence[int], source: ImageSource, config: TrainConfig, steps_an_epoch: int, done: int
) -> Iterator[tuple[int, list[int], torch.Tensor]]:
    """(epoch, positions [B], images [B, …]) of every step that is not done yet."""
    for epoch in range(done // steps_an_epoch, config.epochs):
        order = torch.tensor(usable)[epoch_order(len(usable), epoch, config.seed)]
        skip = max(done - epoch * steps_an_epoch, 0)
        for positions, images in source.batches(list(batches(order, config.batch)), epoch, skip=skip):
            yield epoch, positions, images


def _one_of(captions: Sequence[str], epoch: int) -> str:
    """One caption a photo and epoch, in turn; empty where it has none."""
    return captions[epoch % len(captions)] if captions else ""


class _CaptionVectors:
    """Captions are encoded online, by a frozen encoder: what was encoded once is remembered, up to a limit."""

    _LIMIT = 300_000

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._known: dict[str, torch.Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [N, E]."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(new) > self._LIMIT:
            self._known.clear()
            new = list(dict.fromkeys(texts))
        # One by one: in a batch the last bits of a vector depend on the other texts, and a run that goes on from a
        # checkpoint would meet others than one that was never interrupted.
        self._known.update((text, self._encoder.encode([text])[0]) for text in new)
        return torch.stack([self._known[text] for text in texts]) if texts else torch.empty(0, self._encoder.width)


def _teacher(config: TrainConfig, text_encoder: TextEncoder, width: int) -> Teacher | None:
    if not (config.teacher_loss or config.teacher_start):
        return None
    return imagenet_teacher(config.image_weights, text_encoder.encode, width=width)


def _cut_log(path: Path, steps_done: int) -> None:
    """Forget the epochs that ended after the checkpoint: they are trained again."""
    if path.exists():
        write_rows(path, [row for row in read_rows(path) if row["step"] <= steps_done])


def _log_epoch(path: Path, epoch: int, trainer: Trainer, meter: dict[str, list[float]]) -> str:
    """Append a row to the log; returns the line a person reads."""
    rate = trainer.optimizer.param_groups[0]["lr"]
    means = {name: round(sum(values) / len(values), 4) for name, values in meter.items()}
    with path.open("a", encoding="utf-8") as stream:
        stream.write(to_json_line({"epoch": epoch + 1, "step": trainer.steps_done, "learning_rate": rate, **means}))
    told = ", ".join(f"{name} loss {value:.3f}" for name, value in means.items() if value)
    return f"epoch {epoch + 1} of {trainer.config.epochs}: {told}"


def _validation_features(
    artifacts: Path, task: Task, source: ImageSource, encoder: ImageEncoder, track: Track
) -> dict[int, torch.Tensor]:
    """Features [1, T, V] of the photos kept aside that can be read, by position in `task.validation`."""
    if isinstance(source, CachedFeatures):  # computed already, with all others
        places = [example.position for example in task.validation]
        store = source.store
    else:
        places = list(range(len(task.validation)))
        store = _features(artifacts, encoder, [example.image for example in task.validation], track)
    return {number: store[[place]] for number, place in enumerate(places) if place not in store.failed}


def _validate(task: Task, head: AlignmentHead, features: dict[int, torch.Tensor]) -> tuple[float, dict[str, Any]]:
    """(threshold with the best micro F1, statistics) on the photos kept aside, their captions' tags as labels."""
    labels = torch.zeros(len(features), len(task.rows), dtype=torch.bool)
    for row, number in enumerate(features):
        labels[row, task.validation[number].tags] = True
    if not labels.any():
        return _DEFAULT_THRESHOLD, {}
    scores = torch.cat([_scores(head, entry, task.embedded) for entry in features.values()])
    threshold, f1 = best_threshold(scores.numpy(), labels.numpy())
    found = mean_average_precision(scores.numpy(), labels.numpy())
    return threshold, {
        "validation_photos": len(features),
        "validation_f1": round(f1, 4),
        "validation_map": round(found, 4),
    }


def _scores(head: AlignmentHead, features: torch.Tensor, embedded: Embedded) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = head(features, embedded.descriptions, embedded.present)
        return logits.sigmoid()
