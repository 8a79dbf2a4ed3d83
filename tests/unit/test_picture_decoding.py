"""Pictures that decode, and reasons for those that do not."""

import io
import struct
import zlib

import pytest
from PIL import Image

from flickcast.pictures import Picture, decode


def file(format: str, mode: str = "RGB", size: tuple[int, int] = (8, 6)) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color=1).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("GIF", "P"),
        ("WEBP", "RGB"),
    ],
)
def test_every_format_and_mode_becomes_rgb(format: str, mode: str) -> None:
    picture = decode(file(format, mode))
    assert isinstance(picture, Picture)
    assert (picture.rgb.mode, picture.rgb.size, picture.mode) == ("RGB", (8, 6), mode)


BROKEN = {
    "nothing": b"",
    "a web page": b"<html>This photo is no longer available</html>",
    "a truncated jpeg": file("JPEG", size=(200, 200))[:400],
    "a jpeg's first bytes": file("JPEG")[:20],
    "a damaged png": file("PNG")[:40] + b"\0" * 20,
    "a format we do not read": file("TIFF"),
    "a bomb": b"\x89PNG\r\n\x1a\n"
    + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)), (b"IDAT", b""))
    ),
    "a large picture": file("PNG", "1", (9000, 9000)),
    "a thin strip": file("PNG", "1", (3000, 1)),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_broken_picture_gives_a_reason_that_is_the_same_each_time(content: bytes) -> None:
    reason = decode(content)
    assert isinstance(reason, str)
    assert len(reason) > 15
    assert "0x" not in reason
    assert decode(content) == reason
