"""Questions through a provider's Batch API: half the price, answers within a day.

A batch is paid for once it is taken in, so a kill at any moment must not send it twice: a mark is written before it
is sent, and a batch that carries this mark is looked for before another one is made. Its answers come in a file, in
any order, each under the name of its question.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

from ramkit.errors import RamkitError
from ramkit.files import write_whole
from ramkit.text.llm import Client, Question, Reply, hide_keys, read_reply

_OVER = ("completed", "failed", "expired", "cancelled")
_MARK = "ramkit"


async def ask_in_batch(
    client: Client,
    questions: Iterable[tuple[str, Question]],
    state: Path,
    *,
    poll: float,
    tell: Callable[[str], None],
) -> AsyncIterator[tuple[str, Reply]]:
    """Send questions, each with a name, as one batch, or go on with the one that `state` knows; yields its replies.

    Raises:
        RamkitError: the provider refuses the batch as a whole.
    """
    batch = await _known(client, state)
    if batch is None:
        batch = await _send(client, questions, state)
        tell(f"batch {batch.id} is sent; it may be stopped and gone on with by the same command.")
    while batch.status not in _OVER:
        await asyncio.sleep(poll)
        batch = await _look_at(client, batch.id)
    if batch.status == "failed":
        state.unlink(missing_ok=True)
        raise RamkitError(f"The batch {batch.id} was refused{_reasons(batch)}.", cure="Run without --batch.")
    if batch.output_file_id:
        content = await client.patiently(lambda: client.openai.files.content(batch.output_file_id))
        for line in content.text.split("\n"):
            if (found := _reply_of(line)) is not None:
                yield found


async def _known(client: Client, state: Path) -> Any:
    """The batch of an earlier run: by its name, or, where that run died while sending it, by its mark."""
    try:
        noted = json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if noted.get("batch"):
        return await _look_at(client, noted["batch"])
    return await client.patiently(lambda: _marked(client, noted.get("mark")))


async def _look_at(client: Client, name: str) -> Any:
    return await client.patiently(lambda: client.openai.batches.retrieve(name))


async def _marked(client: Client, mark: object) -> Any:
    """The batch that carries a mark; None where there is none among the latest hundred."""
    page = await client.openai.batches.list(limit=100)
    return next((batch for batch in page.data if (batch.metadata or {}).get(_MARK) == mark), None)


async def _send(client: Client, questions: Iterable[tuple[str, Question]], state: Path) -> Any:
    mark = os.urandom(8).hex()
    write_whole(state, json.dumps({"mark": mark, "batch": None}))
    body = "".join(_line(client, name, question) for name, question in questions).encode()
    file = await client.patiently(lambda: client.openai.files.create(file=("questions.jsonl", body), purpose="batch"))

    async def once() -> Any:
        """A request whose response got lost may have made the batch: it is looked for before another is made."""
        return await _marked(client, mark) or await client.openai.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={_MARK: mark}
        )

    batch = await client.patiently(once)
    write_whole(state, json.dumps({"mark": mark, "batch": batch.id}))
    return batch


def _line(client: Client, name: str, question: Question) -> str:
    return (
        json.dumps({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": client.body(question)})
        + "\n"
    )


def _reply_of(line: str) -> tuple[str, Reply] | None:
    """A question's name and reply; None for a line that holds none, which leaves the question to be asked again."""
    try:
        row = json.loads(line)
        if row["response"]["status_code"] != 200:
            return None
        return str(row["custom_id"]), read_reply(json.dumps(row["response"]["body"]).encode())
    except Exception:  # of whatever kind: one bad line must not lose the others
        return None


def _reasons(batch: Any) -> str:
    errors = getattr(batch.errors, "data", None) or []
    words = "; ".join(str(error.message) for error in errors[:3])
    return hide_keys(f": {words}") if words else ""
