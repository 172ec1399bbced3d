"""Paid answers, on disk before anything else is done with them.

Lines are appended in the order in which answers arrive and synced in groups: what arrives while one sync is under way
goes out with the next, so an answer waits for the disk some milliseconds at most, and a thousand answers a second do
not mean a thousand syncs. A kill can tear the last line only; opening the log again cuts it off.

A line is an answer that is kept {"tag", "prompt", "index", "key", "text"}, one that is not {"tag", "prompt", "fault",
"key", "text"}, or what a request cost {"asked", "prompt_tokens", "answer_tokens"}.
"""

import asyncio
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ramkit.errors import RamkitError
from ramkit.files import to_json_line

MOST_UNSYNCED = 8_000_000  # bytes that may wait for a slow disk before askers wait, too


class AnswerLog:
    """Appends rows; use it as `async with AnswerLog(path) as log`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting = bytearray()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._writing = False
        self.syncs = 0

    async def __aenter__(self) -> "AnswerLog":
        mend(self.path)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._syncing = asyncio.create_task(self._sync())
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._syncing.done():
            self._syncing.cancel()
        await asyncio.gather(self._syncing, return_exceptions=True)
        try:
            self._commit(self._take())
        finally:
            os.close(self._file)

    async def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Hand rows over to be synced within milliseconds; waits only where the disk cannot keep up."""
        self._check()
        for row in rows:
            self._waiting += to_json_line(row).encode("utf-8", "replace")
        self._news.set()
        if len(self._waiting) > MOST_UNSYNCED:
            self._room.clear()
            await self._room.wait()

    async def synced(self) -> None:
        """Wait until all that was appended is on disk."""
        while self._waiting or self._writing:
            self._check()
            await asyncio.sleep(0.001)

    def _check(self) -> None:
        """Tell of a disk that takes nothing more: asking on would be paying for nothing."""
        if self._syncing.done() and (trouble := self._syncing.exception()) is not None:
            raise RamkitError(
                f"{self.path}: cannot be written ({getattr(trouble, 'strerror', None) or trouble}).",
                cure="Free some space, then run the same command again: it goes on where it stopped.",
            ) from None

    async def _sync(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            data = self._take()
            self._writing = True
            try:
                # Shielded: a cancelled run must not leave a write half done while the last one goes out.
                writing = asyncio.get_running_loop().run_in_executor(None, self._commit, data)
                try:
                    await asyncio.shield(writing)
                except asyncio.CancelledError:
                    await writing
                    raise
            finally:
                self._writing = False
                self._room.set()

    def _take(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        return data

    def _commit(self, data: bytes) -> None:
        if not data:
            return
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        os.fsync(self._file)
        self.syncs += 1


def mend(path: Path) -> None:
    """Cut off a last line that a kill tore."""
    if not path.exists():
        return
    with path.open("rb+") as stream:
        end = stream.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65536)
            stream.seek(start)
            place = stream.read(end - start).rfind(b"\n")
            if place >= 0:
                stream.truncate(start + place + 1)
                return
            end = start
        stream.truncate(0)


def read_log(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(offset, row) of each line; a line that is no row, as a failing disk leaves them, is passed over."""
    if not path.is_file():
        return
    offset = 0
    with path.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n") and (row := _row_of(line)) is not None:
                yield offset, row
            offset += len(line)


def _row_of(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
