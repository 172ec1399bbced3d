"""One frozen dataclass a stage, and a strict TOML reader: an unknown key is an error that lists the valid ones.

A file may build on another: `extends = "base.toml"` takes over that file's keys, found beside it; its own win.
"""

import tomllib
import types
import typing
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from ramkit.errors import InputError


@dataclass(frozen=True)
class ParseTagsConfig:
    """captions → vocabulary and triplets."""

    spacy_model: str = ""  # empty: the best English pipeline that is installed
    image_field: str = "image"
    caption_field: str = "caption"
    split: str = "train"  # of a hub dataset
    min_count: int = 4  # photos a tag must occur in
    max_tags: int = 5000
    # What merges names into one tag: spelling alone; curated synonyms too; or WordNet's as well where contexts agree.
    merge: Literal["spelling", "curated", "wordnet"] = "curated"
    stop: tuple[str, ...] = ()  # names that shall be no tag
    vocabulary: str = ""  # closed vocabulary: a file, or a version such as v3; empty: build one
    implied_tags: bool = True  # a "chocolate cake" is tagged "cake" too


@dataclass(frozen=True)
class DescribeConfig:
    """vocabulary → descriptions."""

    llm: str = "wordnet"  # a model name at an OpenAI-compatible endpoint, or `wordnet`
    base_url: str = ""
    prompts: tuple[str, ...] = ()  # `{}` where the tag goes; empty: the paper's five
    answers: int = 10  # per prompt; five prompts make the paper's 50 a tag
    temperature: float = 0.99
    max_tokens: int = 77
    again: int = 50  # refused answers that are asked for again, per tag and prompt
    concurrency: int = 16
    timeout: float = 60.0  # seconds for one request
    sentences: int = 12  # of WordNet's, a tag, the template among them
    captions: int = 0  # short training captions added to each tag's descriptions


@dataclass(frozen=True)
class EmbedConfig:
    """descriptions → embeddings."""

    text_encoder: str = "mini"  # `mini` (the bundled model's), sentence:FOLDER or open_clip:MODEL/WEIGHTS
    precision: Literal["float32", "float16", "int8"] = "float16"
    max_descriptions: int = 51  # a tag; further ones are left out
    device: Literal["auto", "cpu", "cuda"] = "auto"


@dataclass(frozen=True)
class ImportConfig:
    """a published checkpoint → model."""

    text_encoder: str = "open_clip:ViT-B-16/openai"  # the one it was trained with: for words that are no tags
    precision: Literal["float32", "float16"] = "float32"  # of weights and vectors on disk


@dataclass(frozen=True)
class TrainConfig:
    """triplets and embeddings → model. The losses' settings are the published ones."""

    image_encoder: str = "tf_efficientnet_lite2"  # any timm model
    image_weights: str = "timm"  # `timm` (its hub), a file, package:NAME, or empty for random weights
    image_size: int = 0  # pixels of both sides; 0 takes the encoder's own
    start_from: str = ""  # begin with the weights of a model (`v3`, a folder, `mini`); image_weights are not read then
    freeze_image_encoder: bool = True  # frozen: its features are computed once and kept
    text_encoder: str = ""  # empty: the one the embeddings were made with
    query_width: int = 768
    heads: int = 4
    hidden: int = 3072
    layers: int = 2  # of the decoder; 0 leaves it out, as a baseline
    dropout: float = 0.0
    alignment: Literal["itta", "itc", "itm"] = "itta"  # how texts meet the image: the paper's way, or ram/paradigms.py
    queries: Literal["descriptions", "template"] = "descriptions"  # what training asks a tag by; template: the first
    queries_at_inference: Literal["same", "descriptions", "template"] = "same"  # what the finished model asks by
    reweighting: bool = True  # of descriptions by the image; without: their mean
    similarity: bool = False  # beside the decoder, compare global features directly (see ram/similarity.py)
    tag_loss: float = 1.0  # weights of the losses; 0 leaves one out
    text_loss: float = 1.0
    teacher_start: bool = (
        False  # begin with features mapped to texts as that classifier's weights tell (ram/teacher.py)
    )
    teacher_loss: float = 0.0  # the image encoder's own classifier as a teacher of its classes' names
    distillation_loss: float = 0.0  # of CLIP's image feature into V_global; 1 as published
    distillation_model: str = "open_clip:ViT-B-16/openai"
    distillation_crop: Literal["same", "another"] = "same"  # what CLIP sees of an augmented photo
    reduction: Literal["mean", "sum"] = "mean"  # of tag and text losses over a process's images; `sum` as published
    gather_captions: bool = False  # ask each image the captions of all processes, not of its own alone
    pass_over_alike: bool = False  # a caption equal to an image's own, or of a photo with the same tags, is no negative
    tag_focus: float = 7.0  # γ− of the image–tag loss
    text_focus: float = 4.0  # γ− of the image–text loss
    tags_per_image: int = 0  # tags asked of each image in a step, its own first; 0 asks the whole vocabulary
    captions_per_image: int = 0  # captions asked likewise; 0 asks all of the batch
    epochs: int = 5
    batch: int = 64  # photos a step, of each process
    accumulate: int = 1  # parts in which a step's batch is worked through, to save memory; the gradients stay the same
    learning_rate: float = 1e-4
    warmup_steps: int = 3000
    schedule: Literal["exponential", "cosine"] = "exponential"
    decay: float = 0.9  # a factor an epoch, of the exponential schedule
    final_learning_rate: float = 5e-7
    weight_decay: float = 0.05
    clip_gradient: float = 0.0  # largest norm of the gradient; 0 leaves it as it is
    precision: Literal["float32", "bfloat16"] = "float32"
    recompute_activations: bool = False  # in the backward pass, to save memory
    compile: bool = False  # by torch.compile
    shard: bool = False  # weights and optimiser over the processes of torchrun (FSDP2); false: a copy in each (DDP)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    validation: float = 0.02  # share of the photos kept aside, to set the threshold and report
    hold_out: tuple[str, ...] = ()  # tags the model must never see: neither as tags nor in captions
    seed: int = 0
    checkpoint_steps: int = 200


@dataclass(frozen=True)
class FineTrainConfig:
    """photos of one super-category's kinds → fine: MP-FGVC in two stages."""

    supercategory: str = ""  # what all kinds are: "bird", "wild cat"; empty: what a published set is known to be of
    layout: Literal["auto", "folder", "cub", "dogs", "nabirds", "food"] = "auto"  # how the photos lie; auto: look
    # A timm model, open_clip:MODEL/WEIGHTS, or `mini` or model:vN for the encoder of a tagging model.
    image_encoder: str = "vit_base_patch16_224.augreg_in21k"
    image_weights: str = "timm"  # of a timm model: `timm` (its hub), a file, package:NAME, or empty for random ones
    image_size: int = 0  # pixels of both sides; 0 takes the encoder's own; 448 is usual for published figures
    text_encoder: str = "mini"  # `mini`, sentence:FOLDER or open_clip:MODEL/WEIGHTS
    # Which patches the last layer sees: those the class token attends to (SsVP; ViTs with a class token only), those
    # that respond most to the photo's mean (no transformer needed; not in the paper), or all.
    patch_selection: Literal["attention", "activation", "none"] = "attention"
    patches: int = 0  # K; 0: every sixteenth patch of a ViT (12 of 196), every fourth cell of a map (12 of 49)
    text_prompts: bool = True  # DaTP and the loss L_i2T; false trains a plain classifier, and there is no stage 2
    prompt_tokens: int = 4  # J, learnable tokens before the super-category's name
    prompts_per_kind: bool = True  # X is [C, J, D]; false: one [J, D] for all, under which all prompts coincide
    fusion: bool = True  # stage 2: VLFM and its classifier
    fusion_features: Literal["cosine", "raw"] = "cosine"  # into VLFM: scaled to norm √D each, or as they are
    fusion_shared: bool = True  # one 1×1 convolution for both modalities; false: one for each
    fusion_residual: Literal["none", "fused", "image"] = "none"  # added to Trans(E'): nothing, E' or E_V
    fusion_activation: Literal["gelu", "relu", "none"] = "gelu"  # between the two convolutions of Trans
    inference: Literal["fused", "average"] = "fused"  # ŷ2 alone, or its mean with ŷ1
    train_layers: int = -1  # last blocks of the image encoder that are trained; -1: all, 0: none
    # Augmented variants of each photo, drawn once, so that what is frozen is computed once; 0: drawn anew each epoch.
    views: int = 0
    augmentation: Literal["crop", "resized_crop", "none"] = "crop"
    crop_share: float = 0.875  # side of a crop to the side of the square that a photo is resized to
    epochs: int = 30
    fusion_epochs: int = 10  # of stage 2
    batch: int = 16
    fusion_batch: int = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 5e-5
    head_factor: float = 10.0  # new layers learn so many times faster than the image encoder's last one
    fusion_learning_rate: float = 1e-3
    layer_decay: float = 0.75  # learning rate of a block to that of the block above it
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.1  # of the classifiers' losses L_v and L_2
    temperature: float = 0.07  # τ of L_i2T
    clip_gradient: float = 1.0  # largest norm of the gradient; 0 leaves it as it is
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = 2  # processes that decode photos
    prompt_chunk: int = 128  # prompts encoded at once; with more kinds, activations are computed twice to save memory
    seed: int = 0
    checkpoint_steps: int = 200


@dataclass(frozen=True)
class EvaluateConfig:
    """model and labelled photos → report."""

    labels_field: str = "labels"  # key of the list of names that are true of a photo
    image_field: str = "image"
    split: str = ""  # part of a set that has several; empty: test or, where there is none, validation
    images: tuple[str, ...] = ()  # folders and shards with the photos; empty: beside the labels
    names: str = ""  # file with the names to ask for, one a line; empty: those that the labels tell
    benchmark: str = ""  # one of the paper's, in its published files
    annotations: str = ""  # the benchmark's annotation file, or the folder it is in
    tag_list: str = ""  # the benchmark's tag list; empty: beside the annotations
    descriptions: str = ""  # file of descriptions for names that are no tags, in the published format
    least_positives: int = 0  # photos a name must be true of to count
    threshold: float | None = None  # least score of a tag that counts as found; empty: the model's own
    resamples: int = 1000  # of the photos, for intervals; 0 makes none
    seed: int = 0
    published_metric: bool = False  # show mAP as RAM++'s published evaluation forms it
    keep_features: bool = True  # image features stay in the cache, so that other names take seconds; else logits alone
    pictures: bool = True  # charts and a page of photos, beside the figures


@dataclass(frozen=True)
class ModelRow:
    """One of several models that are evaluated side by side."""

    name: str = ""  # as tables call it; empty: the model's own
    model: str = ""  # as --model, or open_clip:MODEL/WEIGHTS; empty: the newest trained here, else mini
    # own: tags by the model's own descriptions, other names by the benchmark's; or all names by the template alone, or
    # by the benchmark's descriptions. open_clip: own is an ensemble of templates.
    queries: Literal["own", "template", "descriptions"] = "own"
    descriptions: str = ""  # file of descriptions; empty: the benchmark's
    templates: tuple[str, ...] = ()  # of an open_clip model, `{}` where the name goes; empty: CLIP's 80
    reweighting: bool = True  # false: plain means of the descriptions


@dataclass(frozen=True)
class CalibrateConfig:
    """model and report → the model with thresholds and chances."""

    # What thresholds are for: the best F_β over all photo–tag pairs, or of each tag by itself; a precision of each tag;
    # a number of tags a photo.
    aim: Literal["f", "tag-f", "precision", "tags"] = "f"
    beta: float = 1.0  # of F_β: above 1 recall counts more, below 1 precision
    precision: float = 0.8
    tags: float = 5.0  # a photo
    only_open_set: bool = False  # fit the threshold of typed words, leave the tags as they are
    folds: int = 5  # of the cross-validation that tells how good the result is
    open_set_photos: int = 1000  # photos on which names are asked as typed words, at most
    seed: int = 0


Stage = TypeVar("Stage")


def read_config_rows(path: Path, key: str, row: type[Stage]) -> list[Stage]:
    """The tables `[[key]]` of a TOML file, one `row` each.

    Raises:
        InputError: no such file, not TOML, anything but such tables, or as in `read_config`.
    """
    document = _load_toml(path)
    tables = document.get(key)
    if set(document) != {key} or not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise InputError(f"{path}: expected tables [[{key}]] and nothing else.", cure=f"Begin each with [[{key}]].")
    if not tables:
        raise InputError(f"{path}: no table [[{key}]].", cure="Give at least one.")
    return [row(**_checked_keys(path, table, row)) for table in tables]


SHIPPED = Path(__file__).parent / "configs"  # settings for published data sets, asked for by name: `--config fine-cub`


def read_config(path: Path | None, stage: type[Stage], **given: Any) -> Stage:
    """The stage's defaults, over them the TOML file's keys, over them the options that were given (not None).

    Args:
        path: a TOML file, or the name of a shipped one.

    Raises:
        InputError: no such file, not TOML, an unknown key, or a value of the wrong type.
    """
    values = _read_chain(_shipped(path) or path, stage) if path is not None else {}
    values.update({key: value for key, value in given.items() if value is not None})
    return stage(**values)


def as_dict(stage: Any) -> dict[str, Any]:
    """A configuration as a manifest stores it."""
    return asdict(stage)


def with_values(stage: Stage, **values: Any) -> Stage:
    """A copy with some values changed."""
    return replace(stage, **values)  # type: ignore[type-var]


def _shipped(path: Path) -> Path | None:
    """The shipped configuration that a path names, being a bare name and no file."""
    if path.suffix or path.name != str(path) or path.exists():
        return None
    shipped = {entry.stem: entry for entry in sorted(SHIPPED.glob("*.toml"))}
    if path.name not in shipped:
        raise InputError(
            f"{path}: no such file, and no shipped configuration.", cure=f"Shipped are {', '.join(shipped)}."
        )
    return shipped[path.name]


_TOML_NAMES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "tuple": "an array",
}


_EXTENDS = "extends"


def _read_chain(path: Path, stage: type) -> dict[str, Any]:
    """The file's keys over those of the file that it extends, and so on."""
    values: dict[str, Any] = {}
    seen: list[Path] = []
    following: Path | None = path
    while following is not None:
        if following.resolve() in seen:
            raise InputError(f"{path}: extends itself by way of {following}.", cure="Break the circle.")
        seen.append(following.resolve())
        document = _load_toml(following)
        base = document.pop(_EXTENDS, None)
        if not isinstance(base, str | None):
            raise InputError(f"{following}: {_EXTENDS} = {base!r} is of the wrong type.", cure="Give a string.")
        values = {**_checked_keys(following, document, stage), **values}
        following = following.parent / base if base is not None else None
    return values


def _load_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.", cure="Check the path given to --config.") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}).", cure="Check the path given to --config."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML ({error}).", cure="Mend that line.") from None


def _checked_keys(path: Path, values: dict[str, Any], stage: type) -> dict[str, Any]:
    hints = typing.get_type_hints(stage)
    known = [entry.name for entry in fields(stage)]
    for key, value in values.items():
        if key not in known:
            raise InputError(f"{path}: unknown key {key!r}.", cure=f"Valid keys: {', '.join(known)}")
        values[key] = _checked(path, key, value, hints[key])
    return values


def _checked(path: Path, key: str, value: Any, wanted: Any) -> Any:
    """The value as the field's type has it: whole numbers pass as floats, TOML arrays become tuples."""
    options = typing.get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
    array = next((option for option in options if typing.get_origin(option) is tuple), None)
    if isinstance(value, list) and array is not None:
        inner = typing.get_args(array)
        if Ellipsis not in inner and len(value) != len(inner):
            raise InputError(f"{path}: {key} has {len(value)} values.", cure=f"Give {len(inner)}.")
        return tuple(_checked(path, key, item, inner[0]) for item in value)
    if float in options and type(value) is int:
        return float(value)
    if typing.get_origin(wanted) is typing.Literal:
        if value not in typing.get_args(wanted):
            choices = ", ".join(map(repr, typing.get_args(wanted)))
            raise InputError(f"{path}: {key} = {value!r}.", cure=f"Choose from {choices}.")
        return value
    if type(value) not in options:
        names = " or ".join(
            _TOML_NAMES.get(getattr(option, "__name__", ""), str(option))
            for option in options
            if option is not types.NoneType
        )
        raise InputError(f"{path}: {key} = {value!r} is of the wrong type.", cure=f"Give {names}.")
    return value
