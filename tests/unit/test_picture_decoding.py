"""Pictures that decode, and reasons for those that do not: every kind of file that calls itself a picture."""

import io
import random
import struct
import subprocess
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from flickcast.pictures import Picture, decode

LONGEST_SECONDS = 5.0  # reliability.md R10, as is
MOST_MEMORY = 300_000_000  # bytes above the base
PHOTO_SIZE = (64, 48)


def file(format: str, mode: str = "RGB", size: tuple[int, int] = (8, 6), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color=1).save(buffer, format, **options)
    return buffer.getvalue()


def photo(format: str = "JPEG", mode: str = "RGB", **options: object) -> bytes:
    """A picture with something in it."""
    image = Image.new("RGB", PHOTO_SIZE, (200, 60, 20))
    ImageDraw.Draw(image).ellipse((5, 5, 50, 40), fill=(10, 200, 90))
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return photo(exif=exif)


def several(format: str) -> bytes:
    """Three frames, the first one red."""
    first, *others = (Image.new("RGB", PHOTO_SIZE, color) for color in ("red", "green", "blue"))
    buffer = io.BytesIO()
    first.save(buffer, format, save_all=True, append_images=others)
    return buffer.getvalue()


def transparent_palette() -> bytes:
    image = Image.new("P", PHOTO_SIZE)
    image.putpalette([0, 0, 0, 250, 10, 10] + [0] * 762)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=b"\0\x80" + b"\xff" * 254)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG of a size that its header claims, with whatever follows."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """100 MB of text in 100 kB, before the picture."""
    packed = zlib.compress(b"a" * (100 << 20), 9)
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + b"\1" * 24) * 6))
    return png(8, 6, chunk(b"zTXt", b"comment\0\0" + packed), pixels)


def claiming(width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    content = bytearray(file("JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def with_marker(number: int, body: bytes, times: int = 1) -> bytes:
    content = photo()
    segment = bytes([0xFF, number]) + struct.pack(">H", len(body) + 2) + body
    return content[:2] + segment * times + content[2:]


def many_scans(times: int, size: tuple[int, int] = (4000, 4000)) -> bytes:
    """A progressive JPEG whose last scan, 14 bytes that pass over every pixel, is repeated."""
    content = file("JPEG", "L", size, progressive=True)
    return content[:-2] + content[content.rindex(b"\xff\xda") : -2] * times + content[-2:]


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("1.jpg", photo())
    return buffer.getvalue()


def fits(width: int, height: int) -> bytes:
    cards = ("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", f"NAXIS1  = {width}", f"NAXIS2  = {height}", "END")
    return "".join(card.ljust(80) for card in cards).ljust(2880).encode() + b"\0" * 2880


def damaged(content: bytes, mark: bytes) -> bytes:
    at = content.index(mark) + len(mark) + 2
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


# What an encoder can take, however odd: the size, and the mode in the file.
PICTURES: dict[str, tuple[Callable[[], bytes], tuple[int, int], str]] = {
    "jpeg": (lambda: file("JPEG"), (8, 6), "RGB"),
    "grey jpeg": (lambda: file("JPEG", "L"), (8, 6), "L"),
    "cmyk jpeg": (lambda: file("JPEG", "CMYK"), (8, 6), "CMYK"),
    "progressive jpeg": (lambda: photo(progressive=True), PHOTO_SIZE, "RGB"),
    "png with transparency": (lambda: file("PNG", "RGBA"), (8, 6), "RGBA"),
    "png with a palette": (lambda: file("PNG", "P"), (8, 6), "P"),
    "png with a transparent palette": (transparent_palette, PHOTO_SIZE, "P"),
    "black and white png": (lambda: file("PNG", "1"), (8, 6), "1"),
    "png with 16 bits": (lambda: file("PNG", "I;16"), (8, 6), "I;16"),
    "gif": (lambda: file("GIF", "P"), (8, 6), "P"),
    "animated gif": (lambda: several("GIF"), PHOTO_SIZE, "P"),
    "animated png": (lambda: several("PNG"), PHOTO_SIZE, "RGB"),
    "webp": (lambda: file("WEBP"), (8, 6), "RGB"),
    "animated webp": (lambda: several("WEBP"), PHOTO_SIZE, "RGB"),
    "several pictures in one jpeg": (lambda: several("MPO"), PHOTO_SIZE, "RGB"),
    "one pixel": (lambda: file("JPEG", size=(1, 1)), (1, 1), "RGB"),
    "bad colour profile": (lambda: photo(icc_profile=b"no profile" * 50), PHOTO_SIZE, "RGB"),
    "huge exif": (lambda: with_marker(0xE1, b"Exif\0\0" + b"\xff" * 60_000, 100), PHOTO_SIZE, "RGB"),
    "broken exif": (lambda: with_marker(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"), PHOTO_SIZE, "RGB"),
    "a header of 5,000 x 4,000 over 48 pixels": (lambda: claiming(5_000, 4_000), (5_000, 4_000), "RGB"),
    "many scans over few pixels": (lambda: many_scans(200, (200, 200)), (200, 200), "L"),
    "the largest jpeg, in cmyk and progressive": (
        lambda: file("JPEG", "CMYK", (5_000, 5_000), progressive=True),
        (5_000, 5_000),
        "CMYK",
    ),
    "the largest png": (lambda: file("PNG", "RGBA", (6_000, 6_000), compress_level=1), (6_000, 6_000), "RGBA"),
    "the largest gif": (lambda: file("GIF", "P", (6_000, 6_000)), (6_000, 6_000), "P"),
    "the largest webp": (lambda: file("WEBP", "RGBA", (4_500, 4_000), method=0), (4_500, 4_000), "RGBA"),
    "junk after the end": (lambda: photo() + b"<script>" * 1000, PHOTO_SIZE, "RGB"),
    **{f"exif orientation {n}": (lambda n=n: turned(n), PHOTO_SIZE, "RGB") for n in range(1, 9)},
}


@pytest.mark.parametrize("kind", PICTURES)
def test_every_kind_of_picture_becomes_rgb(kind: str) -> None:
    _, size, mode = PICTURES[kind]
    picture = decode(made(kind))
    assert isinstance(picture, Picture), picture
    assert (picture.rgb.mode, picture.rgb.size, picture.mode) == ("RGB", size, mode)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "MPO"])
def test_of_several_frames_the_first_one_counts(format: str) -> None:
    picture = decode(several(format))
    assert isinstance(picture, Picture)
    red, green, blue = picture.rgb.getpixel((30, 20))
    assert red > 200
    assert max(green, blue) < 60


BROKEN: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a web page": lambda: b"<html>This photo is no longer available</html>",
    "a zip": zipped,
    "a vector drawing": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
    "a tiff": lambda: file("TIFF"),
    "an avif": lambda: photo("AVIF"),
    "a heic": lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200,
    "a fits bomb": lambda: fits(60_000, 60_000),
    "a jpeg 2000": lambda: file("JPEG2000"),
    "a jpeg's first bytes": lambda: file("JPEG")[:20],
    "a jpeg's header only": lambda: photo()[: photo().index(b"\xff\xda")],
    "a jpeg in halves": lambda: photo()[: len(photo()) // 2],
    "a jpeg without its first bytes": lambda: photo()[3:],
    "a damaged png": lambda: file("PNG")[:40] + b"\0" * 20,
    "a png with a broken chunk": lambda: damaged(photo("PNG"), b"IHDR"),
    "a png with broken pixels": lambda: damaged(photo("PNG"), b"IDAT"),
    "a png with a chunk of no known kind": lambda: png(8, 6, chunk(b"\0\xff\0\xff", b"")),
    "a png without pixels": lambda: png(8, 6),
    "a png with a bomb of text": text_bomb,
    "a bomb": lambda: png(60_000, 60_000, chunk(b"IDAT", b"")),
    "a png of no width": lambda: png(0, 6, chunk(b"IDAT", zlib.compress(b""))),
    "a webp's first bytes": lambda: file("WEBP")[:30],
    "a gif's first bytes": lambda: file("GIF", "P")[:15],
    "a header of 20,000 x 20,000": lambda: claiming(20_000, 20_000),
    "a header of 65,500 x 65,500": lambda: claiming(65_500, 65_500),
    "a bomb of scans": lambda: many_scans(10_000),
    "a large jpeg": lambda: file("JPEG", "L", (5_001, 5_000)),
    "a large png": lambda: file("PNG", "1", (6_001, 6_000)),
    "a large gif": lambda: file("GIF", "P", (6_001, 6_000)),
    "a large webp": lambda: file("WEBP", size=(4_501, 4_000), method=0),
    "a thin strip": lambda: file("PNG", "1", (30_000, 1)),
    "a thin column": lambda: file("PNG", "1", (1, 30_000)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_picture_gives_a_reason_that_is_the_same_each_time(kind: str) -> None:
    content = made(kind)
    reason = decode(content)
    assert isinstance(reason, str)
    assert len(reason) > 15
    assert "0x" not in reason
    assert "\n" not in reason
    assert decode(content) == reason


@cache
def made(kind: str) -> bytes:
    """The file of a kind; the large ones are made once for all tests."""
    return BROKEN[kind]() if kind in BROKEN else PICTURES[kind][0]()


def judged(content: bytes) -> str:
    """One word for what became of it, within the time that one picture may take."""
    started = time.monotonic()
    picture = decode(content)
    assert time.monotonic() - started < LONGEST_SECONDS
    return "picture" if isinstance(picture, Picture) else "reason"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_a_file_cut_anywhere_is_refused(format: str) -> None:
    whole = photo(format)
    pixels = len(whole) - (16 if format == "PNG" else 0)  # a PNG ends with two checks that hold no pixels
    cuts = [pixels * part // 26 for part in range(1, 26)]
    assert {judged(whole[:cut]) for cut in cuts} == {"reason"}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_spoiled_bytes_never_raise_or_hang(format: str) -> None:
    whole, dice = photo(format), random.Random(format)
    for _ in range(125):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 20)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        assert judged(bytes(content)) in ("picture", "reason")


# In a process of its own, since a process remembers its peak only: the peak above that of one ordinary picture.
MEMORY_OF_A_KIND = """
import resource, sys
import test_picture_decoding as kinds

content = sys.stdin.buffer.read()
kinds.decode(kinds.photo())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kinds.judged(content)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
HEAVY = ["a bomb of scans", "a png with a bomb of text", "a header of 65,500 x 65,500", "a fits bomb"]
HEAVY += [kind for kind in PICTURES if kind.startswith(("the largest", "a header", "huge"))]


@pytest.mark.parametrize("kind", HEAVY)
def test_no_kind_of_picture_takes_more_time_or_memory_than_a_stage_can_spare(kind: str) -> None:
    command = [sys.executable, "-c", MEMORY_OF_A_KIND]
    done = subprocess.run(command, cwd=Path(__file__).parent, input=made(kind), check=True, stdout=subprocess.PIPE)
    assert int(done.stdout) * 1024 < MOST_MEMORY


@pytest.mark.parametrize("kind", ["png with a transparent palette", "broken exif", "the largest png"])
def test_what_pillow_warns_of_is_not_said_on_the_side(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert judged(made(kind)) == "picture"
