"""From the bytes of a picture file to a picture, or to the reason why there is none."""

import io

from PIL import Image

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
MOST_PIXELS = 64_000_000
# An encoder scales the short side to its own size: a strip of 1 x 65500 would become gigabytes.
MOST_ELONGATED = 100


def decode(content: bytes) -> Image.Image | str:
    """The picture in RGB, or in words why it cannot be had; never raises on bad bytes."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            return _refusal(*picture.size) or picture.convert("RGB")
    except MemoryError:
        raise
    # Broken files make Pillow raise OSError, SyntaxError, ValueError, struct.error, zlib.error, IndexError, ...
    except Exception as error:
        return f"not a readable picture ({type(error).__name__}: {_without_address(error)})"


def _refusal(width: int, height: int) -> str | None:
    if width * height > MOST_PIXELS:
        return f"{width} x {height} pixels are more than {MOST_PIXELS // 1_000_000} million"
    if max(width, height) > MOST_ELONGATED * min(width, height):
        return f"{width} x {height} pixels are too thin a strip"
    return None


def _without_address(error: Exception) -> str:
    """Pillow names the buffer's address in memory, which would differ from run to run."""
    return str(error).split(" <_io.BytesIO")[0]
