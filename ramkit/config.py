"""One frozen dataclass a stage, and a strict TOML reader: an unknown key is an error that lists the valid ones."""

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
    implied_tags: bool = True  # a "chocolate cake" is tagged "cake" too


@dataclass(frozen=True)
class DescribeConfig:
    """vocabulary → descriptions."""

    llm: str = "wordnet"  # a model name at an OpenAI-compatible endpoint, or `wordnet`
    base_url: str = ""
    answers: int = 10  # per prompt; five prompts make the paper's 50 a tag
    temperature: float = 0.99
    max_tokens: int = 77
    concurrency: int = 16
    sentences: int = 12  # of WordNet's, a tag, the template among them
    captions: int = 0  # short training captions added to each tag's descriptions


@dataclass(frozen=True)
class EmbedConfig:
    """descriptions → embeddings."""

    text_encoder: str = "mini"  # `mini` (the bundled model's), sentence:FOLDER or open_clip:MODEL/WEIGHTS
    precision: Literal["float32", "float16", "int8"] = "float16"
    max_descriptions: int = 51  # a tag; further ones are left out


Stage = TypeVar("Stage")


def read_config(path: Path | None, stage: type[Stage], **given: Any) -> Stage:
    """The stage's defaults, over them the TOML file's keys, over them the options that were given (not None).

    Raises:
        InputError: no such file, not TOML, an unknown key, or a value of the wrong type.
    """
    values = _read_toml(path, stage) if path is not None else {}
    values.update({key: value for key, value in given.items() if value is not None})
    return stage(**values)


def as_dict(stage: Any) -> dict[str, Any]:
    """A configuration as a manifest stores it."""
    return asdict(stage)


def with_values(stage: Stage, **values: Any) -> Stage:
    """A copy with some values changed."""
    return replace(stage, **values)  # type: ignore[type-var]


_TOML_NAMES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "tuple": "an array",
}


def _read_toml(path: Path, stage: type) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.", cure="Check the path given to --config.") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}).", cure="Check the path given to --config."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML ({error}).", cure="Mend that line.") from None
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
