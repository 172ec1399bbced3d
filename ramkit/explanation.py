"""Why a tag has its score in a photo: the descriptions that re-weighting chose, where the decoder looked, and what of
the logit came from where.

Attention tells where a query looked, not why its logit is what it is: tags that are not in the photo look somewhere,
too. A model with the direct similarity (ram/similarity.py) compares the photo as a whole; asked of each place alone,
the same comparison tells which places are like the tag.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ramkit.embeddings import Embedded
from ramkit.errors import InputError
from ramkit.ram.decoder import AlignmentDecoder
from ramkit.ram.reweight import description_weights
from ramkit.tagger import Tagger

Map = npt.NDArray[np.float32]
NOT_SHOWN = "(a sentence that is not shown)"


@dataclass(frozen=True)
class Explanation:
    """Of one tag in one photo. The logit is `decoder + direct`. Maps are over the photo's n × n tokens."""

    tag: str
    decoder: float  # what the decoder's states give of the logit
    direct: float  # what the direct similarity of global features adds; 0 where the model has none
    weights: list[float]  # w_ij of its D_i descriptions, sum 1
    texts: list[str]  # the descriptions, "" for one not to be shown; none where the model holds vectors alone
    attention: Map | None  # of the decoder's last layer, mean over its heads; None for a decoder without layers
    on_global: float  # share of the attention that went to the global token; with `attention` the sum is 1
    likeness: Map | None  # the direct similarity of each place alone; None where the model has none

    @property
    def logit(self) -> float:
        return self.decoder + self.direct

    @property
    def in_use(self) -> float:
        """Descriptions in use, exp(entropy of the weights): 1 where one has all the weight, D_i where all are equal."""
        weights = np.array([weight for weight in self.weights if weight > 0])
        return float(np.exp(-(weights * np.log(weights)).sum()))

    def chosen(self, most: int) -> list[tuple[float, str]]:
        """(weight, text) of the descriptions with the highest weights; nothing where the texts are not known."""
        texts = [text or NOT_SHOWN for text in self.texts]
        return sorted(zip(self.weights, texts, strict=False), reverse=True)[:most]


def explain(
    tagger: Tagger,
    photo: Image.Image,
    words: Sequence[str],
    descriptions: Mapping[str, Sequence[str]] | None = None,
) -> list[Explanation]:
    """Explanations of words in one photo: of the tag that has a word as its name or alias, else of the word as typed.

    Args:
        descriptions: texts of words, in lower case, that are asked with their own; those are no tags here.

    Raises:
        InputError: the encoder's tokens are no square map, or the model aligns in another way than by the decoder.
    """
    _decoder_of(tagger)
    features = tagger.features(tagger.preprocess(photo)[None])
    given = descriptions or {}
    numbers = {word: tagger.numbers.get(word.lower()) if word.lower() not in given else None for word in words}
    own = {word: number for word, number in numbers.items() if number is not None}
    typed = [word for word, number in numbers.items() if number is None]
    texts = tagger.texts or [[] for _ in tagger.tags]
    found: dict[str, Explanation] = {}
    if own:
        asked = tagger.vocabulary.choose(list(own.values()))
        found.update(_explained(tagger, features, asked, list(own), [texts[number] for number in own.values()]))
    if typed:
        asked = tagger.describe(typed, given)
        told = [list(given.get(word.lower()) or [tagger.text_of(word)]) for word in typed]
        found.update(_explained(tagger, features, asked, typed, told))
    return [found[word] for word in words]


def can_explain(tagger: Tagger) -> bool:
    """Whether `explain` knows models of this kind."""
    try:
        return bool(_decoder_of(tagger) and tagger.token_places)
    except InputError:
        return False


def _decoder_of(tagger: Tagger) -> AlignmentDecoder:
    decoder = tagger.head.decoder
    if not isinstance(decoder, AlignmentDecoder):
        raise InputError(
            f"{tagger.source.name} aligns by {tagger.config.alignment}, not by the decoder that is explained.",
            cure="Explain with a model of alignment = 'itta'.",
        )
    return decoder


def _explained(
    tagger: Tagger, features: torch.Tensor, asked: Embedded, words: Sequence[str], texts: Sequence[list[str]]
) -> dict[str, Explanation]:
    with torch.inference_mode():
        tokens = tagger.head.project(features)  # [1, 1 + T, E]
        queries = tagger.head.tag_queries(tokens, asked.descriptions, asked.present)
        direct = tagger.head.direct(queries, tokens)[0]
        decoder = tagger.head.align(queries, tokens)[0] - direct
        weights = _weights(tagger, tokens, asked)
        attention = _decoder_of(tagger).attentions(queries, tokens)[-1:, 0]  # [0 or 1, C, 1 + T]
        likeness = _likeness(tagger, queries, tokens)
    side = len(tagger.token_places)
    return {
        word: Explanation(
            word,
            float(decoder[i]),
            float(direct[i]),
            weights[i, : asked.counts[i]].tolist(),
            list(texts[i]),
            attention[0, i, 1:].reshape(side, side).numpy() if len(attention) else None,
            float(attention[0, i, 0]) if len(attention) else 0.0,
            likeness[i].reshape(side, side).numpy() if likeness is not None else None,
        )
        for i, word in enumerate(words)
    }


def _weights(tagger: Tagger, tokens: torch.Tensor, asked: Embedded) -> torch.Tensor:
    """w [C, D]; equal ones where the model does not re-weight."""
    if not tagger.config.reweighting:
        return asked.present / asked.counts[:, None]
    temperature = tagger.head.log_temperature.exp()
    return description_weights(tokens[:, 0], asked.descriptions, temperature, asked.present)[0]


def _likeness(tagger: Tagger, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor | None:
    """[C, T]: the direct similarity with each token in V_global's place, asked with the queries of the whole photo."""
    if tagger.head.similarity is None:
        return None
    of_photo = queries if queries.ndim == 2 else queries[0]  # [C, E]
    return tagger.head.similarity.direct(of_photo, tokens[0, 1:]).T
