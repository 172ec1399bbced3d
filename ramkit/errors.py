"""Errors that a user can mend. The library raises them; only `ramkit.cli` prints them and sets the exit code.

RamkitError          anything a user can mend: what, where, cure
├── InputError       a file, a caption, a photo or an option that cannot be used
├── ArtifactError    an artefact that is missing, changed, of another schema or of another lineage
│   └── BusyError    another run is writing the same artefact
└── MissingError     something that has to be installed or fetched first
"""

_LONGEST = 240  # characters told of another library's error


def first_line(error: BaseException) -> str:
    """What another library's error says, to be told inside a message of ours: some list all that they know."""
    said = (str(error) or type(error).__name__).splitlines()[0].removesuffix(".")
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST].rpartition(' ')[0]} …"


class RamkitError(Exception):
    """One clear message for a person: what is wrong, where, and what cures it."""

    of_one_process = False  # of several that torchrun started: then that one tells it, otherwise the first does

    def __init__(self, what: str, *, cure: str = "") -> None:
        self.what = what
        self.cure = cure
        super().__init__(f"{what} {cure}".strip() if cure else what)


class InputError(RamkitError):
    """A file, caption, photo or option that cannot be used."""


class ArtifactError(RamkitError):
    """An artefact that is missing, changed, of another schema, or made from something else."""


class BusyError(ArtifactError):
    """Another run is writing the same artefact at this moment."""


class MissingError(RamkitError):
    """Something that has to be installed or fetched first."""
