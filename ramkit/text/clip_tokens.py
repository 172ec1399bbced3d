"""How many tokens CLIP reads in a text, without loading CLIP: its text tower cuts off what is beyond 77.

The merges come from the vocabulary file that the open_clip package carries; importing the package itself would load
torch for a count.
"""

import gzip
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

CONTEXT = 77  # with the two marks around the text
_FILE = "bpe_simple_vocab_16e6.txt.gz"
_MERGES = 49152 - 256 - 2
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def count_tokens(text: str) -> int:
    """Tokens of a text with the marks for start and end; an estimate where open_clip is not installed."""
    tokenizer = _tokenizer()
    if tokenizer is None:
        return 2 + sum(1 + len(word) // 9 for word in text.split()) + sum(text.count(mark) for mark in ".,;:!?-'\"")
    return 2 + len(tokenizer.encode(text.lower()).ids)


@cache
def _tokenizer() -> Any:
    found = importlib.util.find_spec("open_clip")
    path = Path(found.origin).parent / _FILE if found and found.origin else None
    if path is None or not path.is_file():
        return None
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    with gzip.open(path, "rt", encoding="utf-8") as stream:
        lines = stream.read().split("\n")[1 : _MERGES + 1]
    merges = [(first, second) for first, _, second in (line.partition(" ") for line in lines)]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *(first + second for first, second in merges)]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_PIECES), "removed", invert=True), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    return tokenizer
