"""Photos of any kind: found, read as upright RGB, and prepared for an encoder. All images are made here."""

import io
import os
import struct
import sys
import tarfile
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from ramkit import photos
from ramkit.errors import InputError
from ramkit.photos import Preprocess, find_photos, read_photo
from ramkit.references import read_member, shard_index

Image.init()
AVIF = ["AVIF"] if "AVIF" in Image.SAVE else []  # Pillow writes it since 11.3
RED, WHITE = (255, 0, 0), (255, 255, 255)
CURE = "Name a photo that opens in an image viewer."


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(width: int = 40, height: int = 30) -> Image.Image:
    """Noise, so that compressed files are long enough to be cut."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png_header(width: int, height: int, *, bits: int = 8, colour: int = 0) -> bytes:
    """A PNG that says its size and then has no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def gif_header(width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + frame + b"\x3b"


def bmp_header(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, bytes], str]:
    def put(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    return put


@pytest.fixture
def shard(tmp_path: Path) -> Callable[..., str]:
    def make(members: dict[str, bytes], name: str = "shard.tar") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as archive:
            for member, content in members.items():
                entry = tarfile.TarInfo(member)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return str(path)

    return make


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


# ---- kinds that are read

HALF = Image.new("RGBA", (4, 4), (255, 0, 0, 0))  # left half of opaque red, right half transparent
HALF.paste((255, 0, 0, 255), (0, 0, 2, 4))
GREY = Image.new("LA", (4, 4), (0, 0))  # the same in black
GREY.paste((0, 255), (0, 0, 2, 4))


def palette_with_transparency() -> bytes:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 2, 4))
    return encoded(image, "PNG", transparency=1)


def palette_with_partial_transparency() -> bytes:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 2, 4))
    return encoded(image, "PNG", transparency=b"\xff\x00")


def colour_as_transparency() -> bytes:
    image = Image.new("RGB", (4, 4), (0, 0, 255))
    image.paste(RED, (0, 0, 2, 4))
    return encoded(image, "PNG", transparency=(0, 0, 255))


@pytest.mark.parametrize(
    ("name", "content", "left"),
    [
        ("rgba.png", encoded(HALF, "PNG"), RED),
        ("rgba.webp", encoded(HALF, "WEBP", lossless=True), RED),
        ("rgba.tif", encoded(HALF, "TIFF"), RED),
        ("la.png", encoded(GREY, "PNG"), (0, 0, 0)),
        ("palette.png", palette_with_transparency(), RED),
        ("palette-bytes.png", palette_with_partial_transparency(), RED),
        ("colour.png", colour_as_transparency(), RED),
        ("palette.gif", encoded(HALF, "GIF"), RED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_transparency_lies_on_white(
    put: Callable[[str, bytes], str], name: str, content: bytes, left: tuple[int, int, int]
) -> None:
    photo = read_photo(put(name, content))
    assert photo.mode == "RGB"
    assert photo.getpixel((0, 0)) == left
    assert photo.getpixel((3, 3)) == WHITE


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rgb.png", encoded(Image.new("RGB", (6, 4), RED), "PNG")),
        ("rgb.bmp", encoded(Image.new("RGB", (6, 4), RED), "BMP")),
        ("rgb.webp", encoded(Image.new("RGB", (6, 4), RED), "WEBP", lossless=True)),
        ("rgb.tif", encoded(Image.new("RGB", (6, 4), RED), "TIFF", compression="tiff_lzw")),
        ("palette.png", encoded(Image.new("RGB", (6, 4), RED).quantize(4), "PNG")),
        ("rgb.jpg", encoded(Image.new("RGB", (6, 4), RED), "JPEG", quality=100)),
        ("cmyk.jpg", encoded(Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "JPEG", quality=100)),
        ("cmyk.tif", encoded(Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "TIFF")),
        ("no-ending", encoded(Image.new("RGB", (6, 4), RED), "PNG")),
        ("wrong-ending.jpg", encoded(Image.new("RGB", (6, 4), RED), "PNG")),
        ("犬 né.png", encoded(Image.new("RGB", (6, 4), RED), "PNG")),
        ("a::b.png", encoded(Image.new("RGB", (6, 4), RED), "PNG")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_red_is_red_in_every_format(put: Callable[[str, bytes], str], name: str, content: bytes) -> None:
    photo = read_photo(put(name, content))
    assert (photo.mode, photo.size) == ("RGB", (6, 4))
    assert np.abs(pixels(photo).astype(int) - RED).max() <= 2


def test_one_bit_is_black_and_white(put: Callable[[str, bytes], str]) -> None:
    image = Image.new("1", (4, 4), 0)
    image.putpixel((2, 1), 1)
    photo = read_photo(put("bit.png", encoded(image, "PNG")))
    assert photo.getpixel((2, 1)) == WHITE
    assert pixels(photo).sum() == 3 * 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_16_bit_gradient_is_kept_not_clipped(put: Callable[[str, bytes], str], kind: str) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    photo = read_photo(put("grey", encoded(Image.fromarray(ramp), kind)))
    expected = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(pixels(photo), np.stack([expected] * 3, axis=-1))


def test_a_16_bit_tiff_in_the_other_byte_order_is_the_same(put: Callable[[str, bytes], str]) -> None:
    samples = struct.pack(">4H", 0, 21845, 43690, 65535)
    tags = [(256, 3, 4), (257, 3, 1), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (279, 4, 8)]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1)
        + struct.pack(">HH" if kind == 3 else ">I", *([value, 0] if kind == 3 else [value]))
        for tag, kind, value in tags
    )
    content = b"MM\x00*" + struct.pack(">I", 16) + samples + struct.pack(">H", len(tags)) + entries + bytes(4)
    assert pixels(read_photo(put("big-endian.tif", content)))[0, :, 0].tolist() == [0, 85, 170, 255]


def test_32_bit_grey_beyond_16_bits_is_scaled_to_its_brightest(put: Callable[[str, bytes], str]) -> None:
    values = np.array([[0, 1_000_000, 2_000_000, -5]], dtype=np.int32)
    photo = read_photo(put("deep.tif", encoded(Image.fromarray(values), "TIFF")))
    assert pixels(photo)[0, :, 0].tolist() == [0, 128, 255, 0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.2, 0.6, 1.0], [0, 51, 153, 255]),
        ([0.0, 0.1, 0.2, 0.4], [0, 26, 51, 102]),
        ([0.0, 51.0, 153.0, 255.0], [0, 51, 153, 255]),
        ([np.nan, 0.2, 1.0, -3.0], [0, 51, 255, 0]),
        ([np.inf, 0.2, 1.0, -np.inf], [255, 51, 255, 0]),
        ([np.nan, np.nan, np.nan, np.nan], [0, 0, 0, 0]),
        ([0.0, 1e38, 2e38, 3e38], [0, 85, 170, 255]),
    ],
    ids=["unit", "dark", "bytes", "NaN", "infinite", "nothing but NaN", "huge"],
)
def test_a_float_tiff_is_scaled(put: Callable[[str, bytes], str], values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    photo = read_photo(put("float.tif", encoded(image, "TIFF")))
    assert pixels(photo)[0, :, 0].tolist() == expected


@pytest.mark.parametrize(("name", "kind"), [("moving.gif", "GIF"), ("moving.webp", "WEBP"), ("moving.png", "PNG")])
def test_of_an_animation_the_first_frame_is_read(put: Callable[[str, bytes], str], name: str, kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert read_photo(put(name, content)).getpixel((0, 0)) == RED


# How a person who looks at the stored pixels has to turn them, EXIF 2.32, tag 274: stored row 0, column 0 is visually …
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,  # top, left
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.transpose(1, 0, 2),  # left, top
    6: lambda stored: stored.transpose(1, 0, 2)[:, ::-1],  # right, top
    7: lambda stored: stored.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
    8: lambda stored: stored.transpose(1, 0, 2)[::-1],  # left, bottom
}
# … so that the marked corner, stored at the top left, is seen at (row, column) of the upright photo.
CORNER = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(put: Callable[[str, bytes], str], orientation: int, kind: str) -> None:
    stored = pixels(noise(16, 8)).copy()
    stored[0, 0] = RED
    exif = Image.Exif()
    exif[274] = orientation
    options: dict[str, Any] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    photo = pixels(read_photo(put("turned", encoded(Image.fromarray(stored), kind, exif=exif, **options)))).astype(int)
    assert photo.shape == ((8, 16, 3) if orientation < 5 else (16, 8, 3))
    expected = UPRIGHT[orientation](stored)
    assert np.abs(photo - expected).max() <= (12 if kind == "JPEG" else 0)
    assert np.abs(photo[CORNER[orientation]] - RED).max() <= 12


def test_16_bit_grey_is_turned_too(put: Callable[[str, bytes], str]) -> None:
    exif = Image.Exif()
    exif[274] = 6
    content = encoded(Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)), "PNG", exif=exif)
    assert pixels(read_photo(put("turned.png", content)))[:, :, 0].tolist() == [[0], [255]]


@pytest.mark.parametrize("exif", [b"Exif\x00\x00nonsense", b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00"])
def test_broken_exif_does_not_keep_a_photo_from_being_read(put: Callable[[str, bytes], str], exif: bytes) -> None:
    assert read_photo(put("odd.jpg", encoded(noise(), "JPEG", exif=exif))).size == (40, 30)


# ---- what cannot be read

JPEG, PNG = encoded(noise(), "JPEG"), encoded(noise(), "PNG")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("empty.jpg", b"", "the file is empty."),
        ("text.jpg", b"not a photo at all\n", "not an image, or one of no pixels, or damaged."),
        ("page.png", b"<!DOCTYPE html><html></html>", "not an image, or one of no pixels, or damaged."),
        ("cut.jpg", JPEG[: len(JPEG) // 2], "not a readable image ("),
        ("cut-at-the-end.jpg", JPEG[:-40], "not a readable image ("),
        ("cut-in-the-header.jpg", JPEG[:20], "not "),
        ("cut.png", PNG[: len(PNG) // 2], "not a readable image ("),
        ("cut-in-the-header.png", PNG[:20], "not "),
        ("cut.webp", encoded(noise(), "WEBP")[:300], "not "),
        ("cut.tif", encoded(noise(), "TIFF")[:300], "not "),
        ("cut.bmp", encoded(noise(), "BMP")[:300], "not a readable image ("),
        *(("cut.avif", encoded(noise(), kind)[:300], "not ") for kind in AVIF),
        ("zero.png", png_header(0, 0), "not an image, or one of no pixels, or damaged."),
        ("zero-wide.png", png_header(0, 5), "not an image, or one of no pixels, or damaged."),
        ("zero.gif", gif_header(0, 0), "not an image, or one of no pixels, or damaged."),
        ("zero-wide.gif", gif_header(0, 5), "not "),
        ("zero.bmp", bmp_header(0, 0), "not "),
        ("zero-wide.bmp", bmp_header(0, 5), "not "),
        ("no-pixels.png", png_header(5, 5), "not a readable image ("),
        ("unknown.dds", b"DDS " + struct.pack("<I", 124) + bytes(68) + struct.pack("<II", 32, 128) + bytes(48), "not "),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value[-6:] else "",
)
def test_what_is_no_photo_is_refused_in_one_line_that_names_it(
    put: Callable[[str, bytes], str], name: str, content: bytes, what: str
) -> None:
    reference = put(name, content)
    with pytest.raises(InputError) as caught:
        read_photo(reference)
    assert caught.value.what.startswith(f"{reference}: {what}")
    assert caught.value.cure == CURE
    assert "\n" not in str(caught.value)
    assert " object at 0x" not in str(caught.value)


def test_a_missing_photo_is_refused(tmp_path: Path) -> None:
    for reference in (tmp_path / "none.jpg", tmp_path / "none" / "none.jpg"):
        with pytest.raises(InputError, match=r"none\.jpg: no such file\. Check the path\."):
            read_photo(str(reference))


def test_a_folder_is_no_photo(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r": is a folder, not a photo\. Name a photo"):
        read_photo(str(tmp_path))


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "a\0b.jpg"])
def test_a_name_no_file_can_have_is_refused(name: str) -> None:
    for action in (read_photo, lambda name: find_photos([name])):
        with pytest.raises(InputError):
            action(name)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_photo_without_permission_is_refused(put: Callable[[str, bytes], str]) -> None:
    reference = put("private.png", PNG)
    os.chmod(reference, 0)
    with pytest.raises(InputError, match=r"private\.png: not a readable image \(.*Permission denied"):
        read_photo(reference)


def test_permission_denied_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(photos.Image, "open", deny)
    with pytest.raises(InputError, match=r"^private\.png: not a readable image \(\[Errno 13\] Permission denied\)\."):
        read_photo("private.png")


def test_random_damage_is_refused_or_read_never_a_crash(put: Callable[[str, bytes], str]) -> None:
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif[274], exif[270] = 6, "a title"
    kinds: dict[str, dict[str, Any]] = {kind: {} for kind in ("GIF", "BMP", *AVIF)}
    kinds |= {kind: {"exif": exif} for kind in ("JPEG", "PNG", "WEBP")}
    outcomes = set()
    for kind, options in kinds.items():
        whole = np.frombuffer(encoded(noise(), kind, **options), dtype=np.uint8)
        for _ in range(40):
            damaged = whole.copy()
            damaged[random.integers(0, min(len(whole), 200), size=4)] = random.integers(0, 256, size=4)
            try:
                outcomes.add(read_photo(put("damaged", damaged.tobytes())).mode)
            except InputError as error:
                outcomes.add("two lines" if "\n" in str(error) else "refused")
    assert outcomes == {"RGB", "refused"}


# ---- size


def test_a_large_photo_is_read_without_a_warning_and_a_huge_one_refused(
    put: Callable[[str, bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = put("large.png", encoded(noise(20, 10), "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)  # Pillow warns above it and refuses above twice that
    assert read_photo(reference).size == (20, 10)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 99)
    with pytest.raises(InputError, match=r"large\.png: larger than 198 pixels\. Scale it down\."):
        read_photo(reference)


def test_a_header_that_promises_huge_dimensions_is_refused_at_once(put: Callable[[str, bytes], str]) -> None:
    with pytest.raises(InputError, match=r"bomb\.png: larger than \d+ pixels\. Scale it down\."):
        read_photo(put("bomb.png", png_header(2**31 - 1, 2**31 - 1)))
    with pytest.raises(InputError, match=r"almost\.png: not a readable image"):
        read_photo(put("almost.png", png_header(12_000, 10_000, bits=1)))


def test_warning_filters_are_as_before_even_when_threads_read_at_once(put: Callable[[str, bytes], str]) -> None:
    good, bad = put("good.png", PNG), put("bad.png", PNG[:100])
    before = list(warnings.filters)

    def read_many() -> None:
        for _ in range(10):
            read_photo(good)
            with pytest.raises(InputError):
                read_photo(bad)

    threads = [threading.Thread(target=read_many) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_a_photo_is_read_in_silence_after_one_begun_before_it_is_done(
    put: Callable[[str, bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = put("first.png", PNG), put("second.png", PNG)
    opened = photos.Image.open
    first_begun, second_begun, first_done = (threading.Event() for _ in range(3))
    heard: list[str] = []

    def open_in_turn(reference: str) -> Image.Image:
        if reference == first:
            first_begun.set()
            second_begun.wait(timeout=10)
        else:
            second_begun.set()
            first_done.wait(timeout=10)
            warnings.warn("an odd palette", UserWarning, stacklevel=1)
        return opened(reference)

    def read(reference: str) -> None:
        try:
            read_photo(reference)
        except Exception as error:  # where it is heard, the filters of this test run make it an error
            heard.append(str(error))

    monkeypatch.setattr(photos.Image, "open", open_in_turn)
    threads = [threading.Thread(target=read, args=[reference]) for reference in (first, second)]
    threads[0].start()
    assert first_begun.wait(timeout=10)
    threads[1].start()
    threads[0].join()
    first_done.set()
    threads[1].join()
    assert heard == []


# ---- shards


def test_a_member_of_a_shard_is_read(shard: Callable[..., str], put: Callable[[str, bytes], str]) -> None:
    path = shard({"0001.txt": b"a dog", "0001.png": PNG, "deep/né.png": encoded(Image.new("RGB", (3, 2), RED), "PNG")})
    assert read_member(path, "0001.txt") == b"a dog"
    assert pixels(read_photo(f"{path}::0001.png")).tolist() == pixels(noise()).tolist()
    assert read_photo(f"{path}::deep/né.png").size == (3, 2)
    assert list(shard_index(path)) == ["0001.txt", "0001.png", "deep/né.png"]


@pytest.mark.parametrize("name", ["a::b/shard.tar", "SHARD.TAR", "line\nend.tar"])
def test_a_shard_may_have_an_odd_name_and_so_may_its_members(shard: Callable[..., str], name: str) -> None:
    path = shard({"x::y.tar::z.png": PNG}, name)
    assert find_photos([path]) == [f"{path}::x::y.tar::z.png"]
    assert read_photo(f"{path}::x::y.tar::z.png").size == (40, 30)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("nothing.jpg", ": has no member nothing.jpg. Check the reference."),
        ("empty.jpg", "::empty.jpg: the file is empty."),
        ("text.jpg", "::text.jpg: not an image, or one of no pixels, or damaged."),
        ("cut.jpg", "::cut.jpg: not a readable image ("),
    ],
)
def test_a_bad_member_is_named(shard: Callable[..., str], member: str, message: str) -> None:
    path = shard({"empty.jpg": b"", "text.jpg": b"hello", "cut.jpg": JPEG[:500]})
    with pytest.raises(InputError) as caught:
        read_photo(f"{path}::{member}")
    assert str(caught.value).startswith(path + message)
    assert " object at 0x" not in str(caught.value)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tar: no such file\. Check the path\."):
        read_photo(f"{tmp_path}/none.tar::a.jpg")


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\x00" * 100, b"x" * 2000])
def test_what_is_no_shard_is_refused(put: Callable[[str, bytes], str], content: bytes) -> None:
    path = put("bad.tar", content)
    for action in (lambda: read_photo(f"{path}::a.jpg"), lambda: find_photos([path])):
        with pytest.raises(InputError, match=r"bad\.tar: not a readable tar shard \(.*\)\. Copy it anew\."):
            action()


def test_a_shard_that_was_cut_is_refused(shard: Callable[..., str], put: Callable[[str, bytes], str]) -> None:
    whole = Path(shard({"a.png": PNG, "b.png": PNG})).read_bytes()
    with pytest.raises(InputError, match=r"cut\.tar: not a readable tar shard \(unexpected end of data\)"):
        find_photos([put("cut.tar", whole[: 512 + len(PNG) // 2])])


# ---- finding


def test_folders_are_searched_in_depth_and_in_order(put: Callable[[str, bytes], str], tmp_path: Path) -> None:
    for name in (
        "b.jpg",
        "a.PNG",
        "inner/deep/c.webp",
        "notes.txt",
        "photo",
        "d.tar",
        "x.jpg/inside.jpeg",
        "ø 犬.jfif",
    ):
        put(name, b"")
    found = [Path(reference).relative_to(tmp_path).as_posix() for reference in find_photos([tmp_path])]
    assert found == ["a.PNG", "b.jpg", "inner/deep/c.webp", "x.jpg/inside.jpeg", "ø 犬.jfif"]


def test_what_is_hidden_is_passed_over(put: Callable[[str, bytes], str], tmp_path: Path) -> None:
    for name in (".folder/a.jpg", ".folder/.hidden.jpg", ".folder/.thumbs/b.jpg", ".folder/inner/._c.jpg"):
        put(name, b"")
    assert find_photos([tmp_path / ".folder"]) == [str(tmp_path / ".folder" / "a.jpg")], "the source itself may be"


def test_a_file_is_taken_as_given_whatever_its_ending(
    put: Callable[[str, bytes], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(".photo", b"")
    monkeypatch.chdir(tmp_path)
    assert find_photos(["./.photo"]) == ["./.photo"]


def test_sources_keep_their_order_and_a_photo_comes_once(
    put: Callable[[str, bytes], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "b.jpg"):
        put(name, b"")
    monkeypatch.chdir(tmp_path)
    assert find_photos(["b.jpg", ".", "./a.jpg", str(tmp_path), "b.jpg"]) == ["b.jpg", "a.jpg"]


def test_a_shard_gives_its_photos(shard: Callable[..., str]) -> None:
    path = shard({"2.jpg": b"", "2.json": b"", "1.PNG": b"", "._3.jpg": b"", ".x/4.jpg": b"", "./5.jpg": b""})
    assert find_photos([path]) == [f"{path}::2.jpg", f"{path}::1.PNG", f"{path}::./5.jpg"]
    assert find_photos([f"{path}::2.jpg", path])[:2] == [f"{path}::2.jpg", f"{path}::1.PNG"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.jpg", r"none\.jpg: no such file or folder\. Check the path\."),
        ("notes.txt/a.jpg", r"a\.jpg: no such file or folder\. Check the path\."),
        ("empty", r"empty: no photo in this folder\. Known endings: \.avif \.bmp "),
        ("words.tar", r"words\.tar: no photo in this shard\. Name a webdataset shard with photos\."),
        ("words.parquet", r"words\.parquet: no column of photos, or no row\. Name a Parquet file that holds photos\."),
        ("damaged.parquet", r"damaged\.parquet: not a readable Parquet file \(.*\)\. Copy it anew\."),
        ("endless.jpg", r"endless\.jpg: cannot be opened \(.*\)\. Check the path\."),
    ],
)
def test_a_source_without_photos_is_refused(
    put: Callable[[str, bytes], str], shard: Callable[..., str], tmp_path: Path, source: str, message: str
) -> None:
    put("notes.txt", b"")
    put("empty/notes.txt", b"")
    shard({"a.txt": b""}, "words.tar")
    pyarrow.parquet.write_table(pyarrow.table({"caption": ["a"]}), tmp_path / "words.parquet")
    put("damaged.parquet", b"no such thing")
    (tmp_path / "endless.jpg").symlink_to("endless.jpg")
    with pytest.raises(InputError, match=message):
        find_photos([tmp_path / source])


def test_links_that_lead_round_in_circles_are_no_trap(put: Callable[[str, bytes], str], tmp_path: Path) -> None:
    put("photos/a.jpg", b"")
    (tmp_path / "photos" / "round").symlink_to(tmp_path / "photos", target_is_directory=True)
    (tmp_path / "photos" / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "photos" / "nowhere.jpg").symlink_to("none.jpg")
    assert find_photos([tmp_path / "photos"]) == [str(tmp_path / "photos" / "a.jpg")]


def test_a_folder_of_shards_is_searched_where_a_person_names_it(
    put: Callable[[str, bytes], str], shard: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "shards" / "more").mkdir(parents=True)
    first, second = shard({"2.jpg": b"", "1.png": b""}, "shards/b.tar"), shard({"a.jpg": b""}, "shards/more/a.tar")
    put("shards/.c.tar", b"hidden")
    row = pyarrow.table({"photo": [encoded(noise(), "PNG")]})
    pyarrow.parquet.write_table(row, tmp_path / "shards" / "z.parquet")
    found = [f"{first}::2.jpg", f"{first}::1.png", f"{second}::a.jpg", f"{tmp_path / 'shards' / 'z.parquet'}::photo/0"]
    assert find_photos([tmp_path / "shards"], as_typed=True) == found
    with pytest.raises(InputError, match="no photo in this folder"):
        find_photos([tmp_path / "shards"])
    put("shards/photo.jpg", b"")
    assert find_photos([tmp_path / "shards"], as_typed=True) == [str(tmp_path / "shards" / "photo.jpg")]


def test_a_folder_that_may_not_be_read_is_told(
    put: Callable[[str, bytes], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("photos/a.jpg", b"")
    put("photos/mine/b.jpg", b"")
    put("photos/.mine/c.jpg", b"")
    shut = str(tmp_path / "photos" / "mine")
    scandir, access = os.scandir, os.access

    def refuse(path: Any = ".") -> Any:  # who runs tests as root may read all
        if os.fspath(path).endswith("mine"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: path != shut and access(path, mode))
    assert find_photos([tmp_path / "photos"], as_typed=True) == [str(tmp_path / "photos" / "a.jpg"), shut]
    message = r"photos.mine: this folder may not be read\. Check who may read it\."
    with pytest.raises(InputError, match=message):
        read_photo(shut)
    with pytest.raises(InputError, match=message):
        find_photos([tmp_path / "photos"])


# ---- HEIC


def test_what_iphones_write_is_read_where_its_package_is_installed(
    put: Callable[[str, bytes], str], shard: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pillow_heif

    stream = io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = 6  # to be turned by a quarter
    left_red = Image.new("RGB", (64, 32), "white")
    left_red.paste("red", (0, 0, 32, 32))
    pillow_heif.from_pillow(left_red).save(stream, exif=tags.tobytes(), quality=100)
    path, inside = put("IMG_1.HEIC", stream.getvalue()), f"{shard({'a.heic': stream.getvalue()})}::a.heic"
    assert find_photos([Path(path).parent]) == [path]
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])  # as if nobody had read one yet
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for reference in (path, inside):
        with pytest.raises(InputError) as caught:
            read_photo(reference)
        told = f"{reference}: HEIC photos want one more package. pip install pillow-heif, or export it as JPEG."
        assert str(caught.value) == told
    monkeypatch.setitem(sys.modules, "pillow_heif", pillow_heif)
    for reference in (path, inside):
        photo = read_photo(reference)
        assert photo.size == (32, 64)
        top, bottom = photo.getpixel((16, 8)), photo.getpixel((16, 56))
        assert abs(np.array(top) - RED).max() < 30
        assert abs(np.array(bottom) - WHITE).max() < 30
    with pytest.raises(InputError, match="not a"):
        read_photo(put("cut.heic", stream.getvalue()[:200]))


# ---- preprocessing


def slowly(photo: Image.Image, prepare: Preprocess) -> np.ndarray:
    """Each pixel of each channel by itself."""
    small = photo.resize((prepare.size, prepare.size), getattr(Image.Resampling, prepare.interpolation.upper()))
    out = np.empty((3, prepare.size, prepare.size))
    for row in range(prepare.size):
        for column in range(prepare.size):
            for channel in range(3):
                value = small.getpixel((column, row))[channel] / 255
                out[channel, row, column] = (value - prepare.mean[channel]) / prepare.std[channel]
    return out


@pytest.mark.parametrize(
    "prepare",
    [
        Preprocess(size=12),
        Preprocess(size=7, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3), interpolation="bicubic"),
    ],
)
def test_preprocessing_equals_the_slow_version(prepare: Preprocess) -> None:
    tensor = prepare(noise(30, 20))
    assert tensor.shape == (3, prepare.size, prepare.size)
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor.numpy(), slowly(noise(30, 20), prepare), rtol=0, atol=1e-5)


def test_preprocessing_squashes_and_does_not_crop() -> None:
    wide = Image.new("RGB", (40, 10), "black")
    wide.paste("white", (0, 0, 10, 10))  # the leftmost quarter
    tensor = Preprocess(size=8, mean=(0, 0, 0), std=(1, 1, 1))(wide)
    assert (tensor[:, :, 0] == 1).all()
    assert (tensor[:, :, 3:] == 0).all()
    assert tensor[0, 0, :3].mean() == pytest.approx(2 / 3, abs=0.1)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_preprocessing_takes_the_most_slender_photo(size: tuple[int, int]) -> None:
    assert torch.isfinite(Preprocess(size=8)(Image.new("RGB", size, RED))).all()
