"""Defaults, over them a strict TOML file, over them the options that were given."""

from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from ramkit import config
from ramkit.config import FineTrainConfig, TrainConfig, as_dict, read_config, with_values
from ramkit.errors import InputError
from ramkit.fgvc.published_sets import PUBLISHED


@dataclass(frozen=True)
class Recipe:
    name: str = "mini"
    steps: int = 10
    rate: float = 0.5
    shuffle: bool = True
    mode: Literal["fast", "exact"] = "fast"
    sizes: tuple[int, ...] = (1, 2)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    limit: int | None = None
    scale: float | None = None
    layers: tuple[str, ...] | None = None


@pytest.fixture
def toml(tmp_path: Path) -> Any:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "recipe.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_defaults_stand_where_nothing_is_given() -> None:
    assert read_config(None, Recipe) == Recipe()


def test_the_file_wins_over_defaults_and_options_over_the_file(toml: Any) -> None:
    read = read_config(toml('name = "large"\nsteps = 20\n'), Recipe, steps=30, rate=None)
    assert read == Recipe(name="large", steps=30)


@pytest.mark.parametrize("given", [0, False, "", 0.0])
def test_an_option_that_is_falsy_is_given_all_the_same(toml: Any, given: object) -> None:
    assert read_config(toml("limit = 5\n"), Recipe, limit=given).limit == given


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("rate = 2", "rate", 2.0),
        ("scale = 2", "scale", 2.0),
        ("limit = 3", "limit", 3),
        ("shuffle = false", "shuffle", False),
        ('mode = "exact"', "mode", "exact"),
        ("sizes = [3, 4, 5]", "sizes", (3, 4, 5)),
        ("sizes = []", "sizes", ()),
        ("mean = [1, 0.5, 0]", "mean", (1.0, 0.5, 0.0)),
        ('layers = ["a", "b"]', "layers", ("a", "b")),
        ("# nothing", "steps", 10),
    ],
)
def test_values_arrive_as_their_fields_have_them(toml: Any, line: str, key: str, value: object) -> None:
    read = getattr(read_config(toml(line + "\n"), Recipe), key)
    assert read == value
    assert type(read) is type(value)
    if isinstance(value, tuple):
        assert [type(item) for item in read] == [type(item) for item in value]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("steps = 1.5", "steps = 1.5 is of the wrong type. Give a whole number."),
        ("steps = true", "steps = True is of the wrong type. Give a whole number."),
        ('steps = "10"', "steps = '10' is of the wrong type. Give a whole number."),
        ("steps = [10]", "steps = [10] is of the wrong type. Give a whole number."),
        ("rate = true", "rate = True is of the wrong type. Give a number."),
        ('rate = "fast"', "rate = 'fast' is of the wrong type. Give a number."),
        ("shuffle = 1", "shuffle = 1 is of the wrong type. Give true or false."),
        ("name = 5", "name = 5 is of the wrong type. Give a string."),
        ("limit = 1.5", "limit = 1.5 is of the wrong type. Give a whole number."),
        ('mode = "slow"', "mode = 'slow'. Choose from 'fast', 'exact'."),
        ("mode = 1", "mode = 1. Choose from 'fast', 'exact'."),
        ("sizes = 3", "sizes = 3 is of the wrong type. Give an array."),
        ('sizes = [1, "2"]', "sizes = '2' is of the wrong type. Give a whole number."),
        ("layers = [1]", "layers = 1 is of the wrong type. Give a string."),
        ("mean = [0.5]", "mean has 1 values. Give 3."),
        (
            "step = 20",
            "unknown key 'step'. Valid keys: name, steps, rate, shuffle, mode, sizes, mean, limit, scale, layers",
        ),
        ("[train]\nsteps = 20", "unknown key 'train'. Valid keys: name, "),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_its_cure(toml: Any, line: str, message: str) -> None:
    path = toml(line + "\n")
    with pytest.raises(InputError) as caught:
        read_config(path, Recipe)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_wrong_file_is_refused_even_where_an_option_overrides_it(toml: Any) -> None:
    with pytest.raises(InputError, match="wrong type"):
        read_config(toml("steps = 1.5\n"), Recipe, steps=3)


@pytest.mark.parametrize("content", ["steps = \n", "steps: 10\n", "steps = 1\nsteps = 2\n", '{"steps": 10}'])
def test_what_is_not_toml_is_refused_with_the_line(toml: Any, content: str) -> None:
    with pytest.raises(InputError, match=r"recipe\.toml: not TOML \(.*line \d.*\)\. Mend that line\."):
        read_config(toml(content), Recipe)


def test_bytes_that_are_not_utf8_are_refused(toml: Any) -> None:
    with pytest.raises(InputError, match=r"recipe\.toml: not TOML \("):
        read_config(toml(b'name = "caf\xe9"\n'), Recipe)


def test_a_byte_order_mark_is_harmless(toml: Any) -> None:
    assert read_config(toml("\ufeffsteps = 3\n"), Recipe).steps == 3


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: no such file\. Check the path given to --config\."):
        read_config(tmp_path / "none.toml", Recipe)
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)\. Check the path given to --config\."):
        read_config(tmp_path, Recipe)


SHIPPED = sorted(path.stem for path in config.SHIPPED.glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_configuration_is_asked_for_by_name(name: str) -> None:
    stage = FineTrainConfig if name.startswith("fine-") else TrainConfig
    read = read_config(Path(name), stage)
    assert read == read_config(config.SHIPPED / f"{name}.toml", stage) != stage()
    if name.startswith("fine-"):
        assert (read.image_size, bool(read.supercategory), read.layout) == (448, True, name.removeprefix("fine-"))


def test_published_sets_have_configurations() -> None:
    assert {f"fine-{key}" for key in PUBLISHED} <= set(SHIPPED)


def test_a_name_that_is_not_shipped_tells_those_that_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^fine-cars: no such file, and no shipped configuration\. .*fine-cub, fine-"):
        read_config(Path("fine-cars"), FineTrainConfig)
    for path in ("fine-cub.toml", "here/fine-cub"):  # those are files, or nothing
        with pytest.raises(InputError, match=r"fine-cub(\.toml)?: no such file\. Check"):
            read_config(Path(path), FineTrainConfig)
    (tmp_path / "fine-cub").write_text('supercategory = "own"\n')
    assert read_config(Path("fine-cub"), FineTrainConfig).supercategory == "own"


def test_a_file_builds_on_another(toml: Any, tmp_path: Path) -> None:
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "first.toml").write_text('name = "first"\nsteps = 1\nrate = 1.0\n')
    (tmp_path / "bases" / "second.toml").write_text('extends = "first.toml"\nsteps = 2\nmode = "exact"\n')
    read = read_config(toml('extends = "bases/second.toml"\nrate = 3.0\n'), Recipe, mode="fast")
    assert read == Recipe(name="first", steps=2, rate=3.0, mode="fast")


def test_what_a_file_builds_on_must_be_there_be_right_and_end(toml: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"base.toml: no such file"):
        read_config(toml('extends = "base.toml"'), Recipe)
    (tmp_path / "base.toml").write_text("colour = 1")
    with pytest.raises(InputError, match=r"base.toml: unknown key 'colour'. Valid keys: name, .*, layers$"):
        read_config(toml('extends = "base.toml"'), Recipe)
    (tmp_path / "base.toml").write_text('extends = "recipe.toml"')
    with pytest.raises(InputError, match=r"recipe.toml: extends itself by way of .*recipe.toml. Break the circle."):
        read_config(toml('extends = "base.toml"'), Recipe)
    with pytest.raises(InputError, match=r"recipe.toml: extends = 3 is of the wrong type. Give a string."):
        read_config(toml("extends = 3"), Recipe)


def test_a_configuration_is_stored_as_a_dictionary_and_copied_with_changes() -> None:
    changed = with_values(Recipe(), steps=3)
    assert changed == Recipe(steps=3)
    assert as_dict(changed)["steps"] == 3
    assert Recipe(**as_dict(changed)) == changed


STAGES = [entry for entry in vars(config).values() if isinstance(entry, type) and is_dataclass(entry)]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_the_defaults_of_every_stage_can_be_written_as_toml(toml: Any, stage: type) -> None:
    def written(value: object) -> str:
        if isinstance(value, tuple):
            return f"[{', '.join(map(written, value))}]"
        return repr(value).lower() if isinstance(value, bool) else repr(value)

    lines = [f"{key} = {written(value)}\n" for key, value in as_dict(stage()).items() if value is not None]
    assert read_config(toml("".join(lines)), stage) == stage()


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_a_stage_configuration_cannot_be_changed_by_accident(stage: Any) -> None:
    field = next(iter(as_dict(stage())))
    with pytest.raises(AttributeError):
        setattr(stage(), field, None)
