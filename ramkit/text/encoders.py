"""Text encoders: words and sentences to unit vectors [N, E].

Two kinds, named by a spec string:
    sentence:SOURCE          a BERT-style sentence encoder in a folder or `package:NAME` (tokenizer.json, config.json
                             and model.safetensors beside one another), such as MiniLM; nothing is downloaded
    open_clip:MODEL/WEIGHTS  the text tower of any open_clip model, e.g. open_clip:ViT-B-16/openai
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from ramkit.errors import InputError, MissingError
from ramkit.tensors import load_tensors, save_tensors
from ramkit.weights import locate, read_state_dict

BATCH = 64
_WITH_WEIGHTS = ("hf-hub:", "local-dir:")  # open_clip's names for a model together with its weights
SENTENCE_FILES = ("sentence_encoder.safetensors", "sentence_encoder.json", "tokenizer.json")


class TextEncoder(Protocol):
    """What the stages need of a text encoder."""

    width: int

    def identity(self) -> dict[str, str]:
        """Spec and SHA-256 of weights and tokenizer: what must agree for embeddings to be comparable."""
        ...

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors [N, E] of N texts, float32, in the order given."""
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
        places = torch.arange(tokens.shape[1], device=tokens.device)
        states = self.norm(self.words(tokens) + self.positions(places))  # [N, L, E]
        states = self.layers(states, src_key_padding_mask=~mask)
        weight = mask.unsqueeze(-1).to(states.dtype)
        return F.normalize((states * weight).sum(1) / weight.sum(1), dim=-1)


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
                tokens = torch.tensor([entry.ids for entry in encoded])
                mask = torch.tensor([entry.attention_mask for entry in encoded], dtype=torch.bool)
                vectors[chosen] = self._transformer(tokens, mask).float()
        return vectors

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


class OpenClipTextEncoder:
    """The text tower of an open_clip model.

    `source` is MODEL/WEIGHTS, weights as open_clip lists them or a file, or hf-hub:REPOSITORY or local-dir:FOLDER.
    """

    def __init__(self, source: str) -> None:
        import open_clip

        name, _, weights = (source, "", None) if source.startswith(_WITH_WEIGHTS) else source.partition("/")
        if weights == "":
            raise InputError(
                f"open_clip:{source} names no weights.", cure="Add them, as in open_clip:ViT-B-16/openai, or a file."
            )
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # open_clip logs each error that it raises, too
        try:
            model = open_clip.create_model(name, pretrained=weights, require_pretrained=True)
            self._tokenize = open_clip.get_tokenizer(name)
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise MissingError(
                f"open_clip:{source} cannot be loaded ({reason}).",
                cure="Check the name with open_clip.list_pretrained(), or give a local weights file.",
            ) from None
        finally:
            logging.disable(before)
        self._model = model.eval().requires_grad_(False)
        self._source = source
        self._sha256 = self._digest()
        self.width = int(self.encode(["a"]).shape[1])

    def identity(self) -> dict[str, str]:
        return {"spec": f"open_clip:{self._source}", "sha256": self._sha256}

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        with torch.inference_mode():
            vectors = [self._model.encode_text(self._tokenize(list(batch)), normalize=True) for batch in batches]
        return torch.cat(vectors).float() if vectors else torch.empty(0, self.width)

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            if not name.startswith("visual."):
                digest.update(name.encode() + tensor.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()


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
