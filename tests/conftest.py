"""What tests share: running the command line in this process, and the shared data where it is present."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

# Before torch and rich are imported: small tensors are done sooner on one thread, two tests side by side get in each
# other's way less, and tables shall be as wide as the `ramkit` fixture says.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("COLUMNS", None)
os.environ.pop("HF_HUB_OFFLINE", None)  # the hub of the tests is on this machine
os.environ.pop("HF_DATASETS_OFFLINE", None)

import pytest


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def ramkit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `ramkit ARGUMENTS` in this process, errors handled as at a terminal."""
    from ramkit import cli

    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Result:
        monkeypatch.setattr("sys.argv", ["ramkit", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What ramkit keeps for later goes to a folder of this run."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAMKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data beside the checkout; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("RAMKIT_SHARED") or Path(__file__).parents[2] / "shared")
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}")
    return folder
