"""What every command does alike: help, version, errors, interrupts, pipes."""

import errno
import io
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.models import CommandInfo

import ramkit as package
from ramkit import cli, console
from ramkit.errors import ArtifactError, BusyError, InputError, MissingError, RamkitError

Run = Callable[..., Any]


@pytest.fixture
def add_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], None]:
    """Make a function the command `probe`."""

    def add(function: Callable[..., None]) -> None:
        commands = [*cli.app.registered_commands, CommandInfo(name="probe", callback=function)]
        monkeypatch.setattr(cli.app, "registered_commands", commands)

    return add


# ---- help and version


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_names_the_purpose_and_every_command(ramkit: Run, arguments: list[str]) -> None:
    code, out, err = ramkit(*arguments)
    assert code == (0 if arguments else 2)
    assert "Open-set image tagging" in out + err
    assert "--version" in out + err
    for command in cli.app.registered_commands:
        assert command.callback is not None
        assert (command.name or command.callback.__name__.replace("_", "-")) in out + err


def commands_within(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands_within(inner, (*path, name))


def test_no_help_loses_words_in_brackets(ramkit: Run) -> None:
    """Rich takes `[word]` for markup, unless it is written with a backslash, and leaves it out."""
    held = []
    for path, command in commands_within(get_command(cli.app)):
        texts = [command.help or "", *(getattr(parameter, "help", "") or "" for parameter in command.params)]
        wanted = [word for text in texts for word in re.findall(r"\[[^\]\s]*\]", text)]
        shown = ramkit(*path, "--help").out if wanted else ""
        held += wanted
        for word in wanted:
            assert word in shown, f"ramkit {' '.join(path)} --help lacks {word}: write a backslash before it"
    assert "[ray]" in held


def test_version_is_the_package_s(ramkit: Run) -> None:
    assert ramkit("--version") == (0, f"ramkit {package.__version__}\n", "")


# ---- errors


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"]])
def test_an_unknown_command_or_option_is_a_usage_error(ramkit: Run, arguments: list[str]) -> None:
    code, out, err = ramkit(*arguments)
    assert code == 2
    assert out == ""
    assert "nonsense" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("kind", [RamkitError, InputError, ArtifactError, BusyError, MissingError])
def test_a_ramkit_error_is_one_line_on_standard_error(
    ramkit: Run, add_command: Callable[..., None], kind: type[RamkitError]
) -> None:
    def fail() -> None:
        raise kind("photos/[red]犬:dog:[/x].jpg: no such file" + " or folder" * 40 + ".", cure="Check the path.")

    add_command(fail)
    code, out, err = ramkit("probe")
    assert code == 1
    assert out == ""
    line = "error: photos/[red]犬:dog:[/x].jpg: no such file" + " or folder" * 40 + ". Check the path.\n"
    assert err == line


def test_an_error_without_a_cure_is_its_message_alone() -> None:
    assert str(RamkitError("It broke.")) == "It broke."
    assert str(RamkitError("It broke.", cure="Mend it.")) == "It broke. Mend it."


def test_an_error_crosses_to_another_process_whole() -> None:
    copy = pickle.loads(pickle.dumps(InputError("It broke.", cure="Mend it.")))
    assert (type(copy), copy.what, copy.cure, str(copy)) == (InputError, "It broke.", "Mend it.", "It broke. Mend it.")


def test_a_programming_error_keeps_its_traceback(ramkit: Run, add_command: Callable[..., None]) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    add_command(fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        ramkit("probe")


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "artifacts/model"), "artifacts/model"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "writing"),
    ],
    ids=["Python's", "Rust's"],
)
def test_a_disk_that_refuses_is_one_line(
    ramkit: Run, add_command: Callable[..., None], error: Exception, where: str
) -> None:
    def full() -> None:
        raise error

    add_command(full)
    told = f"{where}: No space left on device. Free some space and run the same command again; "
    assert ramkit("probe") == (1, "", f"error: {told}what was finished is not lost.\n")


def test_another_error_of_the_system_keeps_its_traceback(ramkit: Run, add_command: Callable[..., None]) -> None:
    def fail() -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    add_command(fail)
    with pytest.raises(OSError, match="Invalid argument"):
        ramkit("probe")


def test_an_interrupt_ends_with_130_and_says_how_to_go_on(ramkit: Run, add_command: Callable[..., None]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    add_command(interrupt)
    told = "stopped; what was finished is kept, and the same command goes on from there where it can.\n"
    assert ramkit("probe") == (130, "", told)


# ---- pipes

PROBE = """
import sys
from ramkit import cli, console

@cli.app.command()
def probe():
    WRITE

sys.argv = ["ramkit", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.parametrize(
    "write",
    [
        "for row in range(100_000): print(row)",
        "print('a row')",
        "console.print_json(list(range(100_000)))",
        "console.print_table('', ['n'], ([row] for row in range(3000)))",
    ],
    ids=["much", "little", "json", "table"],
)
def test_a_reader_that_has_seen_enough_is_no_error(write: str) -> None:
    command = [sys.executable, "-c", PROBE.replace("WRITE", write), "probe"]
    assert run_without_reader(command) == (0, "")


def test_help_without_a_reader_is_no_error() -> None:
    assert run_without_reader([sys.executable, "-m", "ramkit", "--help"]) == (0, "")


def test_a_standard_output_that_is_closed_is_no_error() -> None:
    command = 'exec "$0" -m ramkit --help >&-'
    done = subprocess.run(["sh", "-c", command, sys.executable], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def run_without_reader(command: list[str]) -> tuple[int, str]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        return process.wait(timeout=20), process.stderr.read()


def test_an_error_is_an_error_in_a_process_of_its_own() -> None:
    script = PROBE.replace(
        "WRITE", "from ramkit.errors import InputError; raise InputError('a.jpg: bad.', cure='Mend.')"
    )
    done = subprocess.run([sys.executable, "-c", script, "probe"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: a.jpg: bad. Mend.\n")


# ---- what is printed


def test_a_table_shows_names_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.results, "_width", 100)
    console.print_table("[1].jpg", ["tag", "score"], [["[red]", 0.5], [":dog:", 0.25], ["a [/b] \udce9", 1.0]])
    out = capsys.readouterr().out
    for text in ("[1].jpg", "[red]", ":dog:", "a [/b] \\udce9", "0.500", "0.250", "1.000"):
        assert text in out


@pytest.mark.parametrize(
    ("encoding", "image", "shown"),
    [
        ("utf-8", "né 犬.jpg", "né 犬.jpg"),
        ("ascii", "né 犬 🐕.jpg", r"n\u00e9 \u72ac \ud83d\udc15.jpg"),
        ("utf-8", "n\udce9.jpg", r"n\udce9.jpg"),
    ],
    ids=["UTF-8", "a terminal without UTF-8", "a file name that is no UTF-8"],
)
def test_json_shows_characters_as_themselves_where_that_can_be(
    monkeypatch: pytest.MonkeyPatch, encoding: str, image: str, shown: str
) -> None:
    written = io.BytesIO()
    with io.TextIOWrapper(written, encoding=encoding, write_through=True) as stream:
        monkeypatch.setattr("sys.stdout", stream)
        console.print_json({"image": image})
        content = written.getvalue().decode(encoding)
    assert shown in content
    assert json.loads(content) == {"image": image}


def test_progress_passes_items_on_and_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(console.track(iter([1, 2]), total=2, what="counting")) == [1, 2]
    assert capsys.readouterr() == ("", "")
