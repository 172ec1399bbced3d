"""Vectors of many texts, kept between runs: 200 words of 51 descriptions are ten thousand passes of a text encoder."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from ramkit.errors import ArtifactError
from ramkit.files import cache_directory
from ramkit.tensors import load_tensors, save_tensors
from ramkit.text.encoders import TextEncoder

_LEAST = 128  # texts: fewer are encoded sooner than they are looked for


def encode_texts(encoder: TextEncoder, texts: Sequence[str]) -> torch.Tensor:
    """Unit vectors [N, E] of N texts, from ramkit's cache where the same texts were encoded by the same encoder."""
    if len(texts) < _LEAST:
        return encoder.encode(texts)
    path = _path(encoder, texts)
    try:
        return load_tensors(path)["vectors"]
    except (ArtifactError, KeyError):  # not there, or damaged
        vectors = encoder.encode(texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    save_tensors(unfinished, {"vectors": vectors})
    unfinished.replace(path)
    return vectors


def _path(encoder: TextEncoder, texts: Sequence[str]) -> Path:
    digest = hashlib.sha256(encoder.identity()["sha256"].encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return cache_directory() / "text-vectors" / f"{digest.hexdigest()[:32]}.safetensors"
