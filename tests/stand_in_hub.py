"""A server on loopback that speaks the Hugging Face hub's protocol, and breaks connections when told to.

As the hub does, it answers for a large file with the etag and size of what it links to and leads to another host for
the bytes; a small file it serves itself, under git's hash.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LARGE = 1000  # bytes


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked."""

    files: dict[str, bytes]  # path after /resolve/REVISION/ with the repository before it → content
    url: str = ""
    cdn: str = ""
    commit: str = COMMIT
    cuts: list[int] = field(default_factory=list)  # bytes after which the next connections to the other host break
    etag: str = ""  # told instead of the true one
    speed: int = 0  # bytes between two pauses of a hundredth of a second; 0: as fast as it goes
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range

    def etag_of(self, content: bytes) -> str:
        if len(content) < _LARGE:
            return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return self.etag or hashlib.sha256(content).hexdigest()

    def ranges(self) -> list[str]:
        """The Range of every request for the bytes of a large file."""
        return [wanted for method, path, wanted in self.requests if method == "GET" and path.startswith("/cdn/")]


@contextmanager
def serve(files: dict[str, bytes]) -> Iterator[Hub]:
    hub = Hub(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            hub.requests.append((self.command, self.path, self.headers.get("Range", "")))
            if self.path.startswith("/cdn/"):
                self.send_bytes(hub.files[self.path.removeprefix("/cdn/")], {})
                return
            repository, _, rest = self.path.strip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            own = [path for path in hub.files if path.startswith(f"{repository}/")]
            if not own:
                self.refuse(401, "RepoNotFound")
            elif revision not in ("main", hub.commit):
                self.refuse(404, "RevisionNotFound")
            elif f"{repository}/{name}" not in own:
                self.refuse(404, "EntryNotFound")
            else:
                self.resolve(f"{repository}/{name}")

        def resolve(self, path: str) -> None:
            content = hub.files[path]
            etag = hub.etag_of(content)
            about = {"X-Repo-Commit": hub.commit, "ETag": f'"{etag}"'}
            if len(content) < _LARGE:
                self.send_bytes(content, about)
                return
            linked = {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
            self.send(302, {**about, **linked, "Location": f"{hub.cdn}/cdn/{path}"}, b"")

        def send_bytes(self, content: bytes, headers: dict[str, str]) -> None:
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
            told = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
            self.send(206 if start else 200, {**headers, **told, "Accept-Ranges": "bytes"}, content[start:])

        def refuse(self, status: int, code: str) -> None:
            self.send(status, {"X-Error-Code": code}, b"")

        def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            cut = hub.cuts.pop(0) if hub.cuts and self.path.startswith("/cdn/") else None
            sent = body if cut is None else body[:cut]
            step = hub.speed or max(len(sent), 1)
            try:
                for at in range(0, len(sent), step):
                    self.wfile.write(sent[at : at + step])
                    if hub.speed:
                        threading.Event().wait(0.01)
            except OSError:  # the client is gone
                self.close_connection = True
            if cut is not None:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    hub.url, hub.cdn = (f"http://{host}:{server.server_port}" for host in ("127.0.0.1", "localhost"))
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
