"""Text encoders: words and sentences to unit vectors [N, E].

Two kinds, named by a spec string:
    sentence:SOURCE          a BERT-style sentence encoder in a folder or `package:NAME` (tokenizer.json, config.json
                             and model.safetensors beside one another), such as MiniLM; nothing is downloaded
    open_clip:MODEL/WEIGHTS  the text tower of any open_clip model, e.g. open_clip:ViT-B-16/openai
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from ramkit.clip import load_clip
from ramkit.errors import InputError
from ramkit.tensors import load_tensors, save_tensors
from ramkit.weights import locate, read_state_dict

BATCH = 64
SENTENCE_FILES = ("sentence_encoder.safetensors", "sentence_encoder.json", "tokenizer.json")


@dataclass(frozen=True)
class PromptFrame:
    """A text with free places before its first word, where learnt vectors may stand as words do."""

    tokens: torch.Tensor  # [L], with the encoder's own marks and padding; what stands on the free places is not read
    start: int  # the first free place
    places: int  # J

    def fill(self, words: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Word embeddings [N, L, D] of the frame's tokens, with vectors [N, J, D] on the free places."""
        end = self.start + self.places
        return torch.cat([words[:, : self.start], vectors.to(words.dtype), words[:, end:]], dim=1)


class TextEncoder(Protocol):
    """What the stages need of a text encoder."""

    width: int

    @property
    def word_embeddings(self) -> torch.Tensor:
        """The table [vocabulary, D] that token numbers are looked up in."""
        ...

    def identity(self) -> dict[str, str]:
        """Spec and SHA-256 of weights and tokenizer: what must agree for embeddings to be comparable."""
        ...

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [N, E] of N texts, float32, in the order given."""
        ...

    def frame(self, text: str, places: int) -> PromptFrame:
        """A text's tokens with free places before its first word.

        Raises:
            InputError: they are more tokens than the encoder reads.
        """
        ...

    def encode_prompts(self, frame: PromptFrame, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors [N, E], not scaled to unit length, of the frame with [N, J, D] on its free places; differentiable."""
        ...

    def to(self, device: torch.device | str) -> None:
        """Move the weights to a device."""
        ...


def load_text_encoder(spec: str) -> TextEncoder:
    """The encoder that a spec names.

    Raises:
        InputError: an unknown spec or unusable files.
        MissingError: a package or weights that have to be installed or fetched first.
    """
    kind, _, source = spec.partition(":")
    if kind == "sentence" and source:
        return read_published_sentence_encoder(source)
    if kind == "open_clip" and source:
        return OpenClipTextEncoder(source)
    raise InputError(f"{spec!r} names no text encoder.", cure="Use sentence:FOLDER or open_clip:MODEL/WEIGHTS.")


class BertTransformer(nn.Module):
    """BERT's encoder on PyTorch's own post-norm layers, with the mean over the tokens as the sentence's vector."""

    def __init__(self, *, vocabulary: int, positions: int, width: int, layers: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        layer = nn.TransformerEncoderLayer(
            width, heads, hidden, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Unit vectors [N, E] of token ids [N, L]; mask [N, L] is true where a token stands."""
        return F.normalize(self.mean_state(self.words(tokens), mask), dim=-1)

    def mean_state(self, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Mean of the last layer's states [N, E], of word embeddings [N, L, E]."""
        places = torch.arange(words.shape[1], device=words.device)
        states = self.norm(words + self.positions(places))  # [N, L, E]
        states = self.layers(states, src_key_padding_mask=~mask)
        weight = mask.unsqueeze(-1).to(states.dtype)
        return (states * weight).sum(1) / weight.sum(1)


class SentenceEncoder:
    """A BERT-style sentence encoder with its tokenizer; saved with a model so that open-set words work offline."""

    def __init__(self, transformer: BertTransformer, tokenizer: str, settings: dict[str, Any]) -> None:
        from tokenizers import Tokenizer

        self._transformer = transformer.eval().requires_grad_(False)
        self._tokenizer_json = tokenizer
        self._settings = settings
        self._tokenizer = Tokenizer.from_str(tokenizer)
        self._tokenizer.enable_truncation(settings["max_tokens"])
        self._tokenizer.enable_padding(pad_id=self._tokenizer.token_to_id("[PAD]"), pad_token="[PAD]")
        self.width: int = settings["width"]

    def identity(self) -> dict[str, str]:
        return {"spec": self._settings["spec"], "sha256": self._settings["sha256"]}

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [N, E]; texts are encoded in batches of similar length."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors = torch.empty(len(texts), self.width)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                chosen = order[start : start + BATCH]
                encoded = self._tokenizer.encode_batch([texts[index] for index in chosen])
                tokens = torch.tensor([entry.ids for entry in encoded], device=self._device)
                mask = torch.tensor([entry.attention_mask for entry in encoded], device=self._device).bool()
                vectors[chosen] = self._transformer(tokens, mask).float().cpu()
        return vectors

    @property
    def word_embeddings(self) -> torch.Tensor:
        return self._transformer.words.weight

    def frame(self, text: str, places: int) -> PromptFrame:
        text_tokens, empty = (torch.tensor(self._tokenizer.encode(words).ids) for words in (text, ""))
        limit = self._settings["max_tokens"]
        if len(text_tokens) + places > limit:
            raise _too_long(text, places, limit)
        return _with_places(text_tokens, empty, places)

    def encode_prompts(self, frame: PromptFrame, vectors: torch.Tensor) -> torch.Tensor:
        tokens = frame.tokens.to(vectors.device).expand(len(vectors), -1)
        words = frame.fill(self._transformer.words(tokens), vectors)
        return self._transformer.mean_state(words, torch.ones_like(tokens, dtype=torch.bool))

    def to(self, device: torch.device | str) -> None:
        self._transformer.to(device)

    @property
    def _device(self) -> torch.device:
        return self.word_embeddings.device

    def save(self, folder: Path) -> None:
        """Write it into a model artefact, weights in 8 bits."""
        save_tensors(folder / SENTENCE_FILES[0], self._transformer.state_dict(), "int8")
        (folder / SENTENCE_FILES[1]).write_text(json.dumps(self._settings, indent=2) + "\n", encoding="utf-8")
        (folder / SENTENCE_FILES[2]).write_text(self._tokenizer_json, encoding="utf-8")


def read_saved_sentence_encoder(folder: Path) -> SentenceEncoder:
    """The encoder that `SentenceEncoder.save` wrote."""
    settings = json.loads((folder / SENTENCE_FILES[1]).read_text(encoding="utf-8"))
    transformer = _empty_transformer(settings)
    transformer.load_state_dict(load_tensors(folder / SENTENCE_FILES[0]), assign=True)
    return SentenceEncoder(transformer, (folder / SENTENCE_FILES[2]).read_text(encoding="utf-8"), settings)


def read_published_sentence_encoder(source: str) -> SentenceEncoder:
    """A sentence encoder in the layout that the transformers library writes.

    Raises:
        InputError: a file is missing, or the weights are of another architecture.
    """
    weights = locate(source)
    folder = weights if weights.is_dir() else weights.parent
    files = {name: folder / name for name in ("config.json", "tokenizer.json", "model.safetensors")}
    if missing := [name for name, path in files.items() if not path.is_file()]:
        raise InputError(
            f"{folder}: no {', '.join(missing)}.", cure="Name the folder of a BERT-style sentence encoder."
        )
    state = read_state_dict(files["model.safetensors"])
    digest = _digest(files["model.safetensors"], files["tokenizer.json"])
    try:
        config = json.loads(files["config.json"].read_text(encoding="utf-8"))
        if (kind := config.get("model_type")) != "bert":
            raise InputError(f"{folder}: of type {kind}, not bert.", cure="Use MiniLM or a like model.")
        settings = _settings(config, f"sentence:{source}", digest)
        transformer = _empty_transformer(settings)
        transformer.load_state_dict(_from_bert(state, settings["layers"]), assign=True)
        return SentenceEncoder(transformer, files["tokenizer.json"].read_text(encoding="utf-8"), settings)
    except InputError:
        raise
    except Exception as error:  # the tokenizer raises bare Exceptions, the rest KeyError, RuntimeError, ValueError
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise InputError(
            f"{folder}: not usable as a BERT-style sentence encoder ({reason}).", cure="Fetch its files anew."
        ) from None


class _ClipTextTower(nn.Module):
    """The text side of an open_clip model, which need not compute what stands after the end of every text.

    Where a token sees only those before it and the end mark's state is the text's, padding changes nothing; open_clip
    computes it all the same: 77 tokens, of which a description has some 20.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        tower = getattr(model, "text", model)
        pooled = getattr(tower, "pool_type", getattr(tower, "text_pool_type", ""))
        mask, appended = getattr(tower, "attn_mask", None), getattr(tower, "cls_emb", None)
        self._causal = pooled in ("argmax", "eos") and mask is not None and appended is None
        self._prefix = "model" if tower is model else "model.text"

    def forward(self, tokens: torch.Tensor, length: int | None = None) -> torch.Tensor:
        """Unit vectors [N, E] of token numbers [N, L], none of which is longer than `length`."""
        if not self._causal or length is None:
            return self.model.encode_text(tokens, normalize=True)
        positions, mask = f"{self._prefix}.positional_embedding", f"{self._prefix}.attn_mask"
        cut = {positions: self.get_parameter(positions)[:length], mask: self.get_buffer(mask)[:length, :length]}
        return torch.func.functional_call(self, cut, (tokens[:, :length],))


def _lengths(tokens: torch.Tensor, padding: int) -> torch.Tensor:
    """How many of each row's tokens [N, L] stand before its padding."""
    places = torch.arange(1, tokens.shape[1] + 1)
    return torch.where(tokens != padding, places, 0).amax(1)


class OpenClipTextEncoder:
    """The text tower of an open_clip model.

    `source` is MODEL/WEIGHTS, weights as open_clip lists them or a file, or hf-hub:REPOSITORY or local-dir:FOLDER.
    """

    def __init__(self, source: str) -> None:
        import open_clip

        self._model, name = load_clip(source)
        self._tower = _ClipTextTower(self._model)
        self._tokenize = open_clip.get_tokenizer(name)
        self._source = source
        self._sha256 = self._digest()
        with torch.inference_mode():
            self.width = int(self._tower(self._tokenize(["a"])).shape[1])

    def identity(self) -> dict[str, str]:
        return {"spec": f"open_clip:{self._source}", "sha256": self._sha256}

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [N, E]; texts are encoded in batches of similar length, without most of their padding."""
        vectors = torch.empty(len(texts), self.width)
        if not texts:
            return vectors
        tokens = self._tokenize(list(texts))  # [N, L]
        lengths = _lengths(tokens, padding=int(self._tokenize([""])[0, -1]))
        with torch.inference_mode():
            for chosen in lengths.argsort(stable=True).split(BATCH):
                batch = tokens[chosen].to(self._device)
                vectors[chosen] = self._tower(batch, int(lengths[chosen].max())).float().cpu()
        return vectors

    @property
    def word_embeddings(self) -> torch.Tensor:
        return self._embedding.weight

    def frame(self, text: str, places: int) -> PromptFrame:
        text_tokens, empty = self._tokenize([text, ""])
        length = len(text_tokens)
        if (text_tokens[length - places :] != empty[-1]).any():  # not padding alone: words would fall off the end
            raise _too_long(text, places, length)
        framed = _with_places(text_tokens, empty, places)
        return PromptFrame(framed.tokens[:length], framed.start, places)

    def encode_prompts(self, frame: PromptFrame, vectors: torch.Tensor) -> torch.Tensor:
        """The model's own code from token numbers on, but for the embeddings on the free places."""
        tokens = frame.tokens.to(vectors.device).expand(len(vectors), -1)
        hook = self._embedding.register_forward_hook(lambda module, inputs, words: frame.fill(words, vectors))
        try:
            return self._model.encode_text(tokens, normalize=False)
        finally:
            hook.remove()

    def to(self, device: torch.device | str) -> None:
        self._model.to(device)

    @property
    def _embedding(self) -> nn.Embedding:
        text = getattr(self._model, "text", self._model)
        own = getattr(text, "token_embedding", None)
        return own if own is not None else text.transformer.get_input_embeddings()

    @property
    def _device(self) -> torch.device:
        return self.word_embeddings.device

    def _digest(self) -> str:
        digest = hashlib.sha256(_tokenizer_content(self._tokenize).encode())
        for name, tensor in sorted(self._model.state_dict().items()):
            if not name.startswith("visual."):
                digest.update(name.encode() + tensor.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()


def _tokenizer_content(tokenizer: Any) -> str:
    """What an open_clip tokenizer goes by: another vocabulary, or another length, gives other vectors."""
    inner = getattr(getattr(tokenizer, "tokenizer", None), "backend_tokenizer", None)  # of the transformers library
    vocabulary = inner.to_str() if inner is not None else json.dumps(getattr(tokenizer, "encoder", {}))
    return f"{type(tokenizer).__name__} {tokenizer.context_length} {vocabulary}"


def _with_places(text: torch.Tensor, empty: torch.Tensor, places: int) -> PromptFrame:
    """Free places after what a text's tokens have in common with those of no text: the mark for the start, if any."""
    common = min(len(text), len(empty))
    start = int((text[:common] == empty[:common]).long().cumprod(0).sum())
    start = min(start, len(text) - 1)
    filler = text[start].expand(places)  # a word, so that neither the end nor padding is looked for there
    return PromptFrame(torch.cat([text[:start], filler, text[start:]]), start, places)


def _too_long(text: str, places: int, limit: int) -> InputError:
    return InputError(
        f"{text!r} after {places} learnable tokens is longer than the text encoder's {limit} tokens.",
        cure="Give fewer prompt_tokens.",
    )


def _settings(config: dict[str, Any], spec: str, sha256: str) -> dict[str, Any]:
    return {
        "spec": spec,
        "sha256": sha256,
        "vocabulary": config["vocab_size"],
        "positions": config["max_position_embeddings"],
        "width": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "hidden": config["intermediate_size"],
        "max_tokens": min(256, config["max_position_embeddings"]),
    }


def _empty_transformer(settings: dict[str, Any]) -> BertTransformer:
    sizes = ("vocabulary", "positions", "width", "layers", "heads", "hidden")
    with torch.device("meta"):
        return BertTransformer(**{name: settings[name] for name in sizes})


def _from_bert(state: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """Published BERT names → ours. Sentences are all of type 0, so that embedding is added to the positions."""
    state = {name.removeprefix("bert."): tensor for name, tensor in state.items()}
    table = state["embeddings.position_embeddings.weight"] + state["embeddings.token_type_embeddings.weight"][0]
    ours = {
        "words.weight": state["embeddings.word_embeddings.weight"],
        "positions.weight": table,
        "norm.weight": state["embeddings.LayerNorm.weight"],
        "norm.bias": state["embeddings.LayerNorm.bias"],
    }
    renamed = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    for index in range(layers):
        theirs, own = f"encoder.layer.{index}", f"layers.layers.{index}"
        for part in ("weight", "bias"):
            joined = [state[f"{theirs}.attention.self.{name}.{part}"] for name in ("query", "key", "value")]
            ours[f"{own}.self_attn.in_proj_{part}"] = torch.cat(joined)
            for name, their_name in renamed.items():
                ours[f"{own}.{name}.{part}"] = state[f"{theirs}.{their_name}.{part}"]
    return ours


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()
