"""What each step towards a faster caption parser bought: `python tests/gold/pace.py [CAPTIONS.jsonl] [--processes 2]`.

Every step is timed in every round, in turn, so that a busy machine slows all of them alike; told are the medians. The
captions are those of the gold set, or the `caption`s of a file, each once. The steps up to the rules give the same
dependency parses, which is counted, too.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ramkit.captions import Columns, open_sources
from ramkit.progress import silent
from ramkit.text import caption_parser, parsing
from ramkit.text.caption_parser import CaptionParser
from ramkit.text.cleaning import clean

GOLD = Path(__file__).parent / "captions.jsonl"
MODEL = caption_parser.MODELS[-1]


def captions_of(path: Path, limit: int) -> list[str]:
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    texts = dict.fromkeys(clean(row["caption"]).text for row in rows)
    return [text for text in texts if text][:limit]


def parses(documents: Any) -> list[list[tuple[str, str, int]]]:
    return [[(token.tag_, token.dep_, token.head.i) for token in document] for document in documents]


def steps(captions: Sequence[str]) -> dict[str, Callable[[], Any]]:
    """Each step in addition to those before it; the results of all but the last are comparable."""
    import spacy
    from threadpoolctl import threadpool_limits

    whole = spacy.load(MODEL)
    lean = spacy.load(MODEL, disable=caption_parser._UNNEEDED)
    fast = caption_parser.load_model(MODEL)
    parser = CaptionParser(MODEL)

    def on_one_thread() -> Any:
        with threadpool_limits(1, user_api="blas"):
            return parses(fast.pipe(captions, batch_size=caption_parser.BATCH))

    return {
        "spaCy, caption by caption": lambda: parses(map(whole, captions)),
        "+ in batches": lambda: parses(whole.pipe(captions, batch_size=caption_parser.BATCH)),
        "+ tagger and parser alone": lambda: parses(lean.pipe(captions, batch_size=caption_parser.BATCH)),
        "+ NumPy's products, one thread": on_one_thread,
        "+ lists for spaCy's tokens, ramkit's rules": lambda: list(parser.parse(captions)),
    }


def whole_run(path: Path, processes: int) -> int:
    """All captions of a file, read, parsed and written by several processes; the parse cache is empty."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        columns = Columns()
        sources = open_sources([str(path)], columns)
        found = parsing.parse_sources(sources, columns, job=parsing.Job(MODEL), processes=processes, track=silent)
        return sum(unit.summary().captions for unit in found.units)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("captions", type=Path, nargs="?", default=GOLD)
    options.add_argument("--limit", type=int, default=2048, help="captions of the steps in one process")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--processes", type=int, default=2, help="of the whole run over the file")
    given = options.parse_args()
    captions = captions_of(given.captions, given.limit)
    known = steps(captions)
    seconds: dict[str, list[float]] = {name: [] for name in known}
    results: dict[str, Any] = {}
    for _ in range(given.rounds):
        for name, step in known.items():
            started = time.perf_counter()
            results[name] = step()
            seconds[name].append(time.perf_counter() - started)
    first, *others = list(known)[:-1]
    pace = {name: len(captions) / statistics.median(times) for name, times in seconds.items()}
    before = None
    for name, found in pace.items():
        gain = f"  x {found / before:.2f}" if before else ""
        print(f"{name:<46} {found:8,.0f} captions/s{gain}")
        before = found
    for name in others:
        changed = sum(mine != theirs for mine, theirs in zip(results[first], results[name], strict=True))
        print(f"parses changed by {name!r}: {changed} of {len(captions)}")
    started = time.perf_counter()
    parsed = whole_run(given.captions, given.processes)
    passed = time.perf_counter() - started
    print(f"whole file, {given.processes} processes, starting them included: {parsed / passed:,.0f} captions/s")


if __name__ == "__main__":
    main()
