"""parse-tags: captions in, a vocabulary and image–tag–text triplets out."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ramkit import artifact, config, files, progress
from ramkit.artifact import Artifact
from ramkit.captions import Columns, open_sources
from ramkit.config import ParseTagsConfig
from ramkit.errors import InputError
from ramkit.text import parsing, vocabulary
from ramkit.text.caption_parser import (
    KINDS,
    CaptionParser,
    Kind,
    Mention,
    Relation,
    Tree,
    extract,
    kind_of_noun,
)
from ramkit.text.closed import ClosedVocabulary
from ramkit.text.contexts import Evidence, synset_pairs, weigh
from ramkit.text.parsing import Unit, UnitSummary
from ramkit.text.tag_histogram import bins_of, draw_histogram
from ramkit.text.vocabulary import Naming, Tag
from ramkit.text.wordnet import find_wordnet

VOCABULARY_FILE = "vocabulary.jsonl"
TRIPLETS_FILE = "triplets.jsonl"
_NAMES = 3_000_000  # names counted at a time; beyond, those seen once so far are forgotten to keep memory flat
_LISTED = 20  # of each list in the statistics


def parse_tags(
    *,
    sources: Sequence[str],
    artifacts: Path,
    settings: ParseTagsConfig,
    processes: int = 0,
    engine: parsing.Engine = "local",
    track: progress.Track = progress.silent,
) -> tuple[Artifact, Artifact]:
    """Parse the captions of all sources; publishes a `vocabulary`, then the `triplets` made with it.

    `processes`: 0 takes one for every core; `engine`: "ray" parses on a Ray cluster. Both change the pace, never the
    outcome.

    Raises:
        InputError: a source that cannot be read, no usable row, or no tag frequent enough.
        MissingError: the spaCy pipeline is not installed.
    """
    started = time.monotonic()
    columns = Columns(settings.image_field, settings.caption_field, settings.split)
    opened = open_sources(sources, columns)
    job = parsing.Job(settings.spacy_model, given_tags(settings, artifacts))
    parser, closed = parsing.tools_of(job)
    outcome = parsing.parse_sources(opened, columns, job=job, processes=processes, track=track, engine=engine)
    summary = _summary_of(outcome.units)
    units = parsing.merge_photos(outcome.units)
    if units != outcome.units:
        summary.photos = _summary_of(units).photos
    if not summary.photos:
        raise InputError(f"{', '.join(sources)}: no usable row.{_first_bad(summary)}", cure=_fields_cure(settings))
    if closed is None:
        naming, tags, evidence = _build(units, settings)
    else:
        naming, tags, evidence = *_count_closed(units, job.closed, closed), []
    if not tags:
        raise InputError(
            f"No tag occurs in {settings.min_count} of the {summary.photos} photos: the vocabulary would be empty"
            f"{_skipped(summary)}.",
            cure="Lower --min-count, or give more captions.",
        )
    statistics = _statistics(summary, tags, parser, outcome)
    with artifact.draft(artifacts, "vocabulary", config=config.as_dict(settings)) as work:
        files.write_rows(work.path / VOCABULARY_FILE, (tag.as_row() for tag in tags))
        work.notes = {"weighed_pairs": [asdict(found) for found in evidence]}
        work.statistics = {**statistics, "seconds": round(time.monotonic() - started, 1)}
        published = work.publish()
    with artifact.draft(artifacts, "triplets", inputs=[published], config=config.as_dict(settings)) as work:
        rows = _triplets(track(_photos(units), total=summary.photos, what="writing triplets"), naming)
        written = files.write_rows(work.path / TRIPLETS_FILE, rows)
        work.statistics = {
            **statistics,
            "rows": written,
            "sources": [Path(source).name for source in sources],
            "seconds": round(time.monotonic() - started, 1),
        }
        return published, work.publish()


def given_tags(settings: ParseTagsConfig, artifacts: Path) -> tuple[Tag, ...]:
    """The closed vocabulary that the settings name, by file or by version; empty where it is to be built."""
    which = settings.vocabulary
    if not which:
        return ()
    if re.fullmatch(r"(vocabulary:)?v\d+", which) and not Path(which).exists():
        return tuple(vocabulary.read(artifact.find(artifacts, "vocabulary", which).file(VOCABULARY_FILE)))
    return tuple(vocabulary.read(Path(which)))


def _count_closed(units: Sequence[Unit], given: Sequence[Tag], closed: ClosedVocabulary) -> tuple[Naming, list[Tag]]:
    """The given vocabulary, every tag of it, with the number of photos that have it."""
    counts: Counter[str] = Counter()
    kinds: defaultdict[str, Counter[Kind]] = defaultdict(Counter)
    for photo in _photos(units):
        for kind, tag in photo["mentions"]:
            counts[tag] += 1
            kinds[tag][kind] += 1
    tags = [replace(tag, count=counts[tag.tag], kind=tag.kind or _usual_kind(tag.tag, kinds)) for tag in given]
    return closed.naming, sorted(tags, key=lambda tag: (-tag.count, tag.tag))


def _usual_kind(tag: str, kinds: Mapping[str, Counter[Kind]]) -> Kind:
    return max(KINDS, key=lambda kind: kinds[tag][kind]) if tag in kinds else kind_of_noun(tag)


def _summary_of(units: Iterable[Unit]) -> UnitSummary:
    total = UnitSummary()
    for unit in units:
        total.add(unit.summary())
    return total


def _photos(units: Iterable[Unit]) -> Iterator[dict[str, Any]]:
    for unit in units:
        yield from unit.rows()


def _build(units: Sequence[Unit], settings: ParseTagsConfig) -> tuple[Naming, list[Tag], list[Evidence]]:
    """Names → tags, in three passes over the parsed units: count names, count tags, settle what is kept."""
    names: Counter[vocabulary.Name] = Counter()
    for photo in _photos(units):
        names.update((kind, name) for kind, name in photo["mentions"] if name not in settings.stop)
        if len(names) > _NAMES:
            names = Counter({name: count for name, count in names.items() if count > 1})
    naming = vocabulary.build(
        names, min_count=settings.min_count, implied=settings.implied_tags, synonyms_too=settings.merge != "spelling"
    )
    counts, _ = _count_tags(units, naming)
    evidence = _merge_by_evidence(units, naming, counts) if settings.merge == "wordnet" else []
    if evidence:
        counts, _ = _count_tags(units, naming)
    ranked = sorted(
        (-count, tag) for tag, count in counts.items() if count >= settings.min_count and tag not in settings.stop
    )
    naming.keep(tag for _, tag in ranked[: settings.max_tags])
    counts, surfaces = _count_tags(units, naming)
    tags = vocabulary.tags_of(naming, counts, surfaces, min_count=settings.min_count, max_tags=settings.max_tags)
    return naming, tags, evidence


def _merge_by_evidence(units: Sequence[Unit], naming: Naming, counts: Mapping[str, int]) -> list[Evidence]:
    """Merge what WordNet calls one thing and captions use alike; gives all pairs that were weighed."""
    by_kind: defaultdict[str, list[str]] = defaultdict(list)
    for tag in naming.kept:
        by_kind[naming.kinds[tag]].append(tag)
    folder = find_wordnet()
    pairs = [pair for kind in ("object", "scene") for pair in synset_pairs(by_kind[kind], folder)]
    pairs = [pair for pair in pairs if not vocabulary.are_curated(*pair)]  # "bike" is no "motorcycle" here
    photos = ({tag for _, name in photo["mentions"] for tag in naming.resolve(name)[:1]} for photo in _photos(units))
    weighed = sorted(weigh(pairs, photos, counts), key=lambda found: -found.cosine)
    merged: set[str] = set()
    for number, found in enumerate(weighed):
        pair = {found.preferred, found.other}
        if found.holds and not pair & merged:  # no chains: what is like a thing that is like a third may be unlike it
            naming.merge(found.other, found.preferred)
            merged |= pair
            weighed[number] = replace(found, merged=True)
    return weighed


def _count_tags(units: Sequence[Unit], naming: Naming) -> tuple[Counter[str], dict[str, set[str]]]:
    """Photos by tag, and the names that were merged into each tag."""
    counts: Counter[str] = Counter()
    surfaces: defaultdict[str, set[str]] = defaultdict(set)
    for photo in _photos(units):
        found = {name: naming.resolve(name) for _, name in photo["mentions"]}
        counts.update({tag for tags in found.values() for tag in tags})
        for name, tags in found.items():
            if tags and name != tags[0] and naming.preferred(name) == tags[0]:
                surfaces[tags[0]].add(name)
    return counts, surfaces


def _triplets(photos: Iterable[dict[str, Any]], naming: Naming) -> Iterator[dict[str, Any]]:
    for photo in photos:
        tags = list(dict.fromkeys(tag for _, name in photo["mentions"] for tag in naming.resolve(name)))
        row = {"image": photo["image"], "captions": photo["captions"], "tags": tags}
        yield {**row, "relations": _relations(photo["relations"], naming)}


def _relations(found: Iterable[Sequence[str]], naming: Naming) -> list[list[str]]:
    kept = []
    for subject, relation, thing in found:
        ends = naming.resolve(subject), naming.resolve(thing)
        if ends[0] and ends[1]:
            kept.append([ends[0][0], relation, ends[1][0]])
    return kept


def _statistics(
    summary: UnitSummary, tags: Sequence[Tag], parser: CaptionParser, outcome: parsing.Outcome
) -> dict[str, Any]:
    return {
        "photos": summary.photos,
        "captions": summary.captions,
        "distinct_captions": summary.distinct,
        "bad_rows": summary.bad,
        "bad_examples": [f"{where}: {why}" for where, why in summary.bad_examples[:_LISTED]],
        "skipped_captions": dict(sorted(summary.skipped.items())),
        "tags": len(tags),
        "tags_by_kind": {kind: sum(tag.kind == kind for tag in tags) for kind in KINDS},
        "merged_names": sum(len(tag.aliases) for tag in tags),
        "mentions_by_rule": dict(summary.rules.most_common()),
        "dropped": {
            why: {"times": names.total(), "most": dict(names.most_common(_LISTED))}
            for why, names in sorted(summary.dropped.items())
        },
        "parser": {"model": parser.model, "version": parser.version},
        "units": len(outcome.units),
        "units_from_cache": outcome.reused,
    }


def _first_bad(summary: UnitSummary) -> str:
    return "".join(f" {where}: {why}." for where, why in summary.bad_examples[:3])


def _skipped(summary: UnitSummary) -> str:
    said = ", ".join(f"{why} {times:,}" for why, times in sorted(summary.skipped.items()))
    return f" (of {summary.captions:,} captions not parsed: {said})" if said else ""


def _fields_cure(settings: ParseTagsConfig) -> str:
    return (
        f"Expected are {settings.image_field!r} and {settings.caption_field!r}; "
        "name others with --image-field and --caption-field."
    )


@dataclass(frozen=True)
class Summary:
    """What a person wants to see of a run, as rows of tables."""

    kinds: list[tuple[str, int, str, str]]  # kind, tags, the most frequent, the rarest
    frequencies: list[tuple[str, int]]  # photos a tag, tags
    merged: list[tuple[str, int, str]]  # tag, photos, aliases
    dropped: list[tuple[str, int, str]]  # why, times, the most frequent


def summarise(made: Artifact, triplets: Artifact) -> Summary:
    """Top tags and long tail by kind, merged names, and what was dropped and why."""
    tags = vocabulary.read(made.file(VOCABULARY_FILE))
    by_kind = {kind: [tag.tag for tag in tags if tag.kind == kind] for kind in KINDS}
    merged = [(tag.tag, tag.count, ", ".join(tag.aliases)) for tag in tags if tag.aliases]
    dropped = triplets.statistics["dropped"]
    return Summary(
        [(kind, len(names), ", ".join(names[:10]), ", ".join(names[-6:])) for kind, names in by_kind.items()],
        [(name, sum(kinds.values())) for name, kinds in bins_of(tags)],
        merged[:_LISTED],
        [(why, found["times"], ", ".join(list(found["most"])[:8])) for why, found in dropped.items()],
    )


def draw(made: Artifact, path: Path) -> None:
    """The histogram of a vocabulary as PNG."""
    try:
        draw_histogram(vocabulary.read(made.file(VOCABULARY_FILE)), path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}).", cure="Name another file.") from None


@dataclass(frozen=True)
class Explanation:
    """What the parser made of one sentence, step by step."""

    text: str  # cleaned, as it was parsed
    skipped: str  # why nothing was parsed, where nothing was
    tokens: list[tuple[str, str, str, str]]  # word, part of speech, relation, head
    tree: list[str]  # the dependency tree, one line a token
    mentions: list[Mention]
    dropped: list[Mention]
    relations: list[Relation]


def explain(*, sentence: str, artifacts: Path, settings: ParseTagsConfig) -> Explanation:
    """Parse one sentence and keep everything on the way: `ramkit parse-tags --explain`."""
    parser, closed = parsing.tools_of(parsing.Job(settings.spacy_model, given_tags(settings, artifacts)))
    cleaned = parser.clean(sentence)
    if cleaned.skipped:
        return Explanation(cleaned.text, cleaned.skipped, [], [], [], [], [])
    tree = next(iter(parser.trees([cleaned.text])))
    words, tags = list(tree.words), list(tree.tags)
    parsed = extract(tree, parser.lemmas)
    if closed is not None:
        parsed = closed.match(tree, parsed)
    tokens = [
        (word, tag if tag == mended else f"{tag} → {mended}", dep, words[head] if head != index else "")
        for index, (word, tag, mended, dep, head) in enumerate(
            zip(words, tags, tree.tags, tree.deps, tree.heads, strict=True)
        )
    ]
    return Explanation(
        cleaned.text,
        "",
        tokens,
        list(_drawn(tree)),
        list(parsed.mentions),
        list(parsed.dropped),
        list(parsed.relations),
    )


def _drawn(tree: Tree) -> Iterator[str]:
    """The tree as indented lines, in the order of the sentence under each head."""
    roots = [index for index, head in enumerate(tree.heads) if head == index]
    pending = [(root, "", "") for root in reversed(roots)]
    while pending:
        index, lead, below = pending.pop()
        yield f"{lead}{tree.words[index]} ({tree.deps[index]})"
        children = tree.children[index]
        for child in reversed(children):
            last = child == children[-1]
            pending.append((child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))
