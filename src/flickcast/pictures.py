"""From the bytes of a picture file to a picture, or to the reason why there is none: one judge for every stage."""

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
MOST_PIXELS = 64_000_000
# An encoder scales the short side to its own size: a strip of 1 x 65500 would become gigabytes.
MOST_ELONGATED = 100


@dataclass(frozen=True)
class Picture:
    """A picture in RGB, and the mode it has in its file."""

    rgb: "Image"
    mode: str


def decode(content: bytes) -> Picture | str:
    """The picture, or why it cannot be had, in words that go on after "the picture"; never raises on bad bytes."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return _refusal(*image.size) or _loaded(image)
    except MemoryError:
        raise
    # Broken files make Pillow raise OSError, SyntaxError, ValueError, struct.error, zlib.error, IndexError, ...
    except Exception as error:
        return f"does not decode ({type(error).__name__}: {_without_address(error)})"


def _loaded(image: "Image") -> Picture:
    image.load()
    return Picture(image.convert("RGB"), image.mode)


def _refusal(width: int, height: int) -> str | None:
    if width * height > MOST_PIXELS:
        return f"has {width} x {height} pixels, more than {MOST_PIXELS // 1_000_000} million"
    if max(width, height) > MOST_ELONGATED * min(width, height):
        return f"has {width} x {height} pixels, too thin a strip"
    return None


def _without_address(error: Exception) -> str:
    """Pillow names the buffer's address in memory, which would differ from run to run."""
    return str(error).split(" <_io.BytesIO")[0]
