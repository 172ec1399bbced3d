"""this machine → times: what one image costs with ITC, ITM and ITTA (RAM++, Figure 7)."""

import platform
import re
from pathlib import Path
from typing import Any

import torch

from ramkit.errors import InputError
from ramkit.files import write_whole
from ramkit.image_encoder import create_image_encoder
from ramkit.pictures.paradigms import picture
from ramkit.progress import Track, silent
from ramkit.ram.paradigm_times import Protocol, Times, measure, widths_of


def bench_paradigms(
    *,
    image_encoder: str,
    image_size: int = 0,
    protocol: Protocol,
    png: Path | None = None,
    track: Track = silent,
) -> tuple[Times, dict[str, Any]]:
    """Times, and the machine they were taken on; the picture too, where a path is given.

    Raises:
        InputError: a number that nothing can be timed with, no such image encoder, or no such folder.
    """
    for name in ("descriptions", "repeats", "seconds"):
        if not getattr(protocol, name) > 0:
            raise InputError(f"--{name} {getattr(protocol, name)}.", cure="Give a number above 0.")
    if not protocol.tags or min(protocol.tags) < 1:
        raise InputError(f"--tags {protocol.tags}.", cure="Give numbers above 0, as in --tags 1,10,100.")
    if png is not None and not png.parent.is_dir():
        raise InputError(f"{png.parent}: no such folder.", cure="Make it, or name another.")
    encoder = create_image_encoder(image_encoder, size=image_size)
    times = measure(encoder, widths_of(encoder), protocol, track=track)
    machine = {
        "image_encoder": encoder.name,
        "image_size": encoder.preprocess.size,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if png is not None:
        write_whole(png, picture(times, machine))
    return times, machine


def as_document(times: Times, machine: dict[str, Any]) -> dict[str, Any]:
    """All figures, for programs."""
    return {
        **machine,
        "image_encoder_seconds": times.encoder,
        "times": [
            {
                "paradigm": entry.paradigm,
                "tags": entry.tags,
                "seconds": times.encoder + entry.alignment,
                "alignment_seconds": entry.alignment,
                "runs": entry.runs,
                "extrapolated_from": entry.timed if entry.extrapolated else None,
            }
            for entry in times.timings
        ],
    }


def _processor() -> str:
    """Its name, as Linux tells it; elsewhere Python's word for it."""
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
