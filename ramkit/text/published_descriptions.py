"""Descriptions of tags in the published format: a JSON list of {tag: [texts]}, or one such object for all tags.

So are the 51 texts a tag of RAM++'s own vocabulary and of OpenImages-uncommon: the template first, then an LLM's.
"""

import json
from pathlib import Path
from typing import Any

from ramkit.errors import InputError

_CURE = 'Give a JSON list of {"tag": ["text", …]}.'


def read_published_descriptions(path: Path) -> dict[str, list[str]]:
    """Texts of each tag, tags in the file's order and in lower case; of a tag that comes twice, the first texts.

    Raises:
        InputError: no such file, not JSON, of another form, or a tag without texts.
    """
    found: dict[str, list[str]] = {}
    for tag, texts in read_published_entries(path):
        kept = [text for text in (" ".join(text.split()) for text in texts) if text]
        if not kept:
            raise InputError(f"{path}: {tag!r} has no text.", cure=_CURE)
        found.setdefault(tag.strip().lower(), kept)
    return found


def read_published_entries(path: Path) -> list[tuple[str, list[str]]]:
    """(tag, texts), all as they are written and in the file's order: as the vectors of a checkpoint stand.

    Raises:
        InputError: no such file, not JSON, or of another form.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).", cure=_CURE) from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON
        raise InputError(f"{path}: not JSON ({error}).", cure=_CURE) from None
    found: list[tuple[str, list[str]]] = []
    for number, entry in enumerate(document if isinstance(document, list) else [document], start=1):
        if not isinstance(entry, dict):
            raise InputError(f"{path}, entry {number}: no object in braces.", cure=_CURE)
        found += [(tag, _checked(texts, f"{path}, entry {number}, {tag!r}")) for tag, texts in entry.items()]
    if not found:
        raise InputError(f"{path}: holds no descriptions.", cure=_CURE)
    return found


def _checked(texts: Any, where: str) -> list[str]:
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{where}: no list of texts.", cure=_CURE)
    return texts
