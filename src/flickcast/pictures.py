"""From the bytes of a picture file to a picture, or to the reason why there is none: one judge for every stage."""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from PIL.Image import Image

# By format, so that none takes more than 300 MB: Pillow's decoders hold up to 12, 8, 8 and 16 bytes a pixel (measured
# with Pillow 13.0; for JPEG that is a progressive one in CMYK).
MOST_PIXELS = {"JPEG": 25_000_000, "PNG": 36_000_000, "GIF": 36_000_000, "WEBP": 18_000_000}
FORMATS = tuple(MOST_PIXELS)
JPEGS = ("JPEG", "MPO")  # MPO: several JPEGs, of which the first one counts
# Every scan of a JPEG passes over all pixels and may be 14 bytes long: a file of 64 MiB could take hours. Usual are 10.
MOST_SCANNED = 64 * MOST_PIXELS["JPEG"]
SCAN = b"\xff\xda"
# An encoder scales the short side to its own size: a strip of 1 x 65500 would become gigabytes.
MOST_ELONGATED = 100
Found = TypeVar("Found")


@dataclass(frozen=True)
class Picture:
    """A picture in RGB, and the mode it has in its file."""

    rgb: "Image"
    mode: str


def decode(content: bytes, shortest_edge: int | None = None) -> Picture | str:
    """The picture, or why it cannot be had, in words that go on after "the picture"; never raises on bad bytes.

    With `shortest_edge`, a JPEG is decoded at the smallest of its scales (1, 1/2, 1/4, 1/8) that keeps the shorter side
    at least so long: the decoder then never makes the pixels that are left out.
    """
    return _opened(content, lambda image: _refusal(image, content) or _loaded(image, shortest_edge))


def size(content: bytes) -> tuple[int, int] | str:
    """Width and height in pixels as the file's header tells them, or why it tells none; the rest is not looked at."""
    return _opened(content, lambda image: image.size)


def _opened(content: bytes, use: "Callable[[Image], Found | str]") -> "Found | str":
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes that our own limit refuses
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return use(image)
    except MemoryError:
        raise
    # Broken files make Pillow raise OSError, SyntaxError, ValueError, struct.error, zlib.error, IndexError, ...
    except Exception as error:
        return f"does not decode ({type(error).__name__}: {_without_address(error)})"


def _loaded(image: "Image", shortest_edge: int | None) -> Picture:
    if shortest_edge is not None and image.format in JPEGS:
        image.draft(None, (shortest_edge, shortest_edge))
    image.load()
    return Picture(image.convert("RGB"), image.mode)


def _refusal(image: "Image", content: bytes) -> str | None:
    width, height = image.size
    kind = "JPEG" if image.format in JPEGS else str(image.format)
    if width * height > MOST_PIXELS[kind]:
        return f"has {width} x {height} pixels, more than {MOST_PIXELS[kind] // 1_000_000} million"
    if max(width, height) > MOST_ELONGATED * min(width, height):
        return f"has {width} x {height} pixels, too thin a strip"
    if kind == "JPEG" and (scans := content.count(SCAN)) * width * height > MOST_SCANNED:
        return f"has {scans} scans over {width} x {height} pixels, more than a picture needs"
    return None


def _without_address(error: Exception) -> str:
    """Pillow names the buffer's address in memory, which would differ from run to run."""
    return str(error).split(" <_io.BytesIO")[0]
