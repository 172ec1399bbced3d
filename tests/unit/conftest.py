"""What unit tests share."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest


@pytest.fixture
def killed() -> Callable[..., int]:
    """Run a script in another process and kill it (SIGKILL) some seconds after it has printed its first line;
    returns its process number."""

    def run(script: str, *arguments: object, after: float) -> int:
        command = [sys.executable, "-c", script, *map(str, arguments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline(), "the script ended before it began"
                time.sleep(after)
                assert process.poll() is None, "the script ended before it was killed"
            finally:
                process.kill()
        assert process.returncode == -signal.SIGKILL
        return process.pid

    return run
