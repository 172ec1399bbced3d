"""photos of one super-category's kinds → fine: MP-FGVC, in two stages.

Started by torchrun, the processes train stage 1 together; the first alone does what is little: stage 2, and writing.
"""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ramkit import artifact
from ramkit.artifact import Artifact, Draft
from ramkit.checkpoints import Checkpoints
from ramkit.config import FineTrainConfig, as_dict
from ramkit.distributed import Team, join_team
from ramkit.errors import InputError
from ramkit.features import FEATURES
from ramkit.fgvc import course
from ramkit.fgvc.classifier import KIND, round_weights, save_classifier
from ramkit.fgvc.crops import middle_crop
from ramkit.fgvc.encoders import CLIP, create_encoder
from ramkit.fgvc.examples import FineDataset, read_dataset
from ramkit.fgvc.measuring import measure, summary
from ramkit.fgvc.model import FineHead, HeadConfig
from ramkit.fgvc.photo_views import DrawnViews, Views, ViewSource, keep_views
from ramkit.fgvc.prompts import Prompts
from ramkit.fgvc.training import Outcome, StageOne, StageTwo, autocast, epoch_batches
from ramkit.fgvc.vision import ALL, Vision
from ramkit.image_encoder import ImageEncoder, fit_to_size
from ramkit.progress import Track, silent
from ramkit.tagger import BUNDLED, Tagger, find_model, text_encoder_named
from ramkit.text.encoders import TextEncoder

_FUSION_VIEWS = 4  # variants of each photo that stage 2 sees, where stage 1 draws a new one each epoch

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """All that training works with."""

    config: FineTrainConfig
    dataset: FineDataset
    supercategory: str
    encoder: ImageEncoder
    text_encoder: TextEncoder | None
    team: Team

    @property
    def images(self) -> list[str]:
        return [example.image for example in self.dataset.train]

    def kinds(self, positions: list[int]) -> torch.Tensor:
        """Numbers [B] of the kinds of training photos."""
        found = torch.tensor([self.dataset.train[position].kind for position in positions], dtype=torch.long)
        return found.to(self.team.device)


def fine_train(
    *,
    source: str,
    artifacts: Path,
    config: FineTrainConfig,
    track: Track = silent,
    tell: Tell = lambda message: None,
) -> Artifact | None:
    """Train on the photos at `source` and publish a `fine` artefact; None in all but the first process of a team.

    A killed run goes on from its last checkpoint when the same command is given again.

    Raises:
        InputError: no photos of kinds there, settings that do not fit, or an unusable encoder.
    """
    started = time.monotonic()
    _check(config)
    with join_team(config.device) as team:
        if not team.first:
            track, tell = silent, lambda message: None
        task = _read_task(source, artifacts, config, team)
        if task.dataset.name:
            tell(_introduction(source, task))
        with _draft(task, artifacts, source) as (folder, work):
            torch.manual_seed(config.seed)  # random weights, too, are the same in a run that goes on
            vision = Vision(
                task.encoder.module, config.image_encoder, task.encoder.preprocess.size,
                selection=config.patch_selection, patches=config.patches, train_layers=config.train_layers,
            ).to(team.device)  # fmt: skip
            head = FineHead(_head_config(task, vision)).to(team.device)
            trained = _train(task, vision, head, folder, artifacts, track, tell)
            if work is None:
                return None
            work.statistics = {
                "kinds": len(task.dataset.kinds),
                **_missing(task.dataset),
                **trained,
                **_validate(task, vision, head, track),
                "seconds": round(time.monotonic() - started),
            }
            save_classifier(
                folder, kinds=task.dataset.kinds, supercategory=task.supercategory, encoder=task.encoder,
                vision=vision.cpu(), head=head.cpu(), crop_share=config.crop_share,
            )  # fmt: skip
            made = work.publish()
            for checkpoints in _checkpoints(folder):
                checkpoints.remove()
            return made


def _check(config: FineTrainConfig) -> None:
    """Refuse numbers that no training can run with.

    Raises:
        InputError: names the setting.
    """
    counts = ("prompt_tokens", "epochs", "fusion_epochs", "batch", "fusion_batch", "checkpoint_steps", "prompt_chunk")
    if wrong := [name for name in counts if getattr(config, name) < 1]:
        raise InputError(f"{wrong[0]} = {getattr(config, wrong[0])}.", cure="Give a whole number above 0.")
    least_zero = ("image_size", "patches", "views", "warmup_epochs", "weight_decay", "clip_gradient", "workers")
    if wrong := [name for name in least_zero if getattr(config, name) < 0]:
        raise InputError(f"{wrong[0]} = {getattr(config, wrong[0])}.", cure="Give 0 or more.")
    above_zero = ("learning_rate", "fusion_learning_rate", "head_factor", "temperature", "crop_share", "layer_decay")
    if wrong := [name for name in above_zero if getattr(config, name) <= 0]:
        raise InputError(f"{wrong[0]} = {getattr(config, wrong[0])}.", cure="Give a number above 0.")
    if wrong := [name for name in ("crop_share", "layer_decay") if getattr(config, name) > 1]:
        raise InputError(f"{wrong[0]} = {getattr(config, wrong[0])}.", cure="Give 1 or less.")
    if not 0 <= config.label_smoothing < 1:
        raise InputError(f"label_smoothing = {config.label_smoothing}.", cure="Give a share from 0 to less than 1.")


def _read_task(source: str, artifacts: Path, config: FineTrainConfig, team: Team) -> Task:
    dataset = read_dataset(source, config.layout)
    supercategory = config.supercategory.strip() or dataset.supercategory
    if config.text_prompts and not supercategory:
        raise InputError(
            f"{source}: what are its kinds kinds of?", cure="Name their super-category, as in --supercategory flower."
        )
    if len(dataset.train) < config.batch:
        raise InputError(
            f"{source}: {len(dataset.train)} photos to train on make no batch of {config.batch}.",
            cure="Give a smaller batch.",
        )
    torch.manual_seed(config.seed)
    encoder = _image_encoder(artifacts, config)
    text_encoder = text_encoder_named(config.text_encoder) if config.text_prompts else None
    if text_encoder is not None:
        text_encoder.to(team.device)
    return Task(config, dataset, supercategory, encoder, text_encoder, team)


def _introduction(source: str, task: Task) -> str:
    """Which published set was found at the source: its files told, and a mistake should be seen at once."""
    dataset = task.dataset
    missing = f"; listed but not there: {len(dataset.missing)}" if dataset.missing else ""
    return (
        f"{source}: {dataset.name}, {len(dataset.kinds)} kinds of {task.supercategory}, {len(dataset.train)} photos to "
        f"train on, {len(dataset.test)} to test with{missing}"
    )


def _missing(dataset: FineDataset) -> dict[str, Any]:
    """Photos that a published set lists but that are not there, to be told; nothing where none is missing."""
    if not dataset.missing:
        return {}
    return {"missing_photos": len(dataset.missing), "missing": dataset.missing[:20]}


def _unlearnt(dataset: FineDataset, failed: Collection[int]) -> dict[str, Any]:
    """Kinds none of whose photos could be read, to be told; nothing where there is no such kind."""
    learnt = {example.kind for position, example in enumerate(dataset.train) if position not in failed}
    found = [kind for number, kind in enumerate(dataset.kinds) if number not in learnt]
    return {"unlearnt_kinds": found} if found else {}


def _image_encoder(artifacts: Path, config: FineTrainConfig) -> ImageEncoder:
    """The encoder that the configuration names; of a tagging model, if it names one."""
    name = config.image_encoder
    if not (name.startswith("model:") or (BUNDLED / name / artifact.MANIFEST).is_file()):
        return create_encoder(name, weights=config.image_weights, size=config.image_size)
    tagger = Tagger(find_model(artifacts, name))
    preprocess = tagger.preprocess
    if config.image_size and config.image_size != preprocess.size:
        preprocess = replace(preprocess, size=config.image_size)
        fit_to_size(tagger.config.image_encoder, tagger.image_encoder, config.image_size)
    return ImageEncoder(tagger.config.image_encoder, tagger.image_encoder, tagger.config.image_width, preprocess)


def _head_config(task: Task, vision: Vision) -> HeadConfig:
    config = task.config
    texts = task.text_encoder is not None
    return HeadConfig(
        kinds=len(task.dataset.kinds),
        image_width=vision.width,
        text_width=task.text_encoder.width if task.text_encoder is not None else 0,
        fusion=config.fusion and texts,
        projection=not (config.image_encoder.startswith(CLIP) and config.image_encoder == config.text_encoder),
        features=config.fusion_features,
        shared=config.fusion_shared,
        residual=config.fusion_residual,
        activation=config.fusion_activation,
        inference=config.inference,
    )


@contextmanager
def _draft(task: Task, artifacts: Path, source: str) -> Iterator[tuple[Path, Draft | None]]:
    """(the folder that is filled, the draft that the first process publishes it by)."""
    team = task.team
    if not team.first:
        yield Path(team.share("folder")), None
        return
    identity = {"text_encoder": task.text_encoder.identity()} if task.text_encoder is not None else {}
    settings = {
        **as_dict(task.config),
        **identity,
        "supercategory": task.supercategory,
        "image_encoder_sha256": task.encoder.identity(),
        "source": str(Path(source).resolve()),
        "photos_sha256": _fingerprint(task.dataset),
    }
    with artifact.draft(artifacts, KIND, config=settings, resumable=True) as work:
        team.share("folder", str(work.path))
        yield work.path, work


def _fingerprint(dataset: FineDataset) -> str:
    """Hash of what is trained on: a run goes on only where it is the same."""
    content = [dataset.kinds, [(example.image, example.kind) for example in dataset.train]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _checkpoints(folder: Path) -> tuple[Checkpoints, Checkpoints]:
    """Of both stages; beside the draft, not in it, so that they outlive even a kill while it is published."""
    one, two = (Checkpoints(folder.with_name(f"{folder.name}-{stage}")) for stage in ("one", "two"))
    return one, two


def _train(
    task: Task, vision: Vision, head: FineHead, folder: Path, artifacts: Path, track: Track, tell: Tell
) -> dict[str, Any]:
    """Both stages. Returns what is to be told of them."""
    views = Views(
        task.encoder.preprocess, task.config.augmentation, task.config.crop_share, task.config.views, task.config.seed
    )
    source = _source(task, vision, views, artifacts, track)
    resumed = _stage_one(task, vision, head, source, views, folder, track, tell)
    unread = sorted(source.failed)
    if len(unread) == len(task.images):
        raise InputError(
            "None of the photos to train on can be read.", cure=f"The first: {next(iter(source.failed.values()))}"
        )
    if head.fusion is not None:
        resumed |= _stage_two(task, vision, head, source, views, folder, track, tell)
    return {
        **_unlearnt(task.dataset, source.failed),
        "photos": len(task.images) - len(unread),
        "unreadable_photos": len(unread),
        "unreadable": [source.failed[position] for position in unread][:20],
        "resumed": resumed,
    }


def _source(task: Task, vision: Vision, views: Views, artifacts: Path, track: Track) -> ViewSource:
    config = task.config
    if config.train_layers == ALL or not config.views:
        return DrawnViews(task.images, views, config.workers)
    vision.eval()
    identity = f"{task.encoder.identity()} {vision.kept} {config.precision}"

    def frozen(pixels: torch.Tensor) -> torch.Tensor:
        with autocast(config, task.team.device):
            return vision.frozen(pixels.to(task.team.device)).cpu()

    return keep_views(artifacts / FEATURES, task.images, views, frozen, identity, track)


def _stage_one(
    task: Task, vision: Vision, head: FineHead, source: ViewSource, views: Views, folder: Path, track: Track, tell: Tell
) -> bool:
    config, team = task.config, task.team
    prompts = None
    if task.text_encoder is not None:
        torch.manual_seed(config.seed)  # the same words to begin with, whatever was drawn for the head
        prompts = Prompts(
            task.text_encoder, task.supercategory, kinds=len(task.dataset.kinds), tokens=config.prompt_tokens,
            per_kind=config.prompts_per_kind, chunk=config.prompt_chunk,
        ).to(team.device)  # fmt: skip
    steps_an_epoch = len(epoch_batches(len(task.images), config.batch, 0, config.seed))
    stage = StageOne(vision.train(), head.train(), prompts, config, steps_an_epoch, team)

    def steps(epoch: int, skip: int) -> Iterator[Outcome]:
        whole = epoch_batches(len(task.images), config.batch, epoch, config.seed)[skip:]
        own = [batch[team.rank :: team.size] for batch in whole]
        for positions, inputs in source.batches(own, views.variant(epoch)):
            yield stage.step(inputs.to(team.device), task.kinds(positions), frozen_done=source.frozen_done)

    resumed = course.run(
        stage.trainer, steps, stage="stage 1", epochs=config.epochs, steps_an_epoch=steps_an_epoch,
        checkpoints=_checkpoints(folder)[0], every=config.checkpoint_steps, folder=folder, track=track, tell=tell,
    )  # fmt: skip
    vision.eval()
    head.eval()
    round_weights(vision)
    if prompts is not None and head.texts is not None:
        with torch.no_grad():
            head.texts.copy_(prompts())
    return resumed


def _stage_two(
    task: Task, vision: Vision, head: FineHead, source: ViewSource, views: Views, folder: Path, track: Track, tell: Tell
) -> bool:
    config, team = task.config, task.team
    count = 1 if config.augmentation == "none" else config.views or _FUSION_VIEWS
    features = [_features(task, vision, source, variant, track) for variant in range(count)]
    if not team.first:
        return False
    readable = [position for position in range(len(task.images)) if position not in source.failed]
    steps_an_epoch = len(epoch_batches(len(readable), config.fusion_batch, 0, config.seed))
    stage = StageTwo(head, config, steps_an_epoch)

    def steps(epoch: int, skip: int) -> Iterator[Outcome]:
        for batch in epoch_batches(len(readable), config.fusion_batch, epoch, config.seed)[skip:]:
            positions = [readable[place] for place in batch]
            yield stage.step(features[epoch % count][positions], task.kinds(positions))

    return course.run(
        stage.trainer, steps, stage="stage 2", epochs=config.fusion_epochs, steps_an_epoch=steps_an_epoch,
        checkpoints=_checkpoints(folder)[1], every=config.checkpoint_steps, folder=folder, track=track, tell=tell,
    )  # fmt: skip


def _features(task: Task, vision: Vision, source: ViewSource, variant: int, track: Track) -> torch.Tensor:
    """E_V [N, V] of a variant of all training photos, zeros where one cannot be read; each process computes a part."""
    config, team = task.config, task.team
    own = list(range(len(task.images)))[team.rank :: team.size]
    batches = [own[start : start + config.batch] for start in range(0, len(own), config.batch)]
    made, places = [torch.empty(0, vision.width, device=team.device)], [torch.empty(0, dtype=torch.long)]
    found = source.batches(batches, variant)
    for positions, inputs in track(found, total=len(batches), what="image features"):
        if positions:
            with torch.no_grad(), autocast(config, team.device):
                moved = inputs.to(team.device)
                made.append(vision.trained(moved if source.frozen_done else vision.frozen(moved)).float())
            places.append(torch.tensor(positions))
    rows = torch.zeros(len(task.images), vision.width, device=team.device)
    for part, where in zip(team.gather(torch.cat(made)), team.gather(torch.cat(places).to(team.device)), strict=True):
        rows[where] = part
    return rows


def _validate(task: Task, vision: Vision, head: FineHead, track: Track) -> dict[str, Any]:
    """Figures on the photos kept aside, for test or else validation, if there are any; nothing was chosen by them."""
    split = "test" if task.dataset.test else "validation"
    if not vars(task.dataset)[split]:
        return {}
    examples = task.dataset.split(split)
    crop, preprocess = middle_crop(task.config.crop_share), task.encoder.preprocess
    head.eval()

    def predict(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.inference_mode():
            return head.predictions(vision(pixels.to(task.team.device)))

    measured = measure(examples, lambda photo: crop.pixels(photo, preprocess), predict, track)
    return {f"{split}_{name}": value for name, value in summary(measured, head.answer).items()}
