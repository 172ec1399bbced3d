"""How near `describe` comes to what a server can serve, and what memory it takes: prints a table.

    python tests/measure_describe.py --latency 0.25 --tags 400 --repeats 3

What a server "can serve" is what a client gets out of it that keeps as many requests under way and does nothing but
read the answers: no JSON, no judging, no disk (`speed_of`). The two take turns within one run, because server and
client share this machine's cores; compare the ratio, not the calls a second.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from stand_in_llm import speed_of

from ramkit.config import DescribeConfig
from ramkit.progress import Item
from ramkit.stages.describe import describe
from ramkit.text.prompts import PAPER_PROMPTS


@dataclass(frozen=True)
class Measured:
    bare: float  # calls a second
    describe: float
    processor: float  # seconds a call
    memory: float  # MiB by which the peak has grown

    @property
    def share(self) -> float:
        return self.describe / self.bare


def measure(url: str, *, tags: int, concurrency: int) -> Measured:
    """One turn of each; of describe's calls the middle eight tenths count, as it is long runs that matter."""
    bare = speed_of(url, calls=tags * len(PAPER_PROMPTS), concurrency=concurrency)
    marks: list[tuple[float, float]] = []

    def track(items: Iterable[Item], *, total: int | None, **_: object) -> Iterable[Item]:
        """Marks each answer that is on its way to the disk."""
        for item in items:
            marks.append((time.monotonic(), time.process_time()))
            yield item

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tags.txt"
        path.write_text("\n".join(f"thing {number}" for number in range(tags)), encoding="utf-8")
        config = DescribeConfig(llm="m", base_url=url, concurrency=concurrency)
        describe(artifacts=Path(folder), config=config, tags=path, track=track)
    middle = marks[len(marks) // 10 : len(marks) * 9 // 10]
    (started, busy), (ended, busy_then) = middle[0], middle[-1]
    calls = len(middle) / config.answers
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return Measured(bare, calls / (ended - started), (busy_then - busy) / calls, grown / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.25, help="seconds that the server takes for ten answers")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--tags", type=int, default=400, help="five calls each, of ten answers")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    command = [sys.executable, Path(__file__).with_name("stand_in_llm.py"), "--latency", str(given.latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            print("bare calls/s   describe   share   ms of processor a call   MiB grown")
            found = []
            for _ in range(given.repeats):
                found.append(one := measure(url, tags=given.tags, concurrency=given.concurrency))
                figures = (one.bare, one.describe, one.share, 1e3 * one.processor, one.memory)
                print("{:12.1f} {:10.1f} {:7.2f} {:24.2f} {:11.0f}".format(*figures))
            print(f"median share: {median(one.share for one in found):.2f}")
        finally:
            server.kill()


if __name__ == "__main__":
    main()
