"""Words with their descriptions, from a file in the published format or from what `ramkit describe` made."""

from pathlib import Path

from ramkit import artifact
from ramkit.errors import InputError
from ramkit.files import read_rows
from ramkit.text.published_descriptions import read_published_entries

_CURE = 'Give a JSON list of {"tag": ["text", …]}, or a `descriptions` artefact.'


def read_descriptions(artifacts: Path, which: str) -> dict[str, list[str]]:
    """Texts of each word, both in the order written; spaces about them and empty texts are left out.

    Args:
        which: a `.json` file in the published format, or a `descriptions` artefact: v2, descriptions:v2, a folder.

    Raises:
        InputError: no such file, of another form, or a word without a text.
        ArtifactError: no such artefact, or it was changed.
    """
    if Path(which).suffix.lower() == ".json":
        entries = read_published_entries(Path(which))
    else:
        made = artifact.find(artifacts, "descriptions", which)
        entries = [(row["tag"], [row["text"]]) for row in read_rows(made.file("descriptions.jsonl"))]
    found: dict[str, list[str]] = {}
    for word, texts in entries:
        own = found.setdefault(" ".join(word.split()), [])
        own += [text for text in (" ".join(text.split()) for text in texts) if text]
    bare = next((word for word, texts in found.items() if not word or not texts), None)
    if bare is not None:
        raise InputError(f"{which}: {bare!r} has no text.", cure=_CURE)
    if not found:
        raise InputError(f"{which}: holds no descriptions.", cure=_CURE)
    return found
