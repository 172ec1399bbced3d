"""pull, as a person uses it, against a server that speaks the hub's protocol: whole, broken off, wrong, not there."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stand_in_hub
import tiny_published as tiny
from stand_in_hub import COMMIT, Hub

from ramkit.files import read_rows, sha256_of
from ramkit.stages.pull import PUBLISHED

MODEL = PUBLISHED["ram-plus-swin-l"]
WRITTEN = 10 * 1024 * 1024  # bytes the hub's library collects before it writes them
CHECKPOINT = f"{MODEL.checkpoint.repository}/{MODEL.checkpoint.name}"
DESCRIPTIONS = f"datasets/{MODEL.descriptions.repository}/{MODEL.descriptions.name}"


@pytest.fixture(scope="session")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    checkpoint = tiny.write_checkpoint(tmp_path_factory.mktemp("hub") / "tiny.pth")
    texts = [{tag: tiny.texts_of(tag)} for tag in tiny.NAMES]
    return {CHECKPOINT: checkpoint.read_bytes(), DESCRIPTIONS: json.dumps(texts).encode()}


@pytest.fixture
def hub(content: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv("RAMKIT_CACHE", str(tmp_path / "cache"))
    with stand_in_hub.serve(dict(content)) as serving:
        monkeypatch.setenv("HF_ENDPOINT", serving.url)
        yield serving


@pytest.fixture
def pull(ramkit: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    return lambda *options: ramkit("pull", "ram-plus-swin-l", *options, "--artifacts", tmp_path / "a")


def small(hub: Hub) -> Hub:
    """With a checkpoint that is no model: enough where the download alone is looked at."""
    hub.files[CHECKPOINT] = os.urandom(300_000)
    return hub


def test_a_model_is_fetched_checked_and_imported(
    hub: Hub, pull: Callable[..., Any], content: dict[str, bytes], tmp_path: Path
) -> None:
    made = pull("--json")
    assert made.code == 0, made.err
    told = json.loads(made.out)
    assert (told["model"], told["tags"], told["published_as"]) == ("model:v1", 6, "ram-plus-swin-l")
    digest = told["checkpoint_sha256"]
    assert told["from"] == {
        "repository": MODEL.checkpoint.repository, "kind": "model", "revision": COMMIT,
        "file": MODEL.checkpoint.name, "etag": digest, "as_the_hub_tells": True,
    }  # fmt: skip
    assert told["descriptions_from"]["kind"] == "dataset"
    kept = tmp_path / "cache" / "downloads" / f"models--{MODEL.checkpoint.repository.replace('/', '--')}" / COMMIT
    assert [path.name for path in kept.iterdir()] == [MODEL.checkpoint.name]
    assert sha256_of(kept / MODEL.checkpoint.name) == digest
    assert f"The download is no longer needed: {kept / MODEL.checkpoint.name}" in made.err
    texts = [row["text"] for row in read_rows(Path(told["path"]) / "descriptions.jsonl")]
    assert texts[:2] == ["a photo of a cat.", "cat on the red"]

    before = len(hub.ranges())
    assert pull("--revision", COMMIT).code == 0
    assert len(hub.ranges()) == before, "nothing is fetched twice"


def test_a_broken_connection_is_taken_up_by_the_second_run(
    hub: Hub, pull: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between the attempts of one run
    hub.cuts = [25_000_000, *[0] * 6]
    first = pull()
    assert (first.code, first.err.count("error:"), first.err.count("\n")) == (1, 1, 3)
    assert "ram_plus_swin_large_14m.pth: the download broke off after 20,971,520 of 114," in first.err
    assert "Give the same command again: it goes on from there." in first.err
    asked = len(hub.ranges())
    hub.cuts = []
    assert pull().code == 0
    assert hub.ranges()[asked:] == [f"bytes={2 * WRITTEN}-"]


def test_a_killed_run_is_taken_up_by_the_second(hub: Hub, tmp_path: Path) -> None:
    hub.files[CHECKPOINT], hub.speed = os.urandom(5 * WRITTEN), 500_000
    command = [sys.executable, "-m", "ramkit", "pull", "ram-plus-swin-l", "--artifacts", str(tmp_path / "a")]
    killed = subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.PIPE, text=True)
    part = until(lambda: next((p for p in tmp_path.rglob("*.part") if p.stat().st_size >= WRITTEN), None))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    hub.speed, done = 0, part.stat().st_size
    assert WRITTEN <= done < 5 * WRITTEN
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert hub.ranges()[-1] == f"bytes={done}-"
    (whole,) = tmp_path.rglob(MODEL.checkpoint.name)
    assert whole.read_bytes() == hub.files[CHECKPOINT]
    assert "not readable as weights" in again.stderr, "random bytes: fetched well, and then refused"
    assert again.stderr.count("Traceback") == 0


def until(found: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (value := found()) is not None:
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


def test_what_is_not_what_the_hub_tells_is_removed(hub: Hub, pull: Callable[..., Any], tmp_path: Path) -> None:
    small(hub).etag = "a" * 64
    result = pull()
    assert (result.code, result.err.count("error:")) == (1, 1)
    assert f"its SHA-256 is {_sha256(hub.files[CHECKPOINT])}, the hub tells {'a' * 64}; it was removed." in result.err
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob(MODEL.checkpoint.name))
    assert not list(tmp_path.rglob("model/v*"))


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def test_a_small_files_git_hash_is_checked_too(
    hub: Hub, pull: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "etag_of", lambda *_: "b" * 40)
    assert f"the hub tells {'b' * 40}; it was removed." in pull().err


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ("repository", (), f"has no model {MODEL.checkpoint.repository} that is open to all."),
        ("file", (), f"has no model {MODEL.checkpoint.repository} with a file {MODEL.checkpoint.name} at main."),
        ("", ("--revision", "v9"), f"has no model {MODEL.checkpoint.repository} of revision v9."),
        ("", ("--descriptions-revision", "v9"), f"has no dataset {MODEL.descriptions.repository} of revision v9."),
    ],
)
def test_what_the_hub_does_not_have_is_told(
    hub: Hub, pull: Callable[..., Any], change: str, options: tuple[str, ...], message: str
) -> None:
    held = small(hub).files.pop(CHECKPOINT) if change else b""
    if change == "file":
        hub.files[f"{MODEL.checkpoint.repository}/other.pth"] = held
    result = pull(*options)
    assert (result.code, result.err.count("error:")) == (1, 1)
    assert f"error: {hub.url} {message} Check --revision; `ramkit pull` tells what there is." in result.err


def test_offline_it_is_one_line_with_the_cure(
    hub: Hub, pull: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    result = pull()
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "error: http://127.0.0.1:9 cannot be reached (" in result.err
    assert "Go online and give the command again, or bring " in result.err


def test_what_was_fetched_before_serves_offline(
    hub: Hub, pull: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pull().code == 0
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    again = pull("--json", "--precision", "float16")
    assert again.code == 0
    assert json.loads(again.out)["from"]["revision"] == COMMIT
    assert "the hub cannot be reached; what was fetched before is used" in again.err


def test_what_there_is_is_listed(ramkit: Callable[..., Any]) -> None:
    listed = ramkit("pull")
    assert listed.code == 0
    for told in ("ram-plus-swin-l", "3.0 GB", "Apache-2.0", "xinyu1205/recognize-anything-plus-model"):
        assert told in listed.out
    assert json.loads(ramkit("pull", "--json").out)[0]["name"] == "ram-plus-swin-l"
    assert "'ram-plus': no such model. Choose from ram-plus-swin-l." in ramkit("pull", "ram-plus").err


def test_a_full_disk_is_told_beforehand(hub: Hub, pull: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    from ramkit import hub as room

    usage = shutil.disk_usage("/")
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    result = pull()
    assert (result.code, result.err.count("error:")) == (1, 1)
    assert (
        "0.1 GB are missing of ram_plus_swin_large_14m.pth, 0.0 GB are free. Make room, or name another" in result.err
    )
