"""Checkpoints: whole or not there, two of them, and a damaged one passed over."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ramkit.checkpoints import Checkpoints


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / ".draft-1")


def save(kept: Checkpoints, step: int) -> None:
    kept.save(step, {"module.weight": torch.full((1000,), float(step)), "empty": torch.empty(0)}, {"step": step})


def names(kept: Checkpoints) -> list[str]:
    return sorted(path.name for path in kept.base.parent.iterdir())


def test_no_checkpoint_is_none(kept: Checkpoints) -> None:
    assert kept.newest() is None
    kept.remove()


def test_the_newest_two_stay_and_the_newest_is_read(kept: Checkpoints) -> None:
    for step in (2, 4, 10, 200):
        save(kept, step)
    assert names(kept) == [f".draft-1-checkpoint-{step:09}.safetensors" for step in (10, 200)]
    found = kept.newest()
    assert found is not None
    assert found.counts == {"step": 200}
    assert found.tensors["module.weight"].tolist() == [200.0] * 1000
    kept.remove()
    assert names(kept) == []


def test_those_of_another_run_are_left_alone(kept: Checkpoints) -> None:
    other = Checkpoints(kept.base.with_name(".draft-12"))
    for step in (1, 2, 3):
        save(other, step)
        save(kept, step)
    kept.remove()
    assert len(names(other)) == 2


@pytest.mark.parametrize("damage", ["truncated", "emptied", "garbled"])
def test_a_damaged_one_is_told_and_the_one_before_it_read(kept: Checkpoints, damage: str) -> None:
    save(kept, 3)
    save(kept, 6)
    path = kept.base.parent / names(kept)[1]
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:-7], "emptied": b"", "garbled": b"x" * len(whole)}[damage])
    told: list[str] = []
    found = kept.newest(told.append)
    assert found is not None
    assert found.counts == {"step": 3}
    assert len(told) == 1
    assert told[0].startswith(".draft-1-checkpoint-000000006.safetensors is damaged (")
    assert told[0].endswith("); going on from an earlier one")


def test_one_is_written_whole_or_not_at_all(kept: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    save(kept, 1)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            save(kept, 2)
    found = kept.newest()
    assert found is not None
    assert found.counts == {"step": 1}
    kept.remove()
    assert names(kept) == []
