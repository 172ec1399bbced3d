"""Photos: finding them, reading any of them as upright RGB, and preparing them for an image encoder.

A photo is named by a reference: a path, or `shard.tar::member.jpg` for one inside a webdataset shard.
"""

import io
import tarfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from ramkit.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jfif", ".avif"})
MEMBER = "::"
_CURE = "Name a photo that opens in an image viewer."


@dataclass(frozen=True)
class Preprocess:
    """Resize to a square, aspect ratio not kept ("squash"), scale to [0, 1], normalise per channel."""

    size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"  # or bicubic; both antialiased, as PIL does

    def __call__(self, photo: Image.Image) -> torch.Tensor:
        """Pixels [3, size, size] of an RGB photo."""
        resized = photo.resize((self.size, self.size), Image.Resampling[self.interpolation.upper()])
        pixels = torch.from_numpy(np.array(resized, dtype=np.float32)).permute(2, 0, 1) / 255
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return (pixels - mean[:, None, None]) / std[:, None, None]


def find_photos(sources: Iterable[str | Path]) -> list[str]:
    """References to every photo that the sources name: files as given, folders searched in depth, `.tar` shards.

    Raises:
        InputError: a source that does not exist, or a folder or shard without a photo.
    """
    found: list[str] = []
    for source in sources:
        found.extend(_photos_of(str(source)))
    return list(dict.fromkeys(found))


def read_photo(reference: str) -> Image.Image:
    """The photo as upright 8-bit RGB, whatever it was: EXIF rotation applied, transparency on white, CMYK and
    16-bit converted, the first frame of an animation.

    Raises:
        InputError: missing, empty, truncated, or no image at all.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd EXIF and palettes are no matter for a person
            with Image.open(_open_bytes(reference)) as image:
                image.load()
                return _as_rgb(ImageOps.exif_transpose(image))
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{reference}: no such file.", cure="Check the path.") from None
    except Image.DecompressionBombError:
        raise InputError(f"{reference}: larger than {Image.MAX_IMAGE_PIXELS} pixels.", cure="Scale it down.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{reference}: not a readable image ({_first_line(error)}).", cure=_CURE) from None


def _photos_of(source: str) -> Sequence[str]:
    if MEMBER in source:
        return [source]
    path = Path(source)
    if path.is_dir():
        inside = sorted(str(entry) for entry in path.rglob("*") if _is_photo(entry.name) and entry.is_file())
        if not inside:
            raise InputError(f"{path}: no photo in this folder.", cure=f"Known endings: {' '.join(sorted(SUFFIXES))}")
        return inside
    if not path.exists():
        raise InputError(f"{path}: no such file or folder.", cure="Check the path.")
    if path.suffix == ".tar":
        members = [f"{path}{MEMBER}{name}" for name in shard_index(str(path)) if _is_photo(name)]
        if not members:
            raise InputError(f"{path}: no photo in this shard.", cure="Name a webdataset shard with photos.")
        return members
    return [source]


def _is_photo(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not Path(name).name.startswith(".")


@lru_cache(maxsize=256)
def shard_index(shard: str) -> dict[str, tuple[int, int]]:
    """Member name → (offset, size) of a tar shard, so that members can be read in any order.

    Raises:
        InputError: missing, or not a tar file.
    """
    try:
        with tarfile.open(shard, "r:") as archive:
            return {member.name: (member.offset_data, member.size) for member in archive if member.isfile()}
    except FileNotFoundError:
        raise InputError(f"{shard}: no such file.", cure="Check the path.") from None
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{shard}: not a readable tar shard ({_first_line(error)}).", cure="Copy it anew.") from None


def read_member(shard: str, name: str) -> bytes:
    """The bytes of one member of a tar shard; InputError where the shard has none of that name."""
    index = shard_index(shard)
    if name not in index:
        raise InputError(f"{shard}: has no member {name}.", cure="Check the reference.")
    offset, size = index[name]
    with open(shard, "rb") as stream:
        stream.seek(offset)
        return stream.read(size)


def _open_bytes(reference: str) -> io.BytesIO | str:
    shard, separator, member = reference.partition(MEMBER)
    if not separator:
        if Path(reference).is_dir():
            raise InputError(f"{reference}: is a folder, not a photo.", cure=_CURE)
        if Path(reference).is_file() and Path(reference).stat().st_size == 0:
            raise InputError(f"{reference}: the file is empty.", cure=_CURE)
        return reference
    return io.BytesIO(read_member(shard, member))


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
    """Grey of 16 or more bits: Pillow's own conversion would clip all above 255 to white."""
    values = np.asarray(image, dtype=np.float64)
    full = 65535.0 if image.mode.startswith("I") else max(float(values.max(initial=0.0)), 1.0)
    return Image.fromarray((values / full * 255).clip(0, 255).round().astype(np.uint8))


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].removesuffix(".")
