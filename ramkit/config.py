"""One frozen dataclass a stage, and a strict TOML reader: an unknown key is an error that lists the valid ones."""

import tomllib
import types
import typing
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ramkit.errors import InputError


@dataclass(frozen=True)
class ParseTagsConfig:
    """captions → vocabulary and triplets."""

    spacy_model: str = ""  # empty: the best English pipeline that is installed
    image_field: str = "image"
    caption_field: str = "caption"
    min_count: int = 5  # photos a tag must occur in
    max_tags: int = 5000


@dataclass(frozen=True)
class DescribeConfig:
    """vocabulary → descriptions."""

    llm: str = "wordnet"  # a model name at an OpenAI-compatible endpoint, or `wordnet`
    base_url: str = ""
    answers: int = 10  # per prompt; five prompts make the paper's 50 a tag
    temperature: float = 0.99
    max_tokens: int = 77
    concurrency: int = 16


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


def _read_toml(path: Path, stage: type) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.", cure="Check the path given to --config.") from None
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
    if isinstance(value, list) and typing.get_origin(wanted) is tuple:
        inner = typing.get_args(wanted)[0]
        return tuple(_checked(path, key, item, inner) for item in value)
    options = typing.get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
    if float in options and type(value) is int:
        return float(value)
    if typing.get_origin(wanted) is typing.Literal:
        if value not in typing.get_args(wanted):
            choices = ", ".join(map(repr, typing.get_args(wanted)))
            raise InputError(f"{path}: {key} = {value!r}.", cure=f"Choose from {choices}.")
        return value
    if type(value) not in options:
        names = " or ".join(getattr(option, "__name__", str(option)) for option in options)
        raise InputError(f"{path}: {key} = {value!r} is no {names}.", cure=f"Give a {names}.")
    return value
