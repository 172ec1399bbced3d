"""What is timed and what is extrapolated, by a clock that the work itself turns; the command, and its picture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ramkit.image_encoder import create_image_encoder
from ramkit.pictures.paradigms import picture
from ramkit.ram import paradigm_times as room
from ramkit.ram.model import ModelConfig
from ramkit.ram.paradigm_times import PARADIGMS, Protocol, Times, measure

COST = {"ITC": 1e-6, "ITTA": 1e-3, "ITM": 1.0}  # seconds a tag


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, list[int]], Callable[[], float]]:
    """Tags of each run, and a clock that goes on by what they cost."""
    now, runs = [0.0], {name: [] for name in PARADIGMS}  # type: tuple[list[float], dict[str, list[int]]]

    def asks(*_: Any) -> dict[str, Any]:
        def ask(name: str) -> Callable[[int], None]:
            def run(tags: int) -> None:
                runs[name].append(tags)
                now[0] += COST[name] * tags

            return run

        return {name: ask(name) for name in PARADIGMS}

    monkeypatch.setattr(room, "_asks", asks)
    return runs, lambda: now[0]


def timed(protocol: Protocol, size: int = 32, **options: Any) -> Times:
    encoder = create_image_encoder("test_vit", size=size)
    config = ModelConfig("test_vit", size, encoder.width, 16, query_width=64, heads=2, hidden=256)
    return measure(encoder, config, protocol, **options)


def test_what_the_budget_does_not_hold_is_extrapolated_and_marked(asked: Any) -> None:
    runs, timer = asked
    times = timed(Protocol((1, 10, 100, 1000, 10_000), repeats=3, seconds=50.0), timer=timer)
    for name in PARADIGMS:
        for entry in times.of(name):
            assert entry.alignment == pytest.approx(COST[name] * entry.tags), (name, entry.tags)
    assert [entry.extrapolated for entry in times.of("ITM")] == [False, False, True, True, True]
    assert {entry.timed for entry in times.of("ITM")[2:]} == {50}
    assert not any(entry.extrapolated for entry in times.of("ITC") + times.of("ITTA"))
    assert runs["ITM"] == [1, 1, 1, 1, 10, 10, 10, 50], "one run that does not count, and what fits once"
    assert [entry.runs for entry in times.of("ITTA")] == [3, 3, 3, 3, 3]


def test_each_paradigm_is_asked_for_so_many_tags_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    from ramkit.ram.model import AlignmentHead
    from ramkit.ram.paradigms import ITC, ITM

    seen: dict[str, list[int]] = {name: [] for name in PARADIGMS}
    monkeypatch.setattr(ITC, "forward", lambda _, queries, tokens: seen["ITC"].append(len(queries)))
    monkeypatch.setattr(ITM, "forward", lambda _, queries, tokens: seen["ITM"].append(len(queries)))
    monkeypatch.setattr(AlignmentHead, "align", lambda _, queries, tokens: seen["ITTA"].append(queries.shape[-2]))
    timed(Protocol((3, 2500), descriptions=4, repeats=1))
    for name in PARADIGMS:
        assert seen[name] == [1, 3, 1024, 1024, 452], name


def test_more_pairs_take_itm_more_time_than_itta() -> None:
    times = timed(Protocol((1, 64), descriptions=3, repeats=3), size=128)  # 64 tokens
    assert times.of("ITM")[1].alignment > 3 * times.of("ITTA")[1].alignment
    assert times.encoder > 0
    assert all(entry.alignment > 0 and not entry.extrapolated for entry in times.timings)


def test_the_command_prints_and_draws(ramkit: Callable[..., Any], tmp_path: Path) -> None:
    arguments = ("bench", "paradigms", "--image-encoder", "test_vit", "--image-size", 32, "--repeats", 1)
    options = ("--tags", "100,1,2000000000", "--seconds", 0.2, "--descriptions", 2, "--png", tmp_path / "times.png")
    shown = ramkit(*arguments, *options)
    assert shown.code == 0
    assert all(told in shown.out for told in ("test_vit, 32 pixels", "ITC", "ITTA", "ITM", "2,000,000,000", " *"))
    assert "tags were timed, the time of more is extrapolated" in shown.err
    with Image.open(tmp_path / "times.png") as image:
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    document = json.loads(ramkit(*arguments, *options, "--json").out)
    cells = {(entry["paradigm"], entry["tags"]): entry for entry in document["times"]}
    assert len(cells) == 9
    assert cells["ITC", 1]["extrapolated_from"] is None
    assert cells["ITM", 2_000_000_000]["extrapolated_from"] < 2_000_000_000
    for entry in document["times"]:
        assert entry["seconds"] == pytest.approx(document["image_encoder_seconds"] + entry["alignment_seconds"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tags", "1,ten"), "--tags '1,ten'. Give whole numbers, as in --tags 1,10,100."),
        (("--tags", "0,1"), "--tags (0, 1). Give numbers above 0"),
        (("--seconds", "0"), "--seconds 0.0. Give a number above 0."),
        (("--image-encoder", "resnet_zz"), "timm has no model 'resnet_zz'."),
        (("--png", "/no/where/p.png"), "/no/where: no such folder."),
    ],
)
def test_what_cannot_be_timed_is_told(ramkit: Callable[..., Any], options: tuple[str, ...], message: str) -> None:
    result = ramkit("bench", "paradigms", *options)
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert f"error: {message}" in result.err


def test_the_picture_is_the_same_for_the_same_times() -> None:
    times = Times(
        0.1, tuple(room.Timing(name, n, COST[name] * n, 1, min(n, 10)) for name in PARADIGMS for n in (1, 100))
    )
    machine = {"image_encoder": "test_vit", "processor": "a $machine$", "threads": 2}
    assert picture(times, machine) == picture(times, machine)
