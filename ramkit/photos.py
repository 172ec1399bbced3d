"""Photos: finding them, reading any of them as upright RGB, and preparing them for an image encoder.

A photo is named by a reference: a path, `shard.tar::member.jpg` for one inside a webdataset shard, or
`file.parquet::column/row` (see references.py).
"""

import hashlib
import io
import os
import threading
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from ramkit.errors import InputError, first_line
from ramkit.files import sha256_of
from ramkit.references import MEMBER, photo_rows, read_inside, shard_index, split_reference

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jfif", ".avif", ".heic", ".heif"}
)
_CONTAINERS = frozenset({".tar", ".parquet"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_CURE = "Name a photo that opens in an image viewer."


@dataclass(frozen=True)
class Preprocess:
    """Resize to a square, aspect ratio not kept ("squash"), scale to [0, 1], normalise per channel."""

    size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"  # or bicubic; both antialiased, as PIL does

    def __call__(self, photo: Image.Image, box: tuple[float, float, float, float] | None = None) -> torch.Tensor:
        """Pixels [3, size, size] of an RGB photo, or of a box of it: left, top, right and bottom in its pixels."""
        resized = photo.resize((self.size, self.size), Image.Resampling[self.interpolation.upper()], box)
        pixels = torch.from_numpy(np.array(resized, dtype=np.float32)).permute(2, 0, 1) / 255
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return (pixels - mean[:, None, None]) / std[:, None, None]


def find_photos(sources: Iterable[str | Path], *, as_typed: bool = False) -> list[str]:
    """References to every photo that the sources name: files as given, folders searched in depth (hidden ones
    passed over), `.tar` shards, `.parquet` files. A photo named twice comes once.

    Args:
        as_typed: as a person names photos to look at. What cannot be had, a source that does not exist or a folder
            that may not be read, stands for a photo, which `read_photo` then refuses on its own; a folder that holds
            shards or Parquet files and no photo beside them stands for those.

    Raises:
        InputError: a source that does not exist, a folder that may not be read, or a folder, shard or Parquet file
            without a photo.
    """
    found: dict[str, str] = {}
    for source in sources:
        missing = as_typed and not os.path.lexists(source)
        for reference in [str(source)] if missing else _photos_of(str(source), as_typed):
            found.setdefault(os.path.abspath(reference), reference)
    return list(found.values())


def read_photo(reference: str) -> Image.Image:
    """The photo as upright 8-bit RGB, whatever it was: EXIF rotation applied, transparency on white, CMYK and
    16-bit converted, the first frame of an animation.

    Raises:
        InputError: missing, empty, truncated, or no image at all.
    """
    try:
        with _quiet, _open_image(reference) as image:
            image.load()
            return _as_rgb(ImageOps.exif_transpose(image))
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{reference}: no such file.", cure="Check the path.") from None
    except Image.DecompressionBombError:  # Pillow warns at its limit and refuses at twice that
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise InputError(f"{reference}: larger than {most} pixels.", cure="Scale it down.") from None
    except UnidentifiedImageError:
        raise InputError(f"{reference}: not an image, or one of no pixels, or damaged.", cure=_CURE) from None
    except Exception as error:  # on damaged files Pillow's decoders raise errors of nearly every class
        raise InputError(f"{reference}: not a readable image ({first_line(error)}).", cure=_CURE) from None


def content_digest(reference: str) -> str:
    """SHA-256 of a photo's bytes, whatever it is called and wherever it lies; empty where there are none."""
    try:
        if inside := split_reference(reference):
            return hashlib.sha256(read_inside(*inside)).hexdigest()
        return sha256_of(Path(reference))
    except (InputError, OSError, ValueError):
        return ""


class _Quiet:
    """Silences Pillow's remarks on odd EXIF, palettes and sizes, which are no matter for a person.

    Warning filters belong to the process: of photos read in several threads at once the first sets them and the
    last restores them, where a plain `catch_warnings` in each would restore them out of order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._saved.__exit__(None, None, None)


_quiet = _Quiet()


def _photos_of(source: str, as_typed: bool) -> Sequence[str]:
    if split_reference(source):
        return [source]
    path = Path(source)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file or folder.", cure="Check the path.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be opened ({first_line(error)}).", cure="Check the path.") from None
    if path.is_dir():
        return _photos_below(path, as_typed)
    if path.suffix.lower() == ".tar":
        members = [f"{path}{MEMBER}{name}" for name in shard_index(str(path)) if _is_photo(Path(name))]
        if not members:
            raise InputError(f"{path}: no photo in this shard.", cure="Name a webdataset shard with photos.")
        return members
    if path.suffix.lower() == ".parquet":
        rows = [f"{path}{MEMBER}{name}" for name in photo_rows(str(path))]
        if not rows:
            raise InputError(f"{path}: no column of photos, or no row.", cure="Name a Parquet file that holds photos.")
        return rows
    return [source]


def _photos_below(folder: Path, as_typed: bool) -> list[str]:
    closed: list[str] = []
    entries: list[Path] = []
    for where, folders, names in os.walk(folder, onerror=lambda error: closed.append(error.filename)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        entries += [Path(where, name).relative_to(folder) for name in names]
    if closed and not as_typed:
        raise InputError(f"{closed[0]}: this folder may not be read.", cure="Check who may read it.")
    photos = [str(folder / entry) for entry in entries if _is_photo(entry) and (folder / entry).is_file()]
    found = sorted([*photos, *closed])
    if not found and as_typed:
        holders = sorted(str(folder / entry) for entry in entries if _is_shown(entry, _CONTAINERS))
        found = [reference for holder in holders for reference in _photos_of(holder, as_typed)]
    if not found:
        raise InputError(f"{folder}: no photo in this folder.", cure=f"Known endings: {' '.join(sorted(SUFFIXES))}")
    return found


def _is_photo(inside: Path) -> bool:
    """By the path inside its folder or shard: a known ending, and nothing hidden on the way."""
    return _is_shown(inside, SUFFIXES)


def _is_shown(inside: Path, endings: frozenset[str]) -> bool:
    return inside.suffix.lower() in endings and not any(part.startswith(".") and part != ".." for part in inside.parts)


def _open_image(reference: str) -> Image.Image:
    source = _open_bytes(reference)
    try:
        return Image.open(source)
    except UnidentifiedImageError:
        if not _is_heif(source):
            raise
        _read_heif_from_now_on(reference)
        return Image.open(source)


def _is_heif(source: io.BytesIO | str) -> bool:
    """Whether a file is of the kind that iPhones write; leaves it at its start."""
    if isinstance(source, str):
        with open(source, "rb") as stream:
            head = stream.read(12)
    else:
        head = source.getvalue()[:12]
        source.seek(0)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _read_heif_from_now_on(reference: str) -> None:
    """Teach Pillow HEIC, where the package for it is installed."""
    try:
        import pillow_heif
    except ImportError:
        raise InputError(
            f"{reference}: HEIC photos want one more package.", cure="pip install pillow-heif, or export it as JPEG."
        ) from None
    pillow_heif.register_heif_opener()


def _open_bytes(reference: str) -> io.BytesIO | str:
    if inside := split_reference(reference):
        content = read_inside(*inside)
        empty = not content
    else:
        if "://" in reference:
            raise InputError(
                f"{reference}: photos are not fetched from the net.", cure="Download them first, as img2dataset does."
            )
        if Path(reference).is_dir() and not os.access(reference, os.R_OK | os.X_OK):
            raise InputError(f"{reference}: this folder may not be read.", cure="Check who may read it.")
        if Path(reference).is_dir():
            raise InputError(f"{reference}: is a folder, not a photo.", cure=_CURE)
        empty = Path(reference).is_file() and Path(reference).stat().st_size == 0
    if empty:
        raise InputError(f"{reference}: the file is empty.", cure=_CURE)
    return io.BytesIO(content) if inside else reference


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.width == 0 or image.height == 0:
        raise ValueError("0 pixels")
    if image.mode.startswith("I") or image.mode == "F":
        image = _scale_to_8_bit(image)
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _scale_to_8_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 or more bits: Pillow's own conversion would clip all above 255 to white. NaN becomes black."""
    values = np.asarray(image, dtype=np.float64)
    highest = float(values[np.isfinite(values)].max(initial=0.0))
    full = max(highest, 65535.0 if image.mode.startswith("I") else 1.0)
    return Image.fromarray(np.nan_to_num(values / full * 255).clip(0, 255).round().astype(np.uint8))
