"""Asks an LLM for every answer that is missing, and keeps each as it comes.

The state of a run is a ledger: for each tag and prompt which answers are there. It is read back from the answer log
after a stop, so that only what is missing is asked for; answers of earlier artefacts with the same key (tag, question,
model, parameters) enter it without being asked again. Workers, as many as requests may be under way, take one
(tag, prompt) at a time and stay with it until it is full or its patience is spent.
"""

import asyncio
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ramkit.errors import RamkitError
from ramkit.progress import Track, silent
from ramkit.text.answer_log import AnswerLog, read_log
from ramkit.text.answers import Verdict, fingerprint, judge
from ramkit.text.clip_tokens import CONTEXT, count_tokens
from ramkit.text.cost import Plan, Price, Purse, prompt_tokens_of
from ramkit.text.llm import Client, Endpoint, FailedError, Question, RefusedError, Reply
from ramkit.text.prompts import ask, context_of, is_english

_KEPT = ("tag", "prompt", "index", "key", "text", "doubt")
_MOST_ROUNDS, _MOST_IN_BATCH = 5, 10_000  # of the Batch API, which takes 50,000 questions at once
_A_MOMENT = 0.05  # seconds between two looks at what came back of what was set aside
_PROBES = 3  # questions that find out how many answers a server gives at once


@dataclass(frozen=True)
class Subject:
    """A tag to ask about."""

    tag: str
    kind: str = "object"
    gloss: str = ""


@dataclass
class Terms:
    """What is asked, and what counts as an answer; a change of any of it makes another answer."""

    prompts: Sequence[str]
    answers: int
    model: str
    temperature: float
    max_tokens: int
    again: int = 50  # answers of one (tag, prompt) that may be refused and asked again
    longest: int = CONTEXT

    def question(self, subject: Subject, prompt: int, answers: int = 1) -> Question:
        """Prompt 1, 2, … about a tag."""
        text = ask(self.prompts[prompt - 1], subject.tag, subject.kind)
        return Question(text, answers, context_of(subject.tag, subject.kind, subject.gloss))

    def key(self, subject: Subject, prompt: int) -> str:
        """Equal where the very same was asked of the same model: such answers are as good as new ones."""
        question = self.question(subject, prompt)
        asked = [subject.tag, question.prompt, question.context, self.model, self.temperature, self.max_tokens]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


class Entry:
    """One tag's answers: bit i of `there[p]` is set where answer i of prompt p + 1 is on disk."""

    __slots__ = ("prints", "refused", "there")

    def __init__(self, prompts: int) -> None:
        self.there = [0] * prompts
        self.refused = [0] * prompts
        self.prints: set[int] = set()


class Ledger:
    """Which answers are there, and which are missing."""

    def __init__(self, subjects: Sequence[Subject], terms: Terms) -> None:
        self.subjects = subjects
        self.terms = terms
        self._entries = [Entry(len(terms.prompts)) for _ in subjects]
        self._places = {subject.tag: place for place, subject in enumerate(subjects)}
        self._keys: dict[tuple[int, int], str] = {}
        self.there = 0
        self.faults: Counter[str] = Counter()
        self.mended: Counter[str] = Counter()
        self.refused_per_prompt: Counter[int] = Counter()
        self.asked = self.prompt_tokens = self.answer_tokens = 0
        self.reused = 0

    @property
    def wanted(self) -> int:
        return len(self.subjects) * len(self.terms.prompts) * self.terms.answers

    def jobs(self) -> Iterator[tuple[int, int]]:
        """(place of the tag, prompt) of all that is not full, tag by tag."""
        for place in range(len(self.subjects)):
            for prompt in range(1, len(self.terms.prompts) + 1):
                if self.missing(place, prompt) and self.patience(place, prompt) > 0:
                    yield place, prompt

    def missing(self, place: int, prompt: int) -> list[int]:
        there = self._entries[place].there[prompt - 1]
        return [index for index in range(self.terms.answers) if not there >> index & 1]

    def patience(self, place: int, prompt: int) -> int:
        """How many more answers may be refused."""
        return self.terms.again - self._entries[place].refused[prompt - 1]

    def kept_of(self, prompt: int) -> int:
        """How many answers to a prompt are there, over all tags."""
        return sum(entry.there[prompt - 1].bit_count() for entry in self._entries)

    def prints(self, place: int) -> set[int]:
        return self._entries[place].prints

    def key(self, place: int, prompt: int) -> str:
        """The answers' key, worked out once."""
        if (place, prompt) not in self._keys:
            self._keys[place, prompt] = self.terms.key(self.subjects[place], prompt)
        return self._keys[place, prompt]

    def note_kept(self, place: int, prompt: int, index: int, text: str, mark: int = 0) -> bool:
        """Enter an answer; False where that place is taken."""
        entry = self._entries[place]
        if entry.there[prompt - 1] >> index & 1:
            return False
        entry.there[prompt - 1] |= 1 << index
        entry.prints.add(mark or fingerprint(text))
        self.there += 1
        full = (1 << self.terms.answers) - 1
        if all(there == full for there in entry.there):
            entry.prints = set()  # nothing more will be compared with them
        return True

    def note_refused(self, place: int, prompt: int, fault: str) -> None:
        self._entries[place].refused[prompt - 1] += 1
        self.refused_per_prompt[prompt] += 1
        self.faults[fault] += 1

    def note_call(self, prompt_tokens: int, answer_tokens: int) -> None:
        self.asked += 1
        self.prompt_tokens += prompt_tokens
        self.answer_tokens += answer_tokens

    def read(self, path: Path) -> None:
        """Enter what a log holds of this ledger's answers."""
        for _, row in read_log(path):
            if "asked" in row:
                self.note_call(int(row.get("prompt_tokens") or 0), int(row.get("answer_tokens") or 0))
            elif (found := self.place_of(row)) is not None:
                self._enter(*found, row)

    def _enter(self, place: int, prompt: int, row: dict[str, Any]) -> None:
        if "fault" in row:
            self.note_refused(place, prompt, str(row["fault"]))
            return
        index = row.get("index")
        if isinstance(index, int) and 0 <= index < self.terms.answers:
            if not self.note_kept(place, prompt, index, str(row.get("text"))):
                return
            self.mended.update(row.get("mended", ()))
            self.reused += "from" in row

    def place_of(self, row: dict[str, Any]) -> tuple[int, int] | None:
        """Where a row belongs; None where it answers something else."""
        place, prompt = self._places.get(row.get("tag", "")), row.get("prompt")
        if place is None or not isinstance(prompt, int) or not 1 <= prompt <= len(self.terms.prompts):
            return None
        return (place, prompt) if row.get("key") == self.key(place, prompt) else None

    def reusable(self, rows: Iterable[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
        """Rows of another log or artefact that answer what is missing here, entered as they pass."""
        for row in rows:
            if "fault" in row or not isinstance(row.get("text"), str) or not isinstance(row.get("index"), int):
                continue
            found = self.place_of(row)
            if found is None or not 0 <= row["index"] < self.terms.answers:
                continue
            if self.note_kept(*found, row["index"], row["text"]):
                self.reused += 1
                yield {**{part: row[part] for part in _KEPT if part in row}, "from": name}


def plan(ledger: Ledger, endpoint: Endpoint, price: Price | None) -> Plan:
    """What asking for all that is missing comes to."""
    calls = answers = tokens = tokens_written = 0
    for place, prompt in ledger.jobs():
        missing = len(ledger.missing(place, prompt))
        question = ledger.terms.question(ledger.subjects[place], prompt, missing)
        calls, answers = calls + 1, answers + missing
        read, written = _most_tokens(question, ledger.terms)
        tokens, tokens_written = tokens + missing * read, tokens_written + written
    return Plan(
        model=ledger.terms.model,
        url=endpoint.url,
        tags=len(ledger.subjects),
        answers=ledger.wanted,
        there=ledger.there,
        calls=calls,
        calls_one_by_one=answers,
        prompt_tokens=tokens,
        answer_tokens=tokens_written,
        dollars=None if price is None else price.of(tokens, tokens_written),
    )


def _most_tokens(question: Question, terms: Terms) -> tuple[int, int]:
    """About how many tokens a question has, and how many its answers can have."""
    read = sum(prompt_tokens_of(message["content"]) for message in question.messages())
    return read, question.answers * terms.max_tokens


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
            if self._purse.set_aside(*_most_tokens(question, self.ledger.terms)) is None:
                self._stop_at_the_price()
                return
            self._calls += 1
            yield job, question

    async def _set_aside(self, question: Question) -> float | None:
        """The dollars that a call may come to; None, and the run ends, where less is left and nothing comes back."""
        tokens = _most_tokens(question, self.ledger.terms)
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
