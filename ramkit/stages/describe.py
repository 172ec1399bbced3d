"""vocabulary → descriptions: what each tag looks like, in several sentences, from an LLM or from WordNet.

Source: RAM++ (arXiv 2310.15200), LLM tag descriptions: a template and 5 prompts × 10 answers a tag. Row (tag, prompt 0,
index 0) is the template; prompts 1, 2 … are those asked; what was not asked of an LLM (WordNet's sentences, captions)
stands under prompt 0 as well and says where it is from.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.config import DescribeConfig, as_dict
from ramkit.errors import InputError
from ramkit.files import read_rows, write_rows
from ramkit.progress import Track, silent

DESCRIPTIONS = "descriptions.jsonl"
_CAPTION_WORDS = range(4, 21)  # shorter ones say nothing, longer ones are about many things


@dataclass(frozen=True)
class Tag:
    """A tag as a vocabulary row has it."""

    name: str
    kind: str = "object"
    gloss: str = ""
    aliases: tuple[str, ...] = ()


def describe(
    *,
    artifacts: Path,
    config: DescribeConfig,
    vocabulary: str | None = None,
    tags: Path | None = None,
    triplets: str | None = None,
    wordnet: Path | None = None,
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
    """
    wanted, inputs = _wanted(artifacts, vocabulary, tags)
    contexts: dict[str, list[str]] = {}
    if config.captions:
        source = artifact.find(artifacts, "triplets", triplets)
        inputs.append(source)
        contexts = _captions_of(source, {tag.name for tag in wanted}, config.captions)
    return _by_wordnet(artifacts, config, wanted, inputs, contexts, wordnet, track)


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
        counted = _Counts()

        def rows() -> Iterator[dict[str, Any]]:
            for tag in track(tags, total=len(tags), what="describing"):
                texts = net.describe(tag.name, tag.kind, config.sentences, gloss=tag.gloss, aliases=tag.aliases)
                yield from counted.through(tag.name, _rows(tag.name, texts, net.source, contexts.get(tag.name, ())))

        write_rows(draft.path / DESCRIPTIONS, rows())
        draft.statistics = counted.as_dict()
        draft.notes = {
            "source": net.source,
            "licence": LICENCE,
            "method": "composed from glosses and relations; no LLM",
        }
        return draft.publish()


def _rows(tag: str, texts: list[str], source: str, captions: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Description 0 is the template; each row says where its text is from."""
    for index, text in enumerate(texts):
        yield {"tag": tag, "prompt": 0, "index": index, "text": text, "source": source if index else "template"}
    for index, text in enumerate(captions, start=len(texts)):
        yield {"tag": tag, "prompt": 0, "index": index, "text": text, "source": "caption"}


class _Counts:
    """Counts rows as they pass."""

    def __init__(self) -> None:
        self._texts = self._captions = 0
        self._per_tag: dict[str, int] = {}

    def through(self, tag: str, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            self._texts += 1
            self._captions += row["source"] == "caption"
            self._per_tag[tag] = self._per_tag.get(tag, 0) + 1
            yield row

    def as_dict(self) -> dict[str, Any]:
        counts = sorted(self._per_tag.values())
        return {
            "tags": len(counts),
            "descriptions": self._texts,
            "of_captions": self._captions,
            "per_tag": {"least": counts[0], "median": counts[len(counts) // 2], "most": counts[-1]},
            "template_only": sum(count == 1 for count in counts),
        }


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
    return Tag(row["tag"], row.get("kind") or "object", row.get("gloss") or "", tuple(row.get("aliases") or ()))


def _read_tags(path: Path) -> list[Tag]:
    """Tags of a text file, one a line, each once; blank lines and lines that begin with # are passed over."""
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
