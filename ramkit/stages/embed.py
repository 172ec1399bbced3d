"""descriptions → embeddings: every description's vector, computed once, so that training and tagging read them.

The artefact holds `embeddings.safetensors` with `descriptions` [C, D, E] (zeros where a tag has fewer than D) and
`counts` [C], and `texts.jsonl` with the texts behind each row and their hashes. The manifest tells the encoder (hash of
weights and tokenizer) and how description 0 is worded.

Texts whose vectors an earlier embeddings artefact of the same encoder and precision holds are taken from there. Tags
are written some at a time into the file that will be published, so that neither texts nor vectors are in memory
together, and an interrupted run goes on with the first tag that is not on disk.
"""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramkit import artifact
from ramkit.artifact import Artifact, Draft
from ramkit.config import EmbedConfig, as_dict
from ramkit.distributed import choose_device
from ramkit.embeddings import TENSORS, TEXTS, EmbeddingFile
from ramkit.errors import ArtifactError, InputError
from ramkit.files import read_rows, read_rows_and_places, write_rows, write_whole
from ramkit.nearest import mean_vectors, nearest, spread_of, vectors_of
from ramkit.progress import Track, silent
from ramkit.text.encoders import TextEncoder
from ramkit.text.prompts import LITERAL, TEMPLATE, WORDED, described_by_template, template

_PART = 2048  # texts encoded between two savings
_HASH = 12  # bytes of a text's SHA-256
_LEAST_TYPICAL = 3
_MOST_ROWS = 1 << 40  # of one embeddings file


def embed(
    *,
    artifacts: Path,
    encoder: TextEncoder,
    config: EmbedConfig,
    descriptions: str | None = None,
    vocabulary: str | None = None,
    track: Track = silent,
    tell: Callable[[str], None] = lambda message: None,
) -> Artifact:
    """Encode the descriptions of each tag of the vocabulary and publish them; the newest embeddings where they are
    just that already.

    Raises:
        ArtifactError: no descriptions or vocabulary, or descriptions that lack a tag of the vocabulary.
    """
    if config.max_descriptions < 1:
        raise InputError(f"max_descriptions = {config.max_descriptions}.", cure="Give a whole number above 0.")
    words = artifact.find(artifacts, "vocabulary", vocabulary)
    described = artifact.find(artifacts, "descriptions", descriptions)
    rows = list(read_rows(words.file("vocabulary.jsonl")))
    if not rows:
        raise InputError(f"{words.path}: the vocabulary is empty.", cure="Parse more captions, or lower --min-count.")
    texts = _Texts(described, rows, config.max_descriptions)
    settings = {**as_dict(config), "encoder": encoder.identity(), "width": encoder.width, "template": texts.wording}
    del settings["device"]  # where it is computed, not what
    inputs = [words, described]
    if (newest := artifact.up_to_date(artifacts, "embeddings", inputs, settings)) is not None:
        tell(f"nothing to do: {newest.name} is up to date.")
        return newest
    encoder.to(choose_device(config.device))
    with artifact.draft(artifacts, "embeddings", inputs=inputs, config=settings, resumable=True) as work:
        done = _tags_done(work, texts, encoder.width)
        encoded = _write(work, texts, encoder, config, _earlier(artifacts, settings), done, track)
        write_rows(work.path / TEXTS, texts.rows())
        total = sum(texts.counts)
        work.statistics = {
            "tags": len(rows),
            "texts": total,
            "encoded": encoded,
            "resumed": done > 0,
            "descriptions_a_tag": round(total / len(rows), 2),
        }
        made = work.publish()
        _progress(work).unlink(missing_ok=True)
        return made


@dataclass(frozen=True)
class Neighborhood:
    """What lies near a word, and how alike its own descriptions are."""

    word: str
    is_tag: bool
    neighbors: list[tuple[str, float]]  # other tags by the cosine of mean vectors, best first
    descriptions: int  # of the word itself
    mean_cosine: float  # of all pairs of them
    least_typical: list[tuple[str, float]]  # texts by their cosine with the mean of the others, the least first


def neighborhood(*, artifacts: Path, word: str, embeddings: str | None = None, most: int = 10) -> Neighborhood:
    """The tags nearest to a tag or to any other word, which is encoded as description 0 would be.

    Raises:
        InputError: an empty word.
        ArtifactError: no embeddings, or the encoder at hand is not the one that they were made with.
    """
    if not word.strip():
        raise InputError("--neighbors: no word.", cure="Give a tag or any other word.")
    made = artifact.find(artifacts, "embeddings", embeddings)
    rows = list(read_rows(made.file(TEXTS)))
    tags = [str(row["tag"]) for row in rows]
    own = next((number for number, tag in enumerate(tags) if tag.lower() == word.lower()), None)
    if own is None:
        vectors = _encoder_of(made).encode([described_by_template(word, made.config.get("template", LITERAL))])
    else:
        vectors = vectors_of(made.file(TENSORS), own)
    found = nearest(vectors.sum(0), mean_vectors(made.file(TENSORS)), but=[] if own is None else [own], most=most)
    spread = spread_of(vectors)
    texts = [] if own is None else rows[own].get("texts", rows[own]["hashes"])  # older ones hold hashes alone
    odd = sorted(zip(texts, spread.typical, strict=False), key=lambda item: item[1])[:_LEAST_TYPICAL]
    return Neighborhood(
        word,
        own is not None,
        [(tags[number], cosine) for number, cosine in found],
        len(vectors),
        spread.mean_cosine,
        odd,
    )


def _encoder_of(made: Artifact) -> TextEncoder:
    from ramkit.tagger import text_encoder_named

    encoder = text_encoder_named(made.config["text_encoder"])
    if encoder.identity() != made.config["encoder"]:
        raise ArtifactError(
            f"{made.config['text_encoder']} is no longer the encoder that {made.name} was made with.",
            cure="Embed anew: ramkit embed",
        )
    return encoder


class _Texts:
    """Which descriptions each tag is known by, by hash and place in their file; the texts themselves stay there."""

    def __init__(self, described: Artifact, rows: Sequence[dict[str, Any]], limit: int) -> None:
        self.tags = [str(row["tag"]) for row in rows]
        self.hashes: list[list[bytes]] = [[] for _ in rows]
        self._places = [array("Q") for _ in rows]
        self._path = described.file("descriptions.jsonl")
        numbers = {tag: number for number, tag in enumerate(self.tags)}
        first = [""] * len(rows)
        for place, row in read_rows_and_places(self._path):
            number = numbers.get(row["tag"])
            if number is None or len(own := self.hashes[number]) == limit:
                continue
            digest = hashlib.sha256(row["text"].encode(errors="surrogatepass")).digest()[:_HASH]
            if digest not in own:
                first[number] = first[number] or row["text"]
                own.append(digest)
                self._places[number].append(place)
        self._require_all(described)
        self.wording = _wording(first, rows)

    @property
    def counts(self) -> list[int]:
        return [len(own) for own in self.hashes]

    def read(self, wanted: Sequence[tuple[int, int]]) -> list[str]:
        """Descriptions by (number of the tag, number of the description)."""
        with self._path.open("rb") as stream:
            texts = []
            for tag, index in wanted:
                stream.seek(self._places[tag][index])
                texts.append(str(json.loads(stream.readline().decode("utf-8-sig"))["text"]))
        return texts

    def rows(self) -> Iterator[dict[str, Any]]:
        """What `texts.jsonl` tells, a tag each."""
        for number, tag in enumerate(self.tags):
            texts = self.read([(number, index) for index in range(len(self.hashes[number]))])
            yield {"tag": tag, "hashes": [digest.hex() for digest in self.hashes[number]], "texts": texts}

    def _require_all(self, described: Artifact) -> None:
        if bare := [tag for tag, own in zip(self.tags, self.hashes, strict=True) if not own]:
            raise ArtifactError(
                f"{described.name} describes none of: {', '.join(bare[:5])}{' …' if len(bare) > 5 else ''} "
                f"({len(bare)} of {len(self.tags)} tags).",
                cure="Describe this vocabulary: ramkit describe",
            )


def _wording(first: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """How the first description of all tags is worded; empty where it is no template."""
    if all(text == template(row["tag"], row.get("kind") or "object") for text, row in zip(first, rows, strict=True)):
        return WORDED
    literal = all(text.lower() == TEMPLATE.format(row["tag"]).lower() for text, row in zip(first, rows, strict=True))
    return LITERAL if literal else ""


def _progress(work: Draft) -> Path:
    """The file that tells how many tags are on disk: beside the draft, not in it, so that it outlives even a kill while
    the artefact is published."""
    return work.path.with_name(f"{work.path.name}-done")


def _tags_done(work: Draft, texts: _Texts, width: int) -> int:
    """How many tags an interrupted run has written."""
    try:
        done = int(_progress(work).read_text(encoding="utf-8"))
        with EmbeddingFile.open(work.path / TENSORS) as file:
            return done if (file.tags, file.most, file.width) == (len(texts.tags), max(texts.counts), width) else 0
    except (OSError, ValueError, ArtifactError):
        return 0


def _write(
    work: Draft,
    texts: _Texts,
    encoder: TextEncoder,
    config: EmbedConfig,
    earlier: Sequence[Artifact],
    done: int,
    track: Track,
) -> int:
    """Write the vectors of all tags but the first `done`; returns how many texts were encoded."""
    path = work.path / TENSORS
    if not done:
        write_whole(_progress(work), "0")
        with EmbeddingFile.create(path, texts.counts, width=encoder.width, precision=config.precision):
            pass
    encoded = 0
    with ExitStack() as stack:
        file = stack.enter_context(EmbeddingFile.open(path, writable=True))
        known = _Known(texts, file, stack, earlier)
        step = max(1, _PART // file.most)
        for first in track(
            range(done, file.tags, step), total=-(-file.tags // step), what="embedding", done=done // step
        ):
            tags = range(first, min(first + step, file.tags))
            new = [(tag, index) for tag in tags for index in known.unknown(tag)]
            vectors = file.stored(encoder.encode(texts.read(new)), config.precision) if new else []
            known.fresh = dict(zip((tag * file.most + index for tag, index in new), vectors, strict=True))
            file.write(first, [known.vector(tag, index) for tag in tags for index in range(file.most)])
            file.sync()
            write_whole(_progress(work), str(tags.stop))
            encoded += len(new)
    return encoded


class _Known:
    """Where the vector of each text is to be had: in earlier embeddings, or where this file has it first."""

    def __init__(self, texts: _Texts, file: EmbeddingFile, stack: ExitStack, earlier: Sequence[Artifact]) -> None:
        self._hashes, self._file = texts.hashes, file
        self.fresh: dict[int, tuple[bytes, ...]] = {}  # row of the file → vector that is about to be written
        self._first: dict[bytes, int] = {}  # row of the file; below 0: of an earlier one
        for tag, own in enumerate(texts.hashes):
            for index, digest in enumerate(own):
                self._first.setdefault(digest, tag * file.most + index)
        self._earlier: list[EmbeddingFile] = []
        for source in earlier:
            self._take_from(source, stack)

    def unknown(self, tag: int) -> list[int]:
        """Numbers of a tag's descriptions that nobody has encoded and that stand here first."""
        start = tag * self._file.most
        return [index for index, digest in enumerate(self._hashes[tag]) if self._first[digest] == start + index]

    def vector(self, tag: int, index: int) -> tuple[bytes, ...] | None:
        """As it is stored; None where the tag has no such description."""
        if index >= len(self._hashes[tag]):
            return None
        row = self._first[self._hashes[tag][index]]
        if row < 0:
            number, row = divmod(-row - 1, _MOST_ROWS)
            return self._earlier[number].row(row)
        return self.fresh[row] if row in self.fresh else self._file.row(row)

    def _take_from(self, source: Artifact, stack: ExitStack) -> None:
        file = EmbeddingFile.open(source.file(TENSORS))
        stack.enter_context(file)
        base = len(self._earlier) * _MOST_ROWS + 1
        self._earlier.append(file)
        for tag, row in enumerate(read_rows(source.file(TEXTS))):
            for index, key in enumerate(row["hashes"]):
                digest = bytes.fromhex(key)
                if self._first.get(digest, -1) >= 0:
                    self._first[digest] = -(base + tag * file.most + index)


def _earlier(artifacts: Path, settings: dict[str, Any]) -> list[Artifact]:
    """Embeddings that the same encoder made at the same precision, the newest first."""
    found = []
    for version in reversed(artifact.versions(artifacts, "embeddings")):
        try:
            made = artifact.read_manifest(artifacts / "embeddings" / f"v{version}")["config"]
            if all(made.get(key) == settings[key] for key in ("encoder", "precision", "width")):
                found.append(artifact.find(artifacts, "embeddings", str(version)))
        except ArtifactError:  # damaged: nothing to learn from it
            continue
    return found
