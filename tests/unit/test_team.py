"""Two processes, started by torchrun, against one that does the same on all their images together."""

from itertools import chain
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file
from team_run import STEPS, WAYS, results_of, steps_of, torchrun

from ramkit.distributed import ALONE, Team, choose_device
from ramkit.errors import InputError
from ramkit.ram.training import batches, same_place

SCRIPT = Path(__file__).parents[1] / "team_run.py"


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder with the weights that two processes came to, each way; of tests side by side one makes it for all."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "team"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            folder.mkdir()
            done = torchrun(SCRIPT, folder)
            assert done.returncode == 0, done.stderr
            assert "Warning" not in done.stderr, done.stderr
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_come_to_the_gradients_of_one(way: str, together: Path, tmp_path: Path) -> None:
    wanted = results_of(*steps_of({**WAYS[way], "shard": False, "accumulate": 1}, ALONE, tmp_path))
    found = load_file(together / f"{way}.safetensors")
    assert found.keys() == wanted.keys()
    assert len(wanted["losses"]) == STEPS
    for name, tensor in wanted.items():
        if not name.endswith("key.bias"):  # softmax does not see it: AdamW makes steps of rounding errors there
            torch.testing.assert_close(
                found[name], tensor, rtol=1e-3, atol=1e-5, msg=lambda text, at=name: f"{at}: {text}"
            )


def test_the_plain_sum_is_averaged_over_the_processes_as_published(together: Path, tmp_path: Path) -> None:
    alone = results_of(*steps_of({"reduction": "sum"}, ALONE, tmp_path))
    found = load_file(together / "copies, sum.safetensors")
    torch.testing.assert_close(found["losses"][0], alone["losses"][0] / 2)


def test_captions_are_gathered_only_where_that_is_asked_for(together: Path) -> None:
    gathered, own = (load_file(together / f"copies{way}.safetensors")["losses"][0] for way in ("", ", own captions"))
    assert own[0] == gathered[0]
    assert own[1] < 0.98 * gathered[1], "the same positives, but fewer negatives"


# ---- who sees what


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("count", [5, 12, 13, 40])
def test_a_team_sees_what_one_process_sees_in_larger_batches(size: int, count: int) -> None:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(count))
    shares = [list(batches(order, 4, Team(rank, size))) for rank in range(size)]
    together = [list(chain.from_iterable(parts)) for parts in zip(*shares, strict=True)]
    assert together == list(batches(order, 4 * size))
    for parts in zip(*shares, strict=True):
        assert sum(map(len, parts)) == len(set().union(*parts)), "no photo twice"


@pytest.mark.parametrize(
    ("step", "before", "now", "place"), [(0, 10, 5, 0), (7, 10, 5, 3), (10, 10, 5, 5), (25, 10, 20, 50), (13, 7, 7, 13)]
)
def test_a_run_goes_on_at_the_same_place_with_more_or_fewer_processes(
    step: int, before: int, now: int, place: int
) -> None:
    assert same_place(step, before, now) == place


# ---- devices


def test_the_device_is_the_gpu_of_the_process_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert choose_device("auto") == torch.device("cuda", 0)
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto") == torch.device("cuda", 1)
    assert chosen == [0, 1]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match=r"Process 2 of this machine has no GPU \(2 here\)\. Start as many"):
        choose_device("auto")


def test_without_a_gpu_it_is_the_cpu_unless_a_gpu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(InputError, match=r"Process 0 of this machine has no GPU \(0 here\)"):
        choose_device("cuda")
