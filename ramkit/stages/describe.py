"""vocabulary → descriptions: what each tag looks like, in several sentences, from an LLM or from WordNet.

Source: RAM++ (arXiv 2310.15200), LLM tag descriptions: a template and 5 prompts × 10 answers a tag. Row (tag, prompt 0,
index 0) is the template; prompts 1, 2 … are those asked; what was not asked of an LLM (WordNet's sentences, captions)
stands under prompt 0 as well and says where it is from.
"""

import asyncio
import heapq
import math
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ramkit import artifact
from ramkit.artifact import Artifact, Draft
from ramkit.config import DescribeConfig, as_dict
from ramkit.errors import InputError, RamkitError
from ramkit.files import read_rows, write_rows
from ramkit.progress import Track, silent
from ramkit.text.answer_ledger import Ledger, Subject, Terms, plan
from ramkit.text.answer_log import AnswerLog, mend, read_log
from ramkit.text.answer_report import Measures, report
from ramkit.text.asking import Asking
from ramkit.text.cost import Plan, Price, price_of
from ramkit.text.llm import Client, Endpoint, check_url
from ramkit.text.prompts import PAPER_PROMPTS, template

DESCRIPTIONS = "descriptions.jsonl"
_LOG, _BATCH = "answers.jsonl", "batch.json"
_NOT_IN_ANSWERS = ("base_url", "concurrency", "timeout", "sentences")  # settings that an LLM's answers do not depend on
_CAPTION_WORDS = range(4, 21)  # shorter ones say nothing, longer ones are about many things


@dataclass(frozen=True)
class Tag:
    """A tag as a vocabulary row has it."""

    name: str
    kind: str = "object"
    gloss: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """How an LLM run is carried out; nothing here changes what an answer is."""

    price: str = ""  # dollars for a million tokens, "READ,WRITTEN"; empty: from the table
    most_calls: int | None = None
    allow_partial: bool = False  # publish what there is when answers are missing
    batch: bool = False  # through the provider's Batch API
    poll: float = 30.0  # seconds between two looks at a batch
    first_wait: float = 0.5  # seconds of the first back-off
    attempts: int = 8
    approve: Callable[[Plan], bool] = field(default=lambda plan: True)  # False stops before anything is paid
    tell: Callable[[str], None] = field(default=lambda line: None)


def describe(
    *,
    artifacts: Path,
    config: DescribeConfig,
    vocabulary: str | None = None,
    tags: Path | None = None,
    triplets: str | None = None,
    wordnet: Path | None = None,
    run: Run | None = None,
    track: Track = silent,
) -> Artifact:
    """Describe every tag of a vocabulary, or of a file with one tag a line.

    Args:
        artifacts: the artefact root.
        config: who describes, and how much.
        vocabulary: which vocabulary artefact; the newest when None.
        tags: describe the tags of this file instead of a vocabulary's.
        triplets: which triplets artefact to take captions from, where `config.captions` asks for some.
        wordnet: folder of WordNet's dict files; found by itself when None.
        run: price, limits and consent of an LLM run.

    Raises:
        BusyError: another run is asking for the same answers.
        RamkitError: no consent, or answers are missing and `run.allow_partial` is not set.
    """
    wanted, inputs, contexts = _given(artifacts, config, vocabulary, tags, triplets)
    if config.llm == "wordnet":
        return _by_wordnet(artifacts, config, wanted, inputs, contexts, wordnet, track)
    run = run or Run()
    _price(config, run)  # one that is no price is told whatever there is
    done = artifact.up_to_date(artifacts, "descriptions", inputs, _what_is_asked(config, inputs, wanted))
    if done is not None and not done.statistics.get("missing"):
        run.tell(f"nothing to do: {done.name} is up to date.")
        return done
    return _by_llm(artifacts, config, wanted, inputs, contexts, run, track)


def plan_describe(
    *,
    artifacts: Path,
    config: DescribeConfig,
    vocabulary: str | None = None,
    tags: Path | None = None,
    triplets: str | None = None,
    run: Run | None = None,
) -> Plan:
    """What `describe` would ask for and cost, without asking; answers that are there already are counted off."""
    if config.llm == "wordnet":
        raise InputError("WordNet is free: there is nothing to plan.", cure="Leave --dry-run out, or name an --llm.")
    wanted, inputs, _ = _given(artifacts, config, vocabulary, tags, triplets)
    with _open_draft(artifacts, config, inputs, wanted) as draft:
        ledger = _ledger(config, wanted)
        ledger.read(draft.path / _LOG)
        for name, rows in _earlier_answers(artifacts, draft.path):
            for _ in ledger.reusable(rows, name):
                pass
        return plan(ledger, _endpoint(config, run or Run()), _price(config, run or Run()))


def report_on(*, artifacts: Path, descriptions: str | None = None) -> dict[str, Any]:
    """Acceptance, diversity, length, worst tags and samples of a descriptions artefact."""
    found = artifact.find(artifacts, "descriptions", descriptions)
    return {"artifact": found.name, **report(read_rows(found.file(DESCRIPTIONS)), found.statistics)}


def _given(
    artifacts: Path, config: DescribeConfig, vocabulary: str | None, tags: Path | None, triplets: str | None
) -> tuple[list[Tag], list[Artifact], dict[str, list[str]]]:
    """Tags, input artefacts, and captions for each tag."""
    wanted, inputs = _wanted(artifacts, vocabulary, tags)
    if not config.captions:
        return wanted, inputs, {}
    source = artifact.find(artifacts, "triplets", triplets)
    return wanted, [*inputs, source], _captions_of(source, {tag.name for tag in wanted}, config.captions)


def _by_wordnet(
    artifacts: Path,
    config: DescribeConfig,
    tags: list[Tag],
    inputs: list[Artifact],
    contexts: dict[str, list[str]],
    folder: Path | None,
    track: Track,
) -> Artifact:
    from ramkit.text.wordnet import LICENCE, WordNet

    net = WordNet(folder)
    with artifact.draft(artifacts, "descriptions", inputs=inputs, config=as_dict(config)) as draft:
        measures = Measures()

        def groups() -> Iterator[list[dict[str, Any]]]:
            for tag in track(tags, total=len(tags), what="describing"):
                texts = net.describe(tag.name, tag.kind, config.sentences, gloss=tag.gloss, aliases=tag.aliases)
                yield [*_sentence_rows(tag.name, texts, net.source), *_caption_rows(tag.name, len(texts), contexts)]

        write_rows(draft.path / DESCRIPTIONS, measures.through(groups()))
        draft.statistics = measures.as_dict()
        draft.notes = {
            "source": net.source,
            "licence": LICENCE,
            "method": "composed from glosses and relations; no LLM",
        }
        return draft.publish(again=False)


def _by_llm(
    artifacts: Path,
    config: DescribeConfig,
    tags: list[Tag],
    inputs: list[Artifact],
    contexts: dict[str, list[str]],
    run: Run,
    track: Track,
) -> Artifact:
    check_url(config.base_url)
    endpoint, price = _endpoint(config, run), _price(config, run)
    client = Client(endpoint)  # a missing key is told before anything is done
    with _open_draft(artifacts, config, inputs, tags) as draft:
        ledger = _ledger(config, tags)
        mend(draft.path / _LOG)
        ledger.read(draft.path / _LOG)
        if draft.resumed and ledger.there:
            run.tell(f"going on: {ledger.there:,} of {ledger.wanted:,} answers are there.")
        stopped_by = asyncio.run(_ask(artifacts, draft, ledger, client, config, run, price, track))
        missing = ledger.wanted - ledger.there
        if any(True for _ in ledger.jobs()) and not run.allow_partial:
            raise stopped_by or RamkitError(
                f"{missing:,} of {ledger.wanted:,} answers are missing.",
                cure="Run the same command again to ask for them, or publish what there is with --allow-partial.",
            )
        measures = Measures()
        groups = _answered(draft.path / _LOG, ledger, tags, contexts)
        write_rows(draft.path / DESCRIPTIONS, measures.through(groups))
        draft.statistics = {**measures.as_dict(), **_llm_statistics(ledger, price)}
        draft.notes = _llm_notes(config, endpoint, stopped_by)
        (draft.path / _BATCH).unlink(missing_ok=True)
        (draft.path / _LOG).unlink(missing_ok=True)  # last: whatever fails before it loses no answer
        return draft.publish()


async def _ask(
    artifacts: Path,
    draft: Draft,
    ledger: Ledger,
    client: Client,
    config: DescribeConfig,
    run: Run,
    price: Price | None,
    track: Track,
) -> RamkitError | None:
    """Reuse, get consent, ask; returns what stopped it early."""
    async with AnswerLog(draft.path / _LOG) as log:
        for name, rows in _earlier_answers(artifacts, draft.path):
            for row in ledger.reusable(rows, name):
                await log.append([row])
        if ledger.reused:
            run.tell(f"{ledger.reused:,} answers are taken over from earlier runs.")
        planned = plan(ledger, client.endpoint, price)
        if planned.calls and run.most_calls != 0 and not run.approve(planned):
            raise RamkitError("Nothing was asked.", cure="Say yes, or give --yes, to go on.")
        asking = Asking(
            ledger, client, log, config.concurrency, run.most_calls, price=price,
            most_dollars=math.inf if planned.dollars is None else planned.dollars, track=track, tell=run.tell,
        )  # fmt: skip
        if planned.calls:
            async with client:
                await (asking.run_in_batches(draft.path / _BATCH, poll=run.poll) if run.batch else asking.run())
            run.tell(f"asked: {asking.so_far()}.")
        return asking.stopped_by


def _open_draft(
    artifacts: Path, config: DescribeConfig, inputs: list[Artifact], tags: list[Tag]
) -> AbstractContextManager[Draft]:
    """The draft that a run with the same question, answers and tags goes on with, however it is carried out."""
    settings = _what_is_asked(config, inputs, tags)
    return artifact.draft(artifacts, "descriptions", inputs=inputs, config=settings, resumable=True)


def _what_is_asked(config: DescribeConfig, inputs: list[Artifact], tags: list[Tag]) -> dict[str, Any]:
    """The settings that answers depend on, as the manifest has them."""
    import hashlib

    settings = as_dict(config)
    for name in _NOT_IN_ANSWERS:
        del settings[name]
    settings["prompts"] = list(config.prompts or PAPER_PROMPTS)
    if not any(source.kind == "vocabulary" for source in inputs):
        told = (f"{tag.name}\t{tag.kind}\t{tag.gloss}" if tag != Tag(tag.name) else tag.name for tag in tags)
        settings["tags"] = hashlib.sha256("\n".join(told).encode()).hexdigest()
    return settings


def _ledger(config: DescribeConfig, tags: list[Tag]) -> Ledger:
    terms = Terms(
        prompts=config.prompts or PAPER_PROMPTS,
        answers=config.answers,
        model=config.llm,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        again=config.again,
    )
    return Ledger([Subject(tag.name, tag.kind, tag.gloss) for tag in tags], terms)


def _endpoint(config: DescribeConfig, run: Run) -> Endpoint:
    return Endpoint(
        config.llm,
        config.base_url,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        timeout=config.timeout,
        attempts=run.attempts,
        first_wait=run.first_wait,
    )


def _price(config: DescribeConfig, run: Run) -> Price | None:
    return price_of(config.llm, run.price, local=_endpoint(config, run).is_local, batch=run.batch)


def _earlier_answers(artifacts: Path, mine: Path) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Rows of finished artefacts, the newest first, and of unfinished drafts: paid for is paid for.

    A run that was killed while it published has its answers no longer in its log but in its descriptions.
    """
    yield "this run", (row for _, row in read_log(mine / DESCRIPTIONS))
    for version in reversed(artifact.versions(artifacts, "descriptions")):
        path = artifacts / "descriptions" / f"v{version}" / DESCRIPTIONS
        yield f"descriptions:v{version}", (row for _, row in read_log(path))
    for log in sorted((artifacts / "descriptions").glob(f".*/{_LOG}")):
        if log.parent != mine:
            yield "an unfinished run", (row for _, row in read_log(log))


def _answered(
    log: Path, ledger: Ledger, tags: list[Tag], contexts: dict[str, list[str]]
) -> Iterator[list[dict[str, Any]]]:
    """Each tag's rows, sorted, read back from the log by their places in it: texts are never all in memory."""
    prompts, answers = len(ledger.terms.prompts), ledger.terms.answers
    places = {tag.name: place for place, tag in enumerate(tags)}
    order = array("Q")  # rank among all rows, then the offset in the log: one number a row
    for offset, row in read_log(log):
        found = None if "index" not in row or "asked" in row else ledger.place_of(row)
        if found is not None and 0 <= row["index"] < answers:
            rank = (found[0] * (prompts + 1) + found[1]) * answers + row["index"]
            order.append(rank << 40 | offset)
    order = array("Q", sorted(order))
    at = 0
    with log.open("rb") as stream:
        for tag in tags:
            rows = [{"tag": tag.name, "prompt": 0, "index": 0, "text": template(tag.name, tag.kind)}]
            rows.extend(_caption_rows(tag.name, 1, contexts))
            last = -1
            while at < len(order) and (rank := order[at] >> 40) // (answers * (prompts + 1)) == places[tag.name]:
                if rank != last:
                    stream.seek(order[at] & (1 << 40) - 1)
                    rows.append(_public(stream.readline()))
                at, last = at + 1, rank
            yield rows


def _public(line: bytes) -> dict[str, Any]:
    import json

    row = json.loads(line)
    return {name: row[name] for name in ("tag", "prompt", "index", "text", "key", "doubt") if name in row}


def _llm_statistics(ledger: Ledger, price: Price | None) -> dict[str, Any]:
    prompts = range(1, len(ledger.terms.prompts) + 1)
    refused = ledger.refused_per_prompt
    kept = {prompt: ledger.kept_of(prompt) for prompt in prompts}
    judged = {prompt: kept[prompt] + refused[prompt] for prompt in prompts}
    spent = None if price is None else round(price.of(ledger.prompt_tokens, ledger.answer_tokens), 4)
    return {
        "answers": ledger.there,
        "missing": ledger.wanted - ledger.there,
        "reused": ledger.reused,
        "acceptance": {str(prompt): round(kept[prompt] / judged[prompt], 3) for prompt in prompts if judged[prompt]},
        "faults": dict(ledger.faults.most_common()),
        "mended": dict(ledger.mended.most_common()),
        "calls": ledger.asked,
        "tokens": {"read": ledger.prompt_tokens, "written": ledger.answer_tokens},
        "dollars": spent,
    }


def _llm_notes(config: DescribeConfig, endpoint: Endpoint, stopped_by: RamkitError | None) -> dict[str, Any]:
    notes: dict[str, Any] = {
        "source": config.llm,
        "endpoint": endpoint.url,
        "parameters": {"temperature": config.temperature, "max_tokens": config.max_tokens},
        "method": "asked of a language model; answers judged and trimmed",
    }
    if stopped_by is not None:
        notes["incomplete"] = stopped_by.what
    return notes


def _sentence_rows(tag: str, texts: list[str], source: str) -> Iterator[dict[str, Any]]:
    """Description 0 is the template; each row says where its text is from."""
    for index, text in enumerate(texts):
        yield {"tag": tag, "prompt": 0, "index": index, "text": text, "source": source if index else "template"}


def _caption_rows(tag: str, start: int, contexts: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    for index, text in enumerate(contexts.get(tag, ()), start=start):
        yield {"tag": tag, "prompt": 0, "index": index, "text": text, "source": "caption"}


def _wanted(artifacts: Path, vocabulary: str | None, tags: Path | None) -> tuple[list[Tag], list[Artifact]]:
    """The tags to describe and the artefact that they are from."""
    if tags is not None:
        return _read_tags(tags), []
    source = artifact.find(artifacts, "vocabulary", vocabulary)
    path = source.file("vocabulary.jsonl")
    found = [_tag_of(row, path) for row in read_rows(path)]
    if not found:
        raise InputError(f"{path}: the vocabulary is empty.", cure="Parse captions with a lower --min-count.")
    return found, [source]


def _tag_of(row: dict[str, Any], path: Path) -> Tag:
    if not isinstance(row.get("tag"), str) or not row["tag"].strip():
        raise InputError(f"{path}: a row without a tag: {row}.", cure="Make it anew: ramkit parse-tags")
    gloss = row.get("gloss") or ""
    return Tag(row["tag"].strip(), row.get("kind") or "object", str(gloss), tuple(row.get("aliases") or ()))


def _read_tags(path: Path) -> list[Tag]:
    """Tags of a text file, one a line, each once, blank lines and lines that begin with # passed over; or of rows as a
    vocabulary has them, in a .jsonl file."""
    if path.suffix.lower() == ".jsonl":
        named = {tag.name: tag for tag in (_tag_of(row, path) for row in read_rows(path))}
        if not named:
            raise InputError(f"{path}: holds no tag.", cure='Write {"tag": "name"} a line.')
        return list(named.values())
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.", cure="Check the path given to --tags.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}).", cure="Give a UTF-8 text file, one tag a line.") from None
    names = dict.fromkeys(" ".join(line.split()) for line in lines)
    found = [Tag(name) for name in names if name and not name.startswith("#")]
    if not found:
        raise InputError(f"{path}: holds no tag.", cure="Write one tag a line.")
    return found


def _captions_of(triplets: Artifact, wanted: set[str], most: int) -> dict[str, list[str]]:
    """Up to `most` captions for each tag, the shortest first: those are about the tag and little else."""
    kept: dict[str, list[tuple[int, str]]] = {}
    for row in read_rows(triplets.file("triplets.jsonl")):
        for caption in row["captions"]:
            text = " ".join(str(caption).split())
            length = len(text.split())
            if length in _CAPTION_WORDS:
                for tag in wanted.intersection(row["tags"]):
                    _keep_shortest(kept.setdefault(tag, []), (-length, text), most)
    return {tag: [text for _, text in sorted(heap, key=lambda item: (-item[0], item[1]))] for tag, heap in kept.items()}


def _keep_shortest(heap: list[tuple[int, str]], item: tuple[int, str], most: int) -> None:
    if item in heap:
        return
    if len(heap) < most:
        heapq.heappush(heap, item)
    else:
        heapq.heappushpop(heap, item)
