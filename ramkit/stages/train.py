"""triplets + embeddings → model: tags and captions are aligned with the image in one pass of the decoder."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ramkit import artifact
from ramkit.artifact import Artifact, Draft
from ramkit.checkpoints import Checkpoints
from ramkit.config import TrainConfig, as_dict
from ramkit.distributed import Team, join_team
from ramkit.embeddings import TENSORS, TEXTS, Embedded, Queries, read_embeddings
from ramkit.errors import ArtifactError, InputError
from ramkit.features import FEATURES, FeatureStore, compute_features
from ramkit.files import read_rows
from ramkit.image_encoder import ImageEncoder, adopt_weights, create_image_encoder
from ramkit.measuring.metrics import best_threshold, mean_average_precision
from ramkit.progress import Track, silent
from ramkit.ram.captions import CaptionVectors
from ramkit.ram.distillation import Distillation, read_distillation
from ramkit.ram.fit import Examples, fit, none_readable
from ramkit.ram.model import AlignmentHead, ModelConfig
from ramkit.ram.photo_batches import AugmentedPhotos, CachedFeatures, ImageSource
from ramkit.ram.teacher import Teacher, imagenet_teacher
from ramkit.ram.training import Trainer
from ramkit.ram.training_log import TrainingLog
from ramkit.tagger import Tagger, find_model, save_model, text_encoder_named
from ramkit.text.encoders import TextEncoder
from ramkit.text.prompts import LITERAL
from ramkit.triplets import Images, Triplets, mentions, read_triplets

_DEFAULT_THRESHOLD = 0.68  # the published one, where nothing is kept aside to set it on
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Task:
    """All that training reads, checked to belong together."""

    rows: list[dict[str, Any]]  # of the vocabulary, without what is held out
    asked: Embedded  # what training asks the tags by
    embedded: Embedded  # what the finished model asks them by
    texts: list[list[str]]  # behind `embedded`, or none
    wording: str  # of description 0
    images: Images  # all photos of the triplets, by position
    training: Triplets
    validation: Triplets
    inputs: list[Artifact]


@dataclass(frozen=True)
class Tools:
    """The encoders of a run."""

    image_encoder: ImageEncoder
    text_encoder: TextEncoder
    distillation: Distillation | None
    start: Tagger | None  # the model whose weights training begins with

    def identities(self) -> dict[str, Any]:
        """For the manifest: hashes of the weights that training begins with."""
        distilled = {} if self.distillation is None else {"distillation_sha256": self.distillation.identity()}
        return {
            "text_encoder": self.text_encoder.identity(),
            "image_encoder_sha256": self.image_encoder.identity(),
            **distilled,
        }


def train(
    *,
    artifacts: Path,
    config: TrainConfig,
    embeddings: str | None = None,
    triplets: str | None = None,
    vocabulary: str | None = None,
    tensorboard: Path | None = None,
    track: Track = silent,
    tell: Callable[[str], None] = lambda message: None,
) -> Artifact:
    """Train a model on the newest triplets and embeddings, or those named, and publish it.

    A killed run goes on from its last checkpoint when the same command is given again. Started by torchrun, its
    processes train one model together; each of them returns it.

    Args:
        tensorboard: a folder to write losses and learning rate into as well.

    Raises:
        ArtifactError: an input is missing or made from another vocabulary or text encoder.
        InputError: nothing to train on, or unusable weights.
    """
    started = time.monotonic()
    _check(config)
    with join_team(config.device) as team:
        task, text_encoder = _read_task(artifacts, config, vocabulary, triplets, embeddings)
        torch.manual_seed(config.seed)  # random weights, too, are the same in a run that goes on
        tools = _tools(artifacts, config, text_encoder, team.device)
        settings = {**as_dict(config), **tools.identities()}
        inputs = task.inputs if tools.start is None else [*task.inputs, tools.start.source]
        with _draft(artifacts, inputs, settings, team) as work:
            torch.manual_seed(config.seed)
            model = model_config(config, tools.image_encoder, text_encoder.width)
            source = _image_source(artifacts, config, tools, task.images, team.device, track)
            head, image_encoder, trained = _fit(
                work, task, tools, _head(model, tools.start), source, config, team,
                track=track, tell=tell, tensorboard=tensorboard,
            )  # fmt: skip
            if not team.first:
                return artifact.load(Path(team.share("published")), "model")
            made = _publish(work, task, tools, model, head, image_encoder, source, trained, track, started)
            team.share("published", str(made.path))
            return made


@contextmanager
def _draft(root: Path, inputs: Sequence[Artifact], settings: dict[str, Any], team: Team) -> Iterator[Draft]:
    """The first process opens the draft and publishes it; the others are told where it is."""
    if not team.first:
        yield Draft(root, "model", Path(team.share("draft")), inputs, settings, resumed=False)
        return
    with artifact.draft(root, "model", inputs=inputs, config=settings, resumable=True) as work:
        team.share("draft", str(work.path))
        yield work


def _publish(
    work: Draft,
    task: Task,
    tools: Tools,
    model: ModelConfig,
    head: AlignmentHead,
    image_encoder: ImageEncoder,
    source: ImageSource,
    trained: dict[str, Any],
    track: Track,
    started: float,
) -> Artifact:
    image_encoder.module.eval()
    store, places = _validation_features(work.root, task, source, image_encoder, track)
    threshold, quality = _validate(task, head.eval(), store, places)
    save_model(
        work.path,
        config=model,
        head=head,
        image_encoder=image_encoder.module,
        embedded=task.embedded,
        rows=task.rows,
        texts=task.texts,
        wording=task.wording,
        text_encoder=tools.text_encoder,
        threshold=threshold,
    )
    work.statistics = {
        "tags": len(task.rows),
        "photos": len(task.training) - sum(position in source.failed for position in task.training.positions),
        "unreadable": [task.images[position] for position in sorted(source.failed)][:20],
        "unreadable_photos": len(source.failed),
        "threshold": threshold,
        **trained,
        **quality,
        "seconds": round(time.monotonic() - started),
    }
    made = work.publish()
    _checkpoints(work).remove()
    return made


def _checkpoints(work: Draft) -> Checkpoints:
    """Beside the draft, not in it, so that they outlive even a kill while the model is published."""
    return Checkpoints(work.path)


def _check(config: TrainConfig) -> None:
    """Refuse numbers that no training can run with.

    Raises:
        InputError: names the setting.
    """
    counts = ("query_width", "heads", "hidden", "epochs", "batch", "accumulate", "checkpoint_steps")
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
    if config.similarity and config.alignment != "itta":
        raise InputError(
            f"similarity = true goes with alignment 'itta', not {config.alignment!r}.", cure="Change one of them."
        )
    if config.start_from and config.teacher_start:
        raise InputError("start_from and teacher_start are two beginnings.", cure="Choose one of them.")
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
        alignment=config.alignment,
        queries=_queries_at_inference(config),
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
    if embeddings is None:
        _require_newest_descriptions(artifacts, vectors, words)
    text_encoder = text_encoder_named(config.text_encoder or vectors.config["text_encoder"])
    if vectors.config["encoder"] != text_encoder.identity():
        raise ArtifactError(
            f"{vectors.name} was made with {_named(vectors.config['encoder'])}, training would use "
            f"{_named(text_encoder.identity())}.",
            cure=f"Embed anew: ramkit embed --text-encoder {config.text_encoder or vectors.config['text_encoder']}",
        )
    rows = list(read_rows(words.file("vocabulary.jsonl")))
    kept = _kept(rows, config.hold_out)
    examples = read_triplets(photos, [rows[number]["tag"] for number in kept], config.hold_out)
    training, validation = examples.split(config.validation, empty=False)
    if not len(training):
        raise InputError(f"{photos.path}: no photo with a tag or caption.", cure="Parse more captions.")
    texts = [row["texts"] for row in read_rows(vectors.file(TEXTS)) if "texts" in row]  # older ones hold hashes alone
    described = read_embeddings(vectors.file(TENSORS)).choose(kept)
    embedded = described.queries(_queries_at_inference(config))
    task = Task(
        rows=[rows[number] for number in kept],
        asked=described.queries(config.queries),
        embedded=embedded,
        texts=[texts[number][:count] for number, count in zip(kept, embedded.counts.tolist(), strict=True)]
        if texts
        else [],
        wording=vectors.config.get("template", LITERAL),
        images=examples.images,
        training=training,
        validation=validation,
        inputs=[words, photos, vectors],
    )
    return task, text_encoder


def _queries_at_inference(config: TrainConfig) -> Queries:
    return config.queries if config.queries_at_inference == "same" else config.queries_at_inference


def _require_newest_descriptions(artifacts: Path, vectors: Artifact, words: Artifact) -> None:
    """Refuse embeddings that were not made again after the vocabulary was described anew; named ones are meant."""
    for version in artifact.versions(artifacts, "descriptions")[-1:]:
        newest = artifact.read_manifest(artifacts / "descriptions" / f"v{version}")
        used = vectors.manifest["inputs"]["descriptions"]
        if newest["inputs"].get("vocabulary") == words.id and newest["id"] != used:
            raise ArtifactError(
                f"{vectors.name} was made from other descriptions than the newest, descriptions:v{version}.",
                cure=f"Embed those: ramkit embed; or name the embeddings you mean: --embeddings v{vectors.version}",
            )


def _named(identity: dict[str, str]) -> str:
    return f"{identity['spec']} ({identity['sha256'][:12]})"


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


def _tools(artifacts: Path, config: TrainConfig, text_encoder: TextEncoder, device: torch.device) -> Tools:
    start = None
    if config.start_from:
        start = Tagger(find_model(artifacts, config.start_from))
        if start.text_identity != text_encoder.identity():
            raise ArtifactError(
                f"{start.source.name} was trained with {start.text_identity['spec']}, training would use "
                f"{text_encoder.identity()['spec']}.",
                cure="Embed the descriptions with that: ramkit embed --text-encoder SPEC",
            )
    weights = config.image_weights if start is None else ""
    image_encoder = create_image_encoder(config.image_encoder, weights=weights, size=config.image_size)
    if start is not None:
        adopt_weights(image_encoder.module, start.image_encoder.state_dict(), start.source.name)
    distillation = None
    if config.distillation_loss:
        distillation = read_distillation(config.distillation_model, width=text_encoder.width, device=device)
    return Tools(image_encoder, text_encoder, distillation, start)


def _head(config: ModelConfig, start: Tagger | None) -> AlignmentHead:
    """A new head, with the weights of an earlier model where there is one."""
    head = AlignmentHead(config)
    if start is not None:
        own, theirs = head.state_dict(), start.head.state_dict()
        names = sorted(own.keys() | theirs.keys())
        if wrong := [
            name for name in names if not (name in own and name in theirs) or own[name].shape != theirs[name].shape
        ]:
            raise InputError(
                f"{start.source.name} has another head: {wrong[0]} and {len(wrong) - 1} more tensors differ.",
                cure="Set query_width, heads, hidden, layers, similarity and alignment as there.",
            )
        head.load_state_dict(theirs)
    return head


def _image_source(
    artifacts: Path, config: TrainConfig, tools: Tools, references: Sequence[str], device: torch.device, track: Track
) -> ImageSource:
    """Of all photos, whether this run uses each or not, so that runs on parts of them share their features."""
    encoder, distillation = tools.image_encoder, tools.distillation
    if not config.freeze_image_encoder:
        guide = None if distillation is None else distillation.preprocess
        same_crop = config.distillation_crop == "same"
        return AugmentedPhotos(references, encoder.preprocess, config.seed, guide=guide, same_crop=same_crop)
    store = _features(artifacts, encoder, references, track, device)
    if distillation is None:
        return CachedFeatures(store)
    seen = compute_features(
        artifacts / FEATURES,
        references,
        identity=f"clip {distillation.identity()}",
        prepare=lambda photo, _: distillation.preprocess(photo),
        encode=lambda pixels: distillation(pixels.to(device)).unsqueeze(1).cpu(),  # one token an image
        track=track,
    )
    return CachedFeatures(store, seen)


def _features(
    artifacts: Path, encoder: ImageEncoder, references: Sequence[str], track: Track, device: torch.device = _CPU
) -> FeatureStore:
    identity = encoder.identity()
    encoder.module.to(device)
    store = compute_features(
        artifacts / FEATURES,
        references,
        identity=identity,
        prepare=lambda photo, _: encoder.preprocess(photo),
        encode=lambda pixels: encoder(pixels.to(device)).cpu(),
        track=track,
    )
    encoder.module.to(_CPU)
    return store


def _fit(
    work: Draft,
    task: Task,
    tools: "Tools",
    head: AlignmentHead,
    source: ImageSource,
    config: TrainConfig,
    team: Team,
    *,
    track: Track,
    tell: Callable[[str], None],
    tensorboard: Path | None,
) -> tuple[AlignmentHead, ImageEncoder, dict[str, Any]]:
    """(head, image encoder, statistics) after all epochs, from the newest checkpoint where there is one."""
    positions = task.training.positions
    usable = positions[~np.isin(positions, list(source.failed))]
    if not len(usable):
        raise none_readable()
    teacher = _teacher(config, tools.text_encoder, tools.image_encoder.width)
    if teacher is not None and config.teacher_start:
        head.start_from(*teacher.projection())
    trainer = Trainer(
        head,
        None if config.freeze_image_encoder else tools.image_encoder.module.train(),
        task.asked,
        teacher if config.teacher_loss else None,
        config,
        steps_an_epoch=max(len(usable) // (config.batch * team.size), 1),
        distillation=tools.distillation,
        team=team,
    )
    examples = Examples(task.training, usable, source, CaptionVectors(tools.text_encoder))
    log = TrainingLog(work.path, tensorboard=tensorboard if team.first else None)
    statistics = fit(trainer, examples, _checkpoints(work), log, track, tell)
    head, module = trainer.finish()
    return head, tools.image_encoder if module is None else replace(tools.image_encoder, module=module), statistics


def _teacher(config: TrainConfig, text_encoder: TextEncoder, width: int) -> Teacher | None:
    if not (config.teacher_loss or config.teacher_start):
        return None
    return imagenet_teacher(config.image_weights, text_encoder.encode, width=width)


def _validation_features(
    artifacts: Path, task: Task, source: ImageSource, encoder: ImageEncoder, track: Track
) -> tuple[FeatureStore, dict[int, int]]:
    """Features of the photos kept aside; of those that can be read, place in the store by number in the validation."""
    if isinstance(source, CachedFeatures):  # computed already, with all others
        places = task.validation.positions.tolist()
        store = source.store
    else:
        places = list(range(len(task.validation)))
        store = _features(artifacts, encoder, [example.image for example in task.validation], track)
    return store, {number: place for number, place in enumerate(places) if place not in store.failed}


def _validate(
    task: Task, head: AlignmentHead, store: FeatureStore, places: dict[int, int]
) -> tuple[float, dict[str, Any]]:
    """(threshold with the best micro F1, statistics) on the photos kept aside, their captions' tags as labels."""
    labels = torch.zeros(len(places), len(task.rows), dtype=torch.bool)
    for row, number in enumerate(places):
        labels[row, task.validation[number].tags] = True
    if not labels.any():
        return _DEFAULT_THRESHOLD, {}
    scores = torch.cat([_scores(head, store[[place]], task.embedded) for place in places.values()])
    threshold, f1 = best_threshold(scores.numpy(), labels.numpy())
    found = mean_average_precision(scores.numpy(), labels.numpy())
    return threshold, {
        "validation_photos": len(places),
        "validation_f1": round(f1, 4),
        "validation_map": round(found, 4),
    }


def _scores(head: AlignmentHead, features: torch.Tensor, embedded: Embedded) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = head(features, embedded.descriptions, embedded.present)
        return logits.sigmoid()
