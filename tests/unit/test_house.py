"""The house keeps its order: imports point down, heavy packages wait until they are used, every option has help.

The tests read the syntax trees, so a new module is under the rules from its first day.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

import ramkit
from ramkit import cli

HOME = Path(ramkit.__file__).parent

# Level by level, the lowest first. What is not named is a room: photos, features, metrics, text, ram, fgvc, …
LEVELS = {"errors": 0, "files": 1, "config": 2, "artifact": 2, "progress": 2, "stages": 4, "console": 5, "cli": 6}
ROOM = 3
STRANGERS = [{"ram", "fgvc"}]  # rooms that do not know each other

WAIT_UNTIL_USED = {
    "datasets", "huggingface_hub", "matplotlib", "nltk", "open_clip", "openai", "pandas", "scipy", "sklearn", "spacy",
    "timm", "torchvision",
}  # fmt: skip
HEAVY = WAIT_UNTIL_USED | {"PIL", "numpy", "pyarrow", "safetensors", "tokenizers", "torch", "transformers"}
LIGHT = ("cli", "config", "artifact", "files", "errors", "console", "progress")  # import without the heavy ones
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "misc", "common", "shared", "tools", "stuff"}


class Import(NamedTuple):
    target: str
    at_module_level: bool
    line: int


def names_of_modules() -> dict[str, Path]:
    found = {}
    for path in sorted(HOME.rglob("*.py")):
        parts = path.relative_to(HOME.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = names_of_modules()
everywhere = pytest.mark.parametrize("module", MODULES)


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def imports_of(module: str) -> list[Import]:
    """All that a module imports, each by its full name; what stands under `if TYPE_CHECKING` too."""
    tree = tree_of(module)
    runs_at_import = set(_statements_at_import(tree.body))
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node in runs_at_import, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            targets = {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
            found += [Import(target, node in runs_at_import, node.lineno) for target in sorted(targets)]
    return found


def _statements_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            continue
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for block in ("body", "orelse", "finalbody"):
                yield from _statements_at_import(getattr(statement, block, []))
            for handler in getattr(statement, "handlers", []):
                yield from _statements_at_import(handler.body)


def inner_imports(module: str) -> list[Import]:
    """Imports of other modules of the house; the package itself, which holds the version alone, is open to all."""
    return [entry for entry in imports_of(module) if entry.target in MODULES and entry.target not in ("ramkit", module)]


def part_of(module: str) -> str:
    """`ramkit.text.prompts` → `text`."""
    return module.partition(".")[2].partition(".")[0]


def level_of(module: str) -> int:
    return LEVELS["cli"] + 1 if part_of(module) in ("", "__main__") else LEVELS.get(part_of(module), ROOM)


# ---- imports


def test_the_rules_see_the_house() -> None:
    assert {"ramkit", "ramkit.cli", "ramkit.photos", "ramkit.stages"} <= MODULES.keys()
    assert any(entry.target == "ramkit.errors" and entry.at_module_level for entry in imports_of("ramkit.photos"))
    assert any(entry.target == "torch" for entry in imports_of("ramkit.photos"))
    lazy = [entry for entry in imports_of("ramkit.cli.train") if part_of(entry.target) == "config"]
    assert lazy
    assert not any(entry.at_module_level for entry in lazy)


@everywhere
def test_imports_point_down(module: str) -> None:
    upward = [entry for entry in inner_imports(module) if level_of(entry.target) > level_of(module)]
    assert upward == []


@everywhere
def test_stages_meet_through_artefacts_alone(module: str) -> None:
    if part_of(module) == "stages":
        assert [entry for entry in inner_imports(module) if part_of(entry.target) == "stages"] == []


@everywhere
def test_only_the_command_line_prints_to_people(module: str) -> None:
    if part_of(module) not in ("cli", "console"):
        assert [entry for entry in inner_imports(module) if part_of(entry.target) == "console"] == []
        calls = [node.func for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call)]
        assert [ast.unparse(call) for call in calls if ast.unparse(call) in ("print", "exit", "sys.exit")] == []


@everywhere
def test_strangers_do_not_know_each_other(module: str) -> None:
    for pair in STRANGERS:
        if part_of(module) in pair:
            assert {part_of(entry.target) for entry in inner_imports(module)} & pair <= {part_of(module)}


def test_no_module_leads_back_to_itself() -> None:
    done: set[str] = set()

    def follow(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path, module])
        if module not in done:
            for entry in inner_imports(module):
                follow(entry.target, (*path, module))
            done.add(module)

    for module in MODULES:
        follow(module, ())


@everywhere
def test_heavy_packages_are_imported_where_they_are_used(module: str) -> None:
    early = [
        entry
        for entry in imports_of(module)
        if entry.at_module_level and entry.target.partition(".")[0] in WAIT_UNTIL_USED
    ]
    assert early == []


def test_the_command_line_starts_light() -> None:
    script = f"""
import importlib, json, sys
for part in {LIGHT!r}:
    importlib.import_module("ramkit." + part)
print(json.dumps(sorted({HEAVY!r} & sys.modules.keys())))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


# ---- names and words


@everywhere
def test_a_module_is_named_for_what_it_does_and_says_so(module: str) -> None:
    assert module.rpartition(".")[2].strip("_") not in EMPTY_NAMES
    assert ast.get_docstring(tree_of(module)), f"{module} has no docstring"


def commands(command: Any, path: tuple[str, ...] = ("ramkit",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


COMMANDS = {" ".join(path): command for path, command in commands(typer.main.get_command(cli.app))}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help, f"{name} has no help"
    silent = [parameter.name for parameter in command.params if not getattr(parameter, "help", None)]
    assert silent == []
    assert command.help.splitlines()[0].endswith((".", ")")), "the first line of help is a sentence"
