"""A BERT of a few thousand random weights with a WordPiece tokenizer, in the files the transformers library writes; a
CLIP in those of open_clip.
"""

import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

WIDTH, LAYERS, HEADS, HIDDEN, POSITIONS = 32, 2, 4, 48, 40
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
CLIP: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
WORDS = ("a", "of", "photo", "the", "dog", "cat", "red", "on", "with", "and", ".", ",")


def tokenizer() -> Tokenizer:
    """Whole words, and letters for all others."""
    pieces = [*SPECIAL, *dict.fromkeys([*WORDS, *string.ascii_lowercase]), *(f"##{c}" for c in string.ascii_lowercase)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return made


def bert_weights(vocabulary: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random tensors under the published names."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int, around: float = 0.0) -> torch.Tensor:
        return around + 0.2 * torch.randn(*shape, generator=generator)

    state = {
        "embeddings.word_embeddings.weight": 5 * drawn(vocabulary, WIDTH),
        "embeddings.position_embeddings.weight": drawn(POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": drawn(2, WIDTH),
        "embeddings.LayerNorm.weight": drawn(WIDTH, around=1.0),
        "embeddings.LayerNorm.bias": drawn(WIDTH),
    }
    sizes = {
        "attention.self.query": (WIDTH, WIDTH),
        "attention.self.key": (WIDTH, WIDTH),
        "attention.self.value": (WIDTH, WIDTH),
        "attention.output.dense": (WIDTH, WIDTH),
        "intermediate.dense": (HIDDEN, WIDTH),
        "output.dense": (WIDTH, HIDDEN),
    }
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        for part, shape in sizes.items():
            state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"] = drawn(*shape), drawn(shape[0])
        for part in ("attention.output", "output"):
            state[f"{name}.{part}.LayerNorm.weight"] = drawn(WIDTH, around=1.0)
            state[f"{name}.{part}.LayerNorm.bias"] = drawn(WIDTH)
    return state


def write_bert(folder: Path, seed: int = 0) -> Path:
    """The folder, filled: `sentence:FOLDER` names a text encoder of width 32."""
    folder.mkdir(parents=True, exist_ok=True)
    made = tokenizer()
    config = {
        "model_type": "bert",
        "vocab_size": made.get_vocab_size(),
        "max_position_embeddings": POSITIONS,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": HIDDEN,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "type_vocab_size": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    made.save(str(folder / "tokenizer.json"))
    save_file(bert_weights(made.get_vocab_size(), seed), folder / "model.safetensors", {"format": "pt"})
    return folder


def write_clip(
    folder: Path,
    seed: int = 0,
    text_cfg: Mapping[str, Any] | None = None,
    *,
    vision_cfg: Mapping[str, Any] | None = None,
    width: int = 16,
    **preprocess: Any,
) -> Path:
    """The folder, filled: `open_clip:local-dir:FOLDER` names a model of both towers; `text_cfg` changes that of texts,
    which then is a module of its own, as in newer models; `vision_cfg` stands in for that of photos. `preprocess`:
    mean, std, interpolation."""
    import open_clip

    folder.mkdir(parents=True, exist_ok=True)
    config = {**CLIP, "embed_dim": width, "text_cfg": {**CLIP["text_cfg"], **(text_cfg or {})}}
    config = {**config, "vision_cfg": {**(vision_cfg or CLIP["vision_cfg"])}}
    custom = {"custom_text": True} if text_cfg else {}
    settings = {"model_cfg": {**config, **custom}, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    torch.manual_seed(seed)
    made = (open_clip.CustomTextCLIP if text_cfg else open_clip.CLIP)(**config)
    save_file(made.state_dict(), folder / "open_clip_model.safetensors")
    return folder
