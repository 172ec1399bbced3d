"""Parsing many captions: units of rows, each parsed once, kept in the cache, by as many processes as there are cores.

A unit is a run of rows of one source. What it gave is one small file in ramkit's cache, named by the source's
identity, the columns and the parser: a run that was stopped goes on where it was, and a run that only asks for
another vocabulary (`--min-count 10`) parses nothing. Which captions are parsed together depends on the source alone,
so the outcome is the same whatever the number of processes.
"""

import gc
import gzip
import hashlib
import json
import logging
import os
import shutil
import sqlite3
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal

from ramkit import files, progress
from ramkit.captions import BadRow, CaptionRow, Columns, Source
from ramkit.errors import InputError, MissingError, RamkitError
from ramkit.text.caption_parser import CaptionParser, Parsed
from ramkit.text.closed import ClosedVocabulary
from ramkit.text.vocabulary import Tag

UNIT = 4096  # rows a unit: some seconds of work, some megabytes of memory
_FEW = 2 * UNIT  # so few rows are parsed before further processes have started
Engine = Literal["local", "ray"]
_DONE = "done.json"
_KEPT_DAYS = 30
_EXAMPLES = 20  # bad rows kept with their place, a unit


@dataclass
class UnitSummary:
    """What a unit counted, beside its rows."""

    photos: int = 0
    captions: int = 0
    distinct: int = 0
    bad: int = 0
    bad_examples: list[list[str]] = field(default_factory=list)  # [where, why]
    skipped: Counter[str] = field(default_factory=Counter)  # why → captions
    rules: Counter[str] = field(default_factory=Counter)  # rule → mentions
    dropped: dict[str, Counter[str]] = field(default_factory=dict)  # why → name → times

    def add(self, other: "UnitSummary") -> None:
        """Take in another unit's counts."""
        self.photos += other.photos
        self.captions += other.captions
        self.distinct += other.distinct
        self.bad += other.bad
        self.bad_examples = (self.bad_examples + other.bad_examples)[:_EXAMPLES]
        self.skipped.update(other.skipped)
        self.rules.update(other.rules)
        for why, names in other.dropped.items():
            self.dropped.setdefault(why, Counter()).update(names)
            self.dropped[why] = Counter(dict(_most(self.dropped[why], 2000)))


@dataclass(frozen=True)
class Unit:
    """A parsed unit in the cache."""

    path: Path

    def summary(self) -> UnitSummary:
        with gzip.open(self.path, "rt", encoding="utf-8") as stream:
            head = json.loads(stream.readline())
        head["skipped"], head["rules"] = Counter(head["skipped"]), Counter(head["rules"])
        head["dropped"] = {why: Counter(names) for why, names in head["dropped"].items()}
        return UnitSummary(**head)

    def rows(self) -> Iterator[dict[str, Any]]:
        """{"image", "captions", "mentions": [[kind, name], …], "relations": [[subject, relation, object], …]}"""
        with gzip.open(self.path, "rt", encoding="utf-8") as stream:
            stream.readline()
            for line in stream:
                yield json.loads(line)


@dataclass(frozen=True)
class Outcome:
    """All units of a run, in order, and how many of them were in the cache already."""

    units: list[Unit]
    reused: int


@dataclass(frozen=True)
class Job:
    """How to parse: the spaCy pipeline, and the closed vocabulary if there is one."""

    model: str = ""
    closed: tuple[Tag, ...] = ()

    def identity(self) -> str:
        """Model, version, vocabulary, and the code and word lists of the rules: whatever can change the outcome."""
        parser, _ = tools_of(self)
        return f"{parser.model} {parser.version} {_rules_digest()} {self.closed!r}"


def parse_sources(
    sources: Sequence[Source],
    columns: Columns,
    *,
    job: Job,
    processes: int,
    track: progress.Track,
    engine: Engine = "local",
) -> Outcome:
    """Parse what is not in the cache yet, here or on a Ray cluster."""
    forget_unused()
    if engine == "ray":
        return _parse_on_ray(sources, columns, job, processes)
    units: list[Unit] = []
    reused = 0
    unfinished: list[tuple[Path, list[Unit]]] = []
    identity = job.identity()
    with _Workers(job, processes) as workers:
        for source in track(sources, total=len(sources), what="parsing captions"):
            home = _home(source, columns, identity)
            finished = _finished_units(home)
            if finished is not None:
                units.extend(finished)
                reused += len(finished)
                continue
            home.mkdir(parents=True, exist_ok=True)
            own = []
            for number, rows in enumerate(_units_of(source)):
                unit = Unit(_unit_path(home, number))
                if unit.path.is_file():
                    reused += 1
                else:
                    workers.submit(rows, unit.path)
                own.append(unit)
            units.extend(own)
            unfinished = _finish([*unfinished, (home, own)])
        workers.drain()
        _finish(unfinished)
    return Outcome(units, reused)


def forget_unused() -> None:
    """Remove from ramkit's cache the parses and standard inputs that no run has asked for in a month."""
    oldest = time.time() - _KEPT_DAYS * 24 * 3600
    cache = files.cache_directory()
    for entry in [entry for kind in ("parsed", "merged", "stdin") for entry in cache.glob(f"{kind}/*")]:
        with suppress(FileNotFoundError):  # another run may be tidying up, too
            if entry.stat().st_mtime < oldest:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _parse_on_ray(sources: Sequence[Source], columns: Columns, job: Job, processes: int) -> Outcome:
    """The same units, a source a task of Ray Data; every node must see the sources and the cache under one path."""
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingError("Ray is not installed.", cure="Run: pip install 'ramkit[ray]'") from None
    if not ray.is_initialized():
        cores = processes or None
        ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # else it tells of each step
    ray.data.DataContext.get_current().enable_progress_bars = False
    homes = [_home(source, columns, job.identity()) for source in sources]
    before = sum(len(list(home.glob("*.gz"))) for home in homes)

    def parse(task: dict[str, Any]) -> dict[str, Any]:
        what = cure = ""
        try:
            _parse_here(sources[task["id"]], homes[task["id"]], job)
        except RamkitError as error:  # Ray would hand it on as one of its own, in many lines
            what, cure = error.what, error.cure
        return {**task, "what": what, "cure": cure}

    open_tasks = [number for number, home in enumerate(homes) if _finished_units(home) is None]
    if open_tasks:
        tasks = ray.data.range(len(open_tasks), override_num_blocks=len(open_tasks))
        for done in tasks.map(lambda task: parse({"id": open_tasks[task["id"]]})).take_all():
            if done["what"]:
                raise InputError(done["what"], cure=done["cure"])
    units = [unit for home in homes for unit in _finished_units(home) or []]
    return Outcome(units, before)


def _parse_here(source: Source, home: Path, job: Job) -> None:
    """All units of one source, in this process."""
    home.mkdir(parents=True, exist_ok=True)
    units = []
    for number, rows in enumerate(_units_of(source)):
        unit = Unit(_unit_path(home, number))
        if not unit.path.is_file():
            parse_unit(rows, unit.path, job)
        units.append(unit)
    _finish([(home, units)])


def _finished_units(home: Path) -> list[Unit] | None:
    """The units of a source that an earlier run read to its end; None where it has to be read."""
    done = home / _DONE
    if not done.is_file():
        return None
    units = [Unit(_unit_path(home, number)) for number in range(int(json.loads(done.read_text())["units"]))]
    return units if all(unit.path.is_file() for unit in units) else None


def _finish(sources: Iterable[tuple[Path, list[Unit]]]) -> list[tuple[Path, list[Unit]]]:
    """Mark sources whose units are all written; gives back the others."""
    waiting = []
    for home, units in sources:
        if all(unit.path.is_file() for unit in units):
            files.write_whole(home / _DONE, json.dumps({"units": len(units)}))
        else:
            waiting.append((home, units))
    return waiting


@lru_cache(maxsize=1)
def _rules_digest() -> str:
    folder = Path(__file__).parent
    names = (
        "caption_parser.py",
        "cleaning.py",
        "languages.py",
        "lemmas.py",
        "lexicon.py",
        "parsing.py",
        "closed.py",
        "synonyms.py",
        "vocabulary.py",
    )
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()[:16]


def _home(source: Source, columns: Columns, identity: str) -> Path:
    content = json.dumps([source.identity, columns.image, columns.caption, columns.split, identity, UNIT])
    home = files.cache_directory() / "parsed" / hashlib.sha256(content.encode()).hexdigest()[:24]
    if home.is_dir():
        os.utime(home)  # in use: see `forget_unused`
    return home


def _unit_path(home: Path, number: int) -> Path:
    return home / f"{number:06}.jsonl.gz"


def _units_of(source: Source) -> Iterator[list[CaptionRow | BadRow]]:
    rows = iter(source.read())
    while unit := list(islice(rows, UNIT)):
        yield unit


class _Workers:
    """Parses units in this process while they are few, then in a pool of processes."""

    def __init__(self, job: Job, processes: int) -> None:
        self._job = job
        self._processes = processes or available_cores()
        self._pool: ProcessPoolExecutor | None = None
        self._pending: list[Future[None]] = []
        self._held: list[tuple[list[CaptionRow | BadRow], Path]] = []

    def __enter__(self) -> "_Workers":
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        if failure is None:
            self.drain()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, rows: list[CaptionRow | BadRow], path: Path) -> None:
        if self._pool is None:
            self._held.append((rows, path))
            if self._processes < 2 or sum(len(rows) for rows, _ in self._held) <= _FEW:
                if self._processes < 2:
                    self.drain()
                return
            self._start_pool()
        else:
            self._send(rows, path)

    def drain(self) -> None:
        """Wait until everything submitted is written."""
        for rows, path in self._held:
            parse_unit(rows, path, self._job)
        self._held = []
        for future in self._pending:
            future.result()
        self._pending = []

    def _start_pool(self) -> None:
        import multiprocessing

        # spawn: a forked process would inherit locks of threads that it does not have
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self._processes, mp_context=spawn, initializer=_start, initargs=(self._job,))
        held, self._held = self._held, []
        for rows, path in held:
            self._send(rows, path)

    def _send(self, rows: list[CaptionRow | BadRow], path: Path) -> None:
        assert self._pool is not None
        while len(self._pending) >= 3 * self._processes:  # keeps memory flat
            self._pending.pop(0).result()
        self._pending.append(self._pool.submit(parse_unit, rows, path, self._job))


def _start(job: Job) -> None:
    """What a process of the pool does first: load the parser, and tell the garbage collector to leave it alone, which
    would otherwise look through its million objects again and again."""
    tools_of(job)
    gc.collect()
    gc.freeze()


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def tools_of(job: Job) -> tuple[CaptionParser, ClosedVocabulary | None]:
    """The parser and the closed vocabulary of a job, made once a process."""
    parser = CaptionParser(job.model)
    return parser, ClosedVocabulary(job.closed, parser.lemmas) if job.closed else None


def parse_unit(rows: Sequence[CaptionRow | BadRow], path: Path, job: Job) -> None:
    """Parse the rows, each distinct caption once, and write the unit whole."""
    summary = UnitSummary()
    good = [row for row in rows if isinstance(row, CaptionRow)]
    texts = list(dict.fromkeys(caption for row in good for caption in row.captions))
    parser, vocabulary = tools_of(job)
    parsed = dict(zip(texts, parser.parse(texts, vocabulary), strict=True))
    lines = [files.to_json_line(_as_row(row, [parsed[caption] for caption in row.captions])) for row in good]
    bad = [row for row in rows if isinstance(row, BadRow)]
    summary.photos, summary.bad, summary.distinct = len(good), len(bad), len(texts)
    summary.bad_examples = [[row.where, row.why] for row in bad[:_EXAMPLES]]
    for row in good:
        for caption in row.captions:
            _count(parsed[caption], summary)
    head = {**vars(summary), "dropped": {why: dict(_most(names, 500)) for why, names in summary.dropped.items()}}
    content = (files.to_json_line(head) + "".join(lines)).encode()
    files.write_whole(path, gzip.compress(content, compresslevel=1, mtime=0))


def _count(parsed: Parsed, summary: UnitSummary) -> None:
    summary.captions += 1
    if parsed.skipped:
        summary.skipped[parsed.skipped] += 1
    for mention in parsed.mentions:
        summary.rules[mention.rule] += 1
    for mention in parsed.dropped:
        summary.dropped.setdefault(mention.rule, Counter())[mention.tag] += 1


def _most(names: Counter[str], limit: int) -> Iterable[tuple[str, int]]:
    return sorted(names.items(), key=lambda entry: (-entry[1], entry[0]))[:limit]


def _as_row(row: CaptionRow, parsed: Sequence[Parsed]) -> dict[str, Any]:
    mentions = dict.fromkeys((mention.kind, mention.tag) for entry in parsed for mention in entry.mentions)
    relations = dict.fromkeys(
        (found.subject, found.relation, found.object) for entry in parsed for found in entry.relations
    )
    return {"image": row.image, "captions": row.captions, "mentions": list(mentions), "relations": list(relations)}


def merge_photos(units: Sequence[Unit]) -> list[Unit]:
    """One row a photo, whatever order its captions came in: the units themselves where no photo has two rows, else
    one unit with the rows of each photo put together where the first of them stood.

    Hashes of the references find repeats (8 bytes a row); the putting together is done on disk.
    """
    import numpy as np

    hashes = array("Q", (_hash_of(row["image"]) for unit in units for row in unit.rows()))
    ordered = np.sort(np.frombuffer(hashes, dtype=np.uint64))  # sets, np.unique's too, would take 60 bytes a row
    photos = len(ordered) - int((ordered[1:] == ordered[:-1]).sum())
    if photos == len(hashes):
        return list(units)
    digest = hashlib.sha256("".join(str(unit.path) for unit in units).encode()).hexdigest()[:24]
    path = files.cache_directory() / "merged" / f"{digest}.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        summary = UnitSummary(photos=photos)
        part = Path(folder) / path.name
        with gzip.GzipFile(part, "wb", compresslevel=1, mtime=0) as stream:
            stream.write(files.to_json_line({**vars(summary)}).encode())
            for row in _grouped(units, Path(folder) / "rows.sqlite"):
                stream.write(files.to_json_line(row).encode())
        part.replace(path)
    return [Unit(path)]


def _grouped(units: Sequence[Unit], database: Path) -> Iterator[dict[str, Any]]:
    """Rows of one photo together, photos in the order of their first row."""
    connection = sqlite3.connect(database)
    try:
        connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE;")
        connection.execute("CREATE TABLE rows (image BLOB, position INTEGER PRIMARY KEY, line TEXT)")
        lines = ((_encoded(row["image"]), json.dumps(row)) for unit in units for row in unit.rows())
        connection.executemany("INSERT INTO rows (image, line) VALUES (?, ?)", lines)
        connection.execute("CREATE INDEX by_image ON rows (image, position)")
        ordered = connection.execute(
            "SELECT line FROM rows JOIN (SELECT image, MIN(position) AS first FROM rows GROUP BY image) USING (image) "
            "ORDER BY first, position"
        )
        for _, same in groupby((json.loads(line) for (line,) in ordered), key=lambda row: row["image"]):
            yield _together(list(same))
    finally:
        connection.close()


def _together(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {"image": rows[0]["image"]}
    for field_name in ("captions", "mentions", "relations"):
        kept = {json.dumps(entry): entry for row in rows for entry in row[field_name]}
        merged[field_name] = list(kept.values())
    return merged


def _hash_of(reference: str) -> int:
    return int.from_bytes(hashlib.blake2b(_encoded(reference), digest_size=8).digest(), "big")


def _encoded(reference: str) -> bytes:
    """A reference's bytes, be it the name of a file that is no UTF-8."""
    return reference.encode(errors="surrogatepass")
