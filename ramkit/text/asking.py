"""Asks an LLM for every answer that is missing, and keeps each as it comes.

What is missing stands in a ledger. Workers, as many as requests may be under way, take one (tag, prompt) at a time and
stay with it until it is full or its patience is spent.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ramkit.errors import RamkitError
from ramkit.progress import Track, silent
from ramkit.text.answer_ledger import Ledger
from ramkit.text.answer_log import AnswerLog
from ramkit.text.answers import Verdict, fingerprint, judge
from ramkit.text.clip_tokens import count_tokens
from ramkit.text.cost import Price, Purse
from ramkit.text.llm import Client, FailedError, Question, RefusedError, Reply
from ramkit.text.prompts import is_english

_MOST_ROUNDS, _MOST_IN_BATCH = 5, 10_000  # of the Batch API, which takes 50,000 questions at once
_A_MOMENT = 0.05  # seconds between two looks at what came back of what was set aside
_PROBES = 3  # questions that find out how many answers a server gives at once


@dataclass
class Asking:
    """One run over a ledger's missing answers."""

    ledger: Ledger
    client: Client
    log: AnswerLog
    concurrency: int = 16
    most_calls: int | None = None
    price: Price | None = None
    most_dollars: float = math.inf  # of this run, where there is a price
    track: Track = silent
    tell: Callable[[str], None] = lambda _: None
    at_once: int = 1  # answers that the server gives to one question, as found out
    stopped_by: RamkitError | None = None
    _failures: int = 0
    _calls: int = 0
    _soft: dict[tuple[int, int], list[Verdict]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._under_way = asyncio.Semaphore(self.concurrency)
        self._purse = Purse(self.price or Price(0.0, 0.0), self.most_dollars)

    async def run(self) -> None:
        """Ask until nothing is missing, patience or calls are spent, or the server refuses."""
        jobs = self.ledger.jobs()
        with self._progress():
            begun = await self._probe(jobs)
            rest = chain(begun, jobs)
            async with asyncio.TaskGroup() as group:
                # A few workers more than requests: while they judge answers, as many requests as may be are under way.
                for _ in range(2 * self.concurrency):
                    group.create_task(self._work(rest))

    async def run_in_batches(self, state: Path, *, poll: float = 30.0) -> None:
        """The same through the provider's Batch API: cheaper, and done within a day.

        What a round of it leaves missing (refused, failed or expired) goes into the next one.
        """
        from ramkit.text.batch import ask_in_batch

        by_key = {self.ledger.key(place, prompt): (place, prompt)
                  for place, prompt in self.ledger.jobs()}  # fmt: skip
        with self._progress():
            for _ in range(_MOST_ROUNDS + len(by_key) // _MOST_IN_BATCH):
                wanted = list(self._affordable())
                if not wanted:
                    return
                questions = ((self.ledger.key(*job), question) for job, question in wanted)
                async for key, reply in ask_in_batch(self.client, questions, state, poll=poll, tell=self.tell):
                    if (found := by_key.get(key)) is not None:
                        self._purse.settle(0.0, reply.prompt_tokens, reply.answer_tokens)
                        await self.log.append(self.take(found, reply, self._question(found).prompt))
                        self._show()
                self._purse.aside = 0.0
                await self.log.synced()
                state.unlink(missing_ok=True)  # only now: its answers are on disk

    def _question(self, job: tuple[int, int]) -> Question:
        subject = self.ledger.subjects[job[0]]
        return self.ledger.terms.question(subject, job[1], max(1, len(self.ledger.missing(*job))))

    def _affordable(self) -> Iterator[tuple[tuple[int, int], Question]]:
        """The next batch, as much of it as may be asked and is agreed to be paid for."""
        for job in islice(self.ledger.jobs(), _MOST_IN_BATCH):
            if self._spent():
                return
            question = self._question(job)
            if self._purse.set_aside(*self.ledger.terms.most_tokens(question)) is None:
                self._stop_at_the_price()
                return
            self._calls += 1
            yield job, question

    async def _set_aside(self, question: Question) -> float | None:
        """The dollars that a call may come to; None, and the run ends, where less is left and nothing comes back."""
        tokens = self.ledger.terms.most_tokens(question)
        while (most := self._purse.set_aside(*tokens)) is None and self._purse.busy:
            await asyncio.sleep(_A_MOMENT)
        if most is None:
            self._stop_at_the_price()
        return most

    def _stop_at_the_price(self) -> None:
        there, wanted = self.ledger.there, self.ledger.wanted
        self.stopped_by = RamkitError(
            f"What is left of the ${self.most_dollars:,.2f} agreed to pays for no further call: "
            f"{there:,} of {wanted:,} answers are there.",
            cure="Run the same command again to agree to more, or publish what there is with --allow-partial.",
        )

    @contextmanager
    def _progress(self) -> Iterator[None]:
        """Shows answers as they come; an error that a user can mend stops the run and is kept for its end."""
        done = self.ledger.there
        items = self.track(
            range(self.ledger.wanted - done), total=self.ledger.wanted, what="asking", done=done, detail=self.so_far
        )
        self._ticks, self._shown = iter(items), done
        try:
            yield
        except* RamkitError as errors:
            self.stopped_by = _first(errors)
        finally:
            if (close := getattr(self._ticks, "close", None)) is not None:
                close()

    async def _probe(self, jobs: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
        """Find out on the first questions how many answers come at once: 1 from a server that does not know `n`.

        Returns the jobs that it has begun. Several questions, because a server may also drop an answer by mistake.
        """
        begun: list[tuple[int, int]] = []
        most = self.ledger.terms.answers
        while len(begun) < _PROBES and self.at_once < most and not self._spent():
            job = next(jobs, None)
            if job is None:
                break
            begun.append(job)
            wanted = len(self.ledger.missing(*job))
            try:
                got = await self._ask_once(job, wanted)
            except FailedError as error:
                self._note_failure(error)
            except RefusedError:
                if wanted == 1:
                    raise
                await self._ask_once(job, 1)  # it may be `n` that it refuses; if it is not, this says so
                break
            else:
                self.at_once = most if got >= wanted > 1 else max(self.at_once, got)
        return begun

    async def _work(self, jobs: Iterator[tuple[int, int]]) -> None:
        for job in jobs:
            if self._spent():
                return
            try:
                await self._fill(job)
            except FailedError as error:
                self._note_failure(error)

    def _note_failure(self, error: FailedError) -> None:
        """One lost request is passed over; as many in a row as are under way mean that the server is gone."""
        self._failures += 1
        if self._failures >= max(3, self.concurrency):
            raise error

    async def _fill(self, job: tuple[int, int]) -> None:
        while (missing := self.ledger.missing(*job)) and not self._spent():
            if self.ledger.patience(*job) <= 0:
                await self._take_doubtful(job)
                return
            await self._ask_once(job, min(len(missing), self.at_once))

    async def _ask_once(self, job: tuple[int, int], answers: int) -> int:
        """Ask one question, keep what is good; returns how many answers came, 0 where it may not be paid for."""
        place, prompt = job
        question = self.ledger.terms.question(self.ledger.subjects[place], prompt, answers)
        reply = await self._reply(question)
        if reply is None:
            return 0
        await asyncio.sleep(0)  # the next request goes out before this answer is judged
        self._failures = 0
        await self.log.append(self.take(job, reply, question.prompt))
        self._show()
        return len(reply.texts)

    async def _reply(self, question: Question) -> Reply | None:
        if (most := await self._set_aside(question)) is None:
            return None
        self._calls += 1
        reply = Reply((), ())
        try:
            async with self._under_way:
                reply = await self.client.ask(question)
        finally:
            self._purse.settle(most, reply.prompt_tokens, reply.answer_tokens)
        return reply

    def take(self, job: tuple[int, int], reply: Reply, prompt_text: str) -> list[dict[str, Any]]:
        """Judge a reply's answers, enter them in the ledger; returns the rows to log."""
        place, prompt = job
        terms, subject = self.ledger.terms, self.ledger.subjects[place]
        base = {"tag": subject.tag, "prompt": prompt, "key": self.ledger.key(place, prompt)}
        rows: list[dict[str, Any]] = []
        free = iter(self.ledger.missing(place, prompt))
        english = is_english(terms.prompts[prompt - 1])
        for text, cut in zip(reply.texts, reply.cut, strict=True):
            verdict = judge(
                text,
                prompt=prompt_text,
                cut=cut,
                seen=self.ledger.prints(place),
                count=count_tokens,
                longest=terms.longest,
                english=english,
            )
            if not verdict.good:
                self._refuse(job, verdict)
                rows.append({**base, "fault": verdict.fault, "text": text[:300]})
            elif (index := next(free, None)) is not None:
                self.ledger.note_kept(place, prompt, index, verdict.text, verdict.print)
                self.ledger.mended.update(verdict.mended)
                rows.append({**base, "index": index, "text": verdict.text, "mended": list(verdict.mended)})
        self.ledger.note_call(reply.prompt_tokens, reply.answer_tokens)
        rows.append({"asked": 1, "prompt_tokens": reply.prompt_tokens, "answer_tokens": reply.answer_tokens})
        return rows

    def _refuse(self, job: tuple[int, int], verdict: Verdict) -> None:
        self.ledger.note_refused(*job, verdict.fault)
        if verdict.fault == "not visual":
            self._soft.setdefault(job, []).append(verdict)

    async def _take_doubtful(self, job: tuple[int, int]) -> None:
        """With patience spent, answers that only seem not to be about looks are better than none."""
        place, prompt = job
        subject = self.ledger.subjects[place]
        key = self.ledger.key(place, prompt)
        rows = []
        for index, verdict in zip(self.ledger.missing(*job), self._soft.pop(job, ()), strict=False):
            if fingerprint(verdict.text) not in self.ledger.prints(place):
                self.ledger.note_kept(place, prompt, index, verdict.text)
                row = {"tag": subject.tag, "prompt": prompt, "index": index, "key": key, "text": verdict.text}
                rows.append({**row, "doubt": verdict.fault})
        await self.log.append(rows)

    def _spent(self) -> bool:
        """Whether no further call may be made."""
        return self.stopped_by is not None or (self.most_calls is not None and self._calls >= self.most_calls)

    def _show(self) -> None:
        while self._shown < self.ledger.there:
            next(self._ticks, None)
            self._shown += 1

    def so_far(self) -> str:
        """Calls, tokens and cost of this ledger, earlier runs included."""
        ledger = self.ledger
        text = f"{ledger.asked:,} calls, {ledger.prompt_tokens + ledger.answer_tokens:,} tokens"
        if self.price is not None and self.price != Price(0.0, 0.0):
            text += f", ${self.price.of(ledger.prompt_tokens, ledger.answer_tokens):,.2f}"
        return text


def _first(errors: BaseExceptionGroup[RamkitError]) -> RamkitError:
    for error in errors.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("a group without an error")
