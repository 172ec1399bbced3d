"""Vectors of words that people type, kept from run to run: the second time, the text encoder need not even be loaded.

One SQLite file in the user's cache folder, safe for several processes at once. A vector is found by the hash of the
encoder's identity and the text, so another encoder or tokenizer finds nothing of it, and no word is stored as such.
Whatever goes wrong with the file (a read-only place, a full disk, damage) costs the time of encoding and nothing else.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import torch

MOST_BYTES = 64 << 20  # of vectors; those not asked for the longest are forgotten first
_PATIENCE = 2.0  # seconds to wait for another process
_TABLE = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL, used REAL NOT NULL)"

Encode = Callable[[Sequence[str]], torch.Tensor]  # N texts → unit vectors [N, E]


class VectorCache:
    """Vectors [E] by encoder and text."""

    def __init__(self, path: Path, encoder: str, width: int) -> None:
        """
        Args:
            encoder: what tells this encoder from all others, such as hashes of its weights and tokenizer.
            width: E.
        """
        self._path = path
        self._encoder = encoder
        self._width = width

    def encode(self, texts: Sequence[str], encode: Encode) -> torch.Tensor:
        """Vectors [N, E] of texts: what is known from the file, the rest from `encode`, once.

        A vector's last bits depend on the texts that are encoded with it; those kept are of the first time.
        """
        keys = [self._key(text) for text in texts]
        known = self._read(keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            made = encode(list(new.values())).float()
            known.update(zip(new, made, strict=True))
            self._write({key: known[key] for key in new})
        return torch.stack([known[key] for key in keys]) if keys else encode([])

    def _key(self, text: str) -> bytes:
        content = f"{self._encoder}\0{text}".encode(errors="surrogatepass")
        return hashlib.sha256(content).digest()[:16]

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, torch.Tensor]:
        if not self._path.is_file():
            return {}
        try:
            with closing(self._open()) as base:
                rows = [
                    (key, base.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()) for key in keys
                ]
        except sqlite3.Error:
            return {}
        whole = {key: row[0] for key, row in rows if row and len(row[0]) == 4 * self._width}
        self._note_use(list(whole))
        return {key: torch.frombuffer(bytearray(data), dtype=torch.float32) for key, data in whole.items()}

    def _write(self, vectors: dict[bytes, torch.Tensor]) -> None:
        rows = [(key, vector.contiguous().numpy().tobytes(), time.time()) for key, vector in vectors.items()]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as base, base:
                base.execute(_TABLE)
                base.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
                _forget(base)
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):  # not a database: begun anew by the next run
                _remove(self._path)
        except OSError:
            return

    def _note_use(self, keys: Sequence[bytes]) -> None:
        try:
            with closing(self._open()) as base, base:
                base.executemany("UPDATE vectors SET used = ? WHERE key = ?", [(time.time(), key) for key in keys])
        except sqlite3.Error:
            return

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=_PATIENCE)


def _forget(base: sqlite3.Connection) -> None:
    """Keep what was asked for last, up to the bound."""
    total = base.execute("SELECT TOTAL(LENGTH(vector)) FROM vectors").fetchone()[0]
    if total > MOST_BYTES:
        newest = "SELECT key, SUM(LENGTH(vector)) OVER (ORDER BY used DESC, key) AS upto FROM vectors"
        base.execute(
            f"DELETE FROM vectors WHERE key IN (SELECT key FROM ({newest}) WHERE upto > ?)", (MOST_BYTES // 2,)
        )


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
