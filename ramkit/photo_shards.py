"""Photos that came inside a dataset, kept as tar shards in a cache, so that any stage can read them."""

import io
import tarfile
from pathlib import Path

from ramkit.references import MEMBER


class PhotoShards:
    """Writes photos one by one; use it as a context, which ends the last shard, or leaves it out on an error."""

    SIZE = 1000  # photos a shard

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._part: tarfile.TarFile | None = None

    def __enter__(self) -> "PhotoShards":
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        if failure is None:
            self._close()
        elif self._part is not None:
            self._part.close()
            Path(str(self._part.name)).unlink()

    def add(self, content: bytes, path: str | None) -> str:
        """Keep a photo; gives the reference under which it can be read once the shard is whole."""
        if self._part is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._part = tarfile.open(self._shard().with_suffix(".part"), "w")  # noqa: SIM115 - closed by _close
        member = tarfile.TarInfo(f"{self._count:09}{Path(path or '').suffix.lower() or '.jpg'}")
        member.size = len(content)
        self._part.addfile(member, io.BytesIO(content))
        reference = f"{self._shard()}{MEMBER}{member.name}"
        self._count += 1
        if self._count % self.SIZE == 0:
            self._close()
        return reference

    def _shard(self) -> Path:
        return self._folder / f"{self._count // self.SIZE:05}.tar"

    def _close(self) -> None:
        if self._part is not None:
            self._part.close()
            part = Path(str(self._part.name))
            part.replace(part.with_suffix(".tar"))
            self._part = None
