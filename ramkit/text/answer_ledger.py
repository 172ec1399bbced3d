"""What of a description run is there and what is missing: which answers to which (tag, prompt) are on disk.

It is read back from the answer log after a stop, so that only what is missing is asked for; answers of earlier
artefacts with the same key (tag, question, model, parameters) enter it without being asked again.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramkit.text.answer_log import read_log
from ramkit.text.answers import fingerprint
from ramkit.text.clip_tokens import CONTEXT
from ramkit.text.cost import Plan, Price, prompt_tokens_of
from ramkit.text.llm import Endpoint, Question
from ramkit.text.prompts import ask, context_of

_KEPT = ("tag", "prompt", "index", "key", "text", "doubt")


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

    def most_tokens(self, question: Question) -> tuple[int, int]:
        """About how many tokens a question has, and how many its answers can have."""
        read = sum(prompt_tokens_of(message["content"]) for message in question.messages())
        return read, question.answers * self.max_tokens

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
        read, written = ledger.terms.most_tokens(question)
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
