"""How long ITC, ITM and ITTA take for one image and any number of tags (RAM++, Figure 7), on this machine.

All three read the same projected tokens of the same image encoder, and are of the same depth and widths. Weights are
random: time does not depend on them. Time is the median over repeated runs after one that does not count. ITTA includes
the re-weighting of each tag's descriptions; texts are encoded before, for all three. Tags are asked in chunks, as
`Tagger` asks them; each chunk is asked with the same vectors, so that memory does not grow with the tags.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from ramkit.image_encoder import ImageEncoder
from ramkit.progress import Track, silent
from ramkit.ram.model import AlignmentHead, ModelConfig
from ramkit.ram.paradigms import ITC, ITM

PARADIGMS = ("ITC", "ITTA", "ITM")
_CHUNK = 1024  # tags asked at once

Ask = Callable[[int], object]  # align so many tags with the image


@dataclass(frozen=True)
class Protocol:
    """What is timed, and how long that may take."""

    tags: tuple[int, ...] = (1, 10, 100, 1000, 10_000, 100_000)
    descriptions: int = 51  # of a tag, which ITTA re-weights
    repeats: int = 5  # most runs of a number of tags
    seconds: float = 60.0  # most for all runs of a number of tags, after the first


@dataclass(frozen=True)
class Timing:
    """Seconds an image with one paradigm and number of tags."""

    paradigm: str
    tags: int
    alignment: float  # seconds, without the image encoder
    runs: int
    timed: int  # tags in a run; fewer than `tags` where the rest is extrapolated

    @property
    def extrapolated(self) -> bool:
        return self.timed < self.tags


@dataclass(frozen=True)
class Times:
    """All of a benchmark; the time of an image is `encoder` and a timing's alignment together."""

    encoder: float  # seconds: image encoder and projection
    timings: tuple[Timing, ...]

    def of(self, paradigm: str) -> list[Timing]:
        return [entry for entry in self.timings if entry.paradigm == paradigm]


@torch.inference_mode()
def measure(
    encoder: ImageEncoder,
    config: ModelConfig,
    protocol: Protocol,
    *,
    track: Track = silent,
    timer: Callable[[], float] = time.perf_counter,
) -> Times:
    """Time all paradigms.

    Args:
        encoder: the image encoder that all of them share.
        config: widths and depth of the alignment.
        timer: seconds that have passed; for tests.
    """
    head = AlignmentHead(config).eval()
    pixels = torch.randn(1, 3, config.image_size, config.image_size)

    def encode() -> torch.Tensor:
        return head.project(encoder(pixels))

    tokens = encode()  # the run that does not count
    seconds = [_timed(lambda _: encode(), 1, timer) for _ in range(protocol.repeats)]
    asks = _asks(head, config, tokens, protocol.descriptions)
    cells = [(name, count) for name in PARADIGMS for count in sorted(protocol.tags)]
    timings: list[Timing] = []
    for name, count in track(cells, total=len(cells), what="timing"):
        before = [entry for entry in timings if entry.paradigm == name]
        if not before:
            asks[name](1)  # the run that does not count
        timings.append(_time(name, count, asks[name], before, protocol, timer))
    return Times(median(seconds), tuple(timings))


def _asks(head: AlignmentHead, config: ModelConfig, tokens: torch.Tensor, descriptions: int) -> dict[str, Ask]:
    vectors = torch.nn.functional.normalize(torch.randn(_CHUNK, descriptions, config.embed_width), dim=-1)
    queries = vectors.mean(dim=1)
    itc = ITC().eval()
    itm = ITM(
        embed_width=config.embed_width,
        query_width=config.query_width,
        heads=config.heads,
        hidden=config.hidden,
        layers=config.layers,
    ).eval()
    return {
        "ITC": _in_chunks(lambda size: itc(queries[:size], tokens)),
        "ITM": _in_chunks(lambda size: itm(queries[:size], tokens)),
        "ITTA": _in_chunks(lambda size: head.align(head.tag_queries(tokens, vectors[:size]), tokens)),
    }


def _in_chunks(ask: Ask) -> Ask:
    def all_of(tags: int) -> None:
        for start in range(0, tags, _CHUNK):
            ask(min(_CHUNK, tags - start))

    return all_of


def _time(
    name: str, tags: int, ask: Ask, before: Sequence[Timing], protocol: Protocol, timer: Callable[[], float]
) -> Timing:
    """Time a number of tags, given the timings of smaller ones: as many of them as the budget allows."""
    fits = tags
    if before:
        last = before[-1]
        if last.extrapolated:  # what fits has been timed
            return Timing(name, tags, last.alignment * tags / last.tags, last.runs, last.timed)
        each = last.alignment / last.tags  # more tags take less each: an upper bound
        fits = min(tags, max(int(protocol.seconds / each), last.tags))
    seconds = [_timed(ask, fits, timer)]
    while len(seconds) < protocol.repeats and sum(seconds) + seconds[0] <= protocol.seconds:
        seconds.append(_timed(ask, fits, timer))
    return Timing(name, tags, median(seconds) * tags / fits, len(seconds), fits)


def _timed(ask: Ask, tags: int, timer: Callable[[], float]) -> float:
    start = timer()
    ask(tags)
    return timer() - start


def widths_of(encoder: ImageEncoder) -> ModelConfig:
    """The published widths and depth on an image encoder."""
    return ModelConfig(
        image_encoder=encoder.name,
        image_size=encoder.preprocess.size,
        image_width=encoder.width,
        embed_width=512,
    )
