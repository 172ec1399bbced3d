"""An OpenAI-compatible server on loopback that misbehaves on purpose, and counts what it was asked.

In a test:        with StandIn(Behaviour(faults=0.2)) as server: ... server.base_url ... server.counts["answers"]
As a process:     python tests/stand_in_llm.py --faults 0.2 --latency 0.05      prints its base URL, then serves
"""

import argparse
import asyncio
import contextlib
import json
import random
import sys
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

ALL_FAULTS = (
    "429",
    "500",
    "503",
    "hang",
    "trickle",
    "cut",
    "malformed",
    "no choices",
    "fewer",
    "more",
    "huge",
    "bad answer",
)
_COLOURS = "red blue green yellow brown black white grey golden silver".split()  # noqa: SIM905
_SHAPES = "round square long flat curved tall short narrow wide pointed".split()  # noqa: SIM905
BAD_ANSWERS = (
    "",
    "As an AI language model, I cannot describe that.",
    "The thing has a long body and a short",
    "{prompt}",
    "It is kind and loyal.",
)


@dataclass
class Behaviour:
    """What the server does wrong, and how often."""

    faults: float = 0.0  # share of requests that go wrong
    kinds: tuple[str, ...] = ALL_FAULTS
    many: str = "yes"  # `n`: "yes" gives so many, "ignored" gives one, "refused" answers 400
    latency: float = 0.0
    hang: float = 30.0
    retry_after: str = "0.05"
    storm: float = 0.0  # seconds for which a 429 refuses everybody
    key: str = ""  # the only key that is let in
    model: str = ""  # the only model that is known
    quota: int | None = None  # answers until there is no credit left
    per_window: int | None = None  # requests in a window of `window` seconds, told in headers
    window: float = 0.2
    seed: int = 0
    script: list[str] = field(default_factory=list)  # faults of the first requests, in order; "" is none


class StandIn:
    """The server, in a thread of its own."""

    def __init__(self, behaviour: Behaviour | None = None, port: int = 0) -> None:
        self.behaviour = behaviour or Behaviour()
        self.counts: Counter[str] = Counter()
        self.prompts: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []
        self.keep_requests = True
        self.headers_seen: list[str] = []
        self._port = port
        self._random = random.Random(self.behaviour.seed)
        self._storm_until = self._window_start = 0.0
        self._in_window = self._serial = self._open = 0
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> "StandIn":
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    async def serve(self, *, announce: bool = False) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, limit=2**26)
        self._port = server.sockets[0].getsockname()[1]
        if announce:
            print(self.base_url, flush=True)
        getattr(self, "_ready", threading.Event()).set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; False ends the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.counts["requests"] += 1
        self._open += 1
        self.counts["most at once"] = max(self.counts["most at once"], self._open)
        try:
            return await self._route(method, path, headers, body, writer)
        finally:
            self._open -= 1

    async def _route(
        self, method: str, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if path == "/stats":
            return await self._send(writer, 200, {"counts": self.counts, "prompts": len(self.prompts)})
        if self.behaviour.key and given != self.behaviour.key:
            return await self._error(writer, 401, f"Incorrect API key provided: {given}.", "invalid_api_key")
        if path.endswith("/chat/completions"):
            return await self._chat(json.loads(body), writer)
        return await self._batch_route(method, path, headers, body, writer)

    async def _chat(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        behaviour = self.behaviour
        if self.keep_requests:
            self.requests.append(request)
        if behaviour.model and request["model"] != behaviour.model:
            return await self._error(writer, 404, f"The model {request['model']} does not exist", "model_not_found")
        if behaviour.quota is not None and self.counts["answers"] >= behaviour.quota:
            return await self._error(writer, 429, "You exceeded your current quota", "insufficient_quota")
        wanted = request.get("n", 1)
        if wanted > 1 and behaviour.many == "refused":
            return await self._error(writer, 400, "n must be 1", "unsupported_value")
        limits = self._limits()
        if limits is None:
            return await self._error(
                writer, 429, "Rate limit reached", "rate_limit_exceeded", retry=str(behaviour.window)
            )
        if behaviour.latency:
            await asyncio.sleep(behaviour.latency)
        fault = self._fault()
        self.counts[fault or "fine"] += 1
        if fault in ("429", "500", "503", "hang", "trickle", "cut", "malformed", "no choices", "huge"):
            return await self._misbehave(fault, request, writer)
        count = 1 if behaviour.many == "ignored" else wanted
        count = {"fewer": max(1, count - 1), "more": count + 2}.get(fault, count)
        document = self._document(request, count, bad=fault == "bad answer")
        return await self._send(writer, 200, document, limits)

    def _fault(self) -> str:
        if self.behaviour.script:
            return self.behaviour.script.pop(0)
        if self._loop.time() < self._storm_until:
            return "429"
        return self._random.choice(self.behaviour.kinds) if self._random.random() < self.behaviour.faults else ""

    def _limits(self) -> dict[str, str] | None:
        """Rate-limit headers; None where the window's requests are used up."""
        most = self.behaviour.per_window
        if most is None:
            return {}
        now = self._loop.time()
        if now - self._window_start >= self.behaviour.window:
            self._window_start, self._in_window = now, 0
        if self._in_window >= most:
            self.counts["over the limit"] += 1
            return None
        self._in_window += 1
        left = self._window_start + self.behaviour.window - now
        return {
            "x-ratelimit-remaining-requests": str(most - self._in_window),
            "x-ratelimit-reset-requests": f"{max(1, int(left * 1000))}ms",
        }

    async def _misbehave(self, fault: str, request: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        if fault == "429":
            if self.behaviour.storm and self._loop.time() >= self._storm_until:
                self._storm_until = self._loop.time() + self.behaviour.storm
            return await self._error(writer, 429, "slow down", "rate_limit_exceeded", retry=self.behaviour.retry_after)
        if fault in ("500", "503"):
            return await self._error(writer, int(fault), "something broke", "server_error")
        if fault == "hang":
            await asyncio.sleep(self.behaviour.hang)
            return False
        if fault == "malformed":
            return await self._send(writer, 200, b'{"choices": [{"message": ')
        if fault == "no choices":
            return await self._send(writer, 200, {"choices": []})
        if fault == "huge":
            return await self._send(writer, 200, {"choices": [{"message": {"content": "round " * 1_000_000}}]})
        payload = _packed(200, json.dumps(self._document(request, 1)).encode())
        if fault == "cut":
            writer.write(payload[: len(payload) // 2])
            await writer.drain()
            return False
        for place in range(len(payload)):  # a trickle: every byte comes, each in time, the whole never
            writer.write(payload[place : place + 1])
            await writer.drain()
            await asyncio.sleep(self.behaviour.hang / 100)
        return True

    def _document(self, request: dict[str, Any], count: int, *, bad: bool = False) -> dict[str, Any]:
        prompt = request["messages"][-1]["content"]
        self.prompts[prompt] += count
        self.counts["answers"] += count
        texts = [self._bad(prompt) if bad else self._answer(prompt) for _ in range(count)]
        choices = [
            {"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": 20 * count, "total_tokens": 0}
        return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": choices, "usage": usage}

    def _answer(self, prompt: str) -> str:
        """A good answer, unlike all others."""
        self._serial += 1
        digits = [int(digit) for digit in str(self._serial)]
        looks = " ".join(f"{_COLOURS[digit]} {_SHAPES[digit - place]}" for place, digit in enumerate(digits))
        return f"It has a {looks} body, number {self._serial}. The surface is smooth and shiny."

    def _bad(self, prompt: str) -> str:
        return self._random.choice(BAD_ANSWERS).replace("{prompt}", prompt)

    async def _batch_route(
        self, method: str, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        parts = path.partition("?")[0].removeprefix("/v1/").split("/")
        if method == "POST" and parts == ["files"]:
            name = f"file-{len(self._files)}"
            self._files[name] = _uploaded(body, headers["content-type"])
            return await self._send(writer, 200, _file(name, len(self._files[name])))
        if method == "GET" and parts[0] == "files":
            return await self._send(writer, 200, self._files[parts[1]])
        if method == "POST" and parts == ["batches"]:
            self.counts["batches"] += 1
            return await self._send(writer, 200, self._start_batch(json.loads(body)))
        if parts == ["batches"]:
            listed = {"object": "list", "data": list(self._batches.values()), "has_more": False}
            return await self._send(writer, 200, listed)
        if parts[0] == "batches":
            return await self._send(writer, 200, self._batch_state(parts[1]))
        return await self._error(writer, 404, f"no such path {path}", "not_found")

    def _start_batch(self, request: dict[str, Any]) -> dict[str, Any]:
        name = f"batch-{len(self._batches)}"
        lines = self._files[request["input_file_id"]].decode().splitlines()
        outputs = []
        for line in lines:
            entry = json.loads(line)
            asked = entry["body"]
            fault = self._fault()
            bad = fault == "bad answer"
            response = {"status_code": 200, "body": self._document(asked, asked.get("n", 1), bad=bad)}
            if fault and not bad:
                response = {"status_code": 500, "body": {"error": {"message": "broke"}}}
            outputs.append(
                json.dumps({"id": "r", "custom_id": entry["custom_id"], "response": response, "error": None})
            )
        self._files[f"output-{name}"] = "\n".join(outputs).encode()
        batch = {
            "id": name, "object": "batch", "endpoint": request["endpoint"], "completion_window": "24h", "created_at": 0,
            "input_file_id": request["input_file_id"], "status": "in_progress", "metadata": request.get("metadata"),
            "output_file_id": None, "error_file_id": None,
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }  # fmt: skip
        self._batches[name] = batch
        return batch

    def _batch_state(self, name: str) -> dict[str, Any]:
        """In progress at the first look, completed at the second."""
        batch = self._batches[name]
        if batch.get("looked"):
            batch.update(status="completed", output_file_id=f"output-{name}")
        batch["looked"] = True
        return {key: value for key, value in batch.items() if key != "looked"}

    async def _error(
        self, writer: asyncio.StreamWriter, status: int, message: str, code: str, *, retry: str = ""
    ) -> bool:
        self.counts[f"HTTP {status}"] += 1
        headers = {"retry-after": retry} if retry else {}
        return await self._send(writer, status, {"error": {"message": message, "code": code, "type": code}}, headers)

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, content: object, headers: dict[str, str] | None = None
    ) -> bool:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        writer.write(_packed(status, body, headers or {}))
        await writer.drain()
        return True


def stats_of(base_url: str) -> dict[str, Any]:
    """What a server in another process has counted."""
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/stats") as response:
        return dict(json.load(response))


def speed_of(base_url: str, *, calls: int, concurrency: int) -> float:
    """Calls a second that a client which does nothing else gets out of a server."""
    host, port = base_url.removeprefix("http://").removesuffix("/v1").split(":")
    body = json.dumps(
        {"model": "m", "n": 10, "messages": [{"role": "user", "content": "What does it look like?"}]}
    ).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    left = iter(range(calls))

    async def ask_on() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in left:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.close()

    async def all_of_them() -> float:
        started = time.monotonic()
        await asyncio.gather(*(ask_on() for _ in range(concurrency)))
        return calls / (time.monotonic() - started)

    return asyncio.run(all_of_them())


def _packed(status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def _uploaded(body: bytes, content_type: str) -> bytes:
    """The file's bytes in a multipart body."""
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    for part in body.split(b"--" + boundary):
        head, _, content = part.partition(b"\r\n\r\n")
        if b"filename=" in head:
            return content.removesuffix(b"\r\n")
    raise AssertionError("no file in the upload")


def _file(name: str, size: int) -> dict[str, Any]:
    return {
        "id": name, "object": "file", "bytes": size, "created_at": 0, "filename": "in.jsonl", "purpose": "batch",
        "status": "processed",
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    simple = [
        entry for entry in fields(Behaviour) if entry.name in ("faults", "latency", "hang", "many", "storm", "seed")
    ]
    for entry in simple:
        parser.add_argument(f"--{entry.name}", type=type(entry.default), default=entry.default)
    given = vars(parser.parse_args())
    server = StandIn(Behaviour(**given))
    server.keep_requests = False
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serve(announce=True))


if __name__ == "__main__":
    sys.exit(main())
