"""Make the canaries and the packaged encoder's vectors of them: `python scripts/make_canaries.py [--pictures]`.

The vectors follow from the weights: run it after scripts/train_tiny_clip.py. The pictures stay as they are, or every
workspace would have to make its references anew.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from flickcast.embeddings import canary
from flickcast.embeddings.encoders import choice_of, load_encoder
from flickcast.params import EmbedParams

FOLDER = Path(canary.__file__).parent / "canaries"
TEXTS = (
    "The title of the image is Old mill and the tags are river, mill, autumn",
    "The title of the image is  and the tags are ",
    "The title of the image is 東京の夜 ☔ and the tags are tokyo, street, night",
    "The title of the image is Sunset at the lake, with the mountains behind it and a boat and the tags are sunset",
    "The title of the image is DSC_0042 and the tags are nikon, d90, portrait, my cat",
)
SIZES = ((500, 375), (375, 500), (224, 224), (1000, 300), (97, 131))


def picture(number: int) -> bytes:
    """Soft light, some shapes and a little grain; some are large, so that reduced decoding is proved, too."""
    width, height = SIZES[number]
    rng = np.random.default_rng(number)
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    light = np.stack([np.sin(rng.uniform(1, 9) * x + rng.uniform(1, 9) * y + one) for one in range(3)], axis=2)
    grain = rng.normal(0, 6, (height, width, 1))
    drawn = Image.fromarray((127 + 90 * light + grain).clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(drawn)
    for _ in range(4):
        left, top = rng.uniform(0, 0.7, 2) * (width, height)
        box = (left, top, left + 0.3 * width, top + 0.3 * height)
        colour = tuple(rng.integers(0, 255, 3).tolist())
        pen.ellipse(box, fill=colour) if rng.random() < 0.5 else pen.rectangle(box, fill=colour)
    if number == 2:
        drawn = drawn.convert("L")
    buffer = io.BytesIO()
    drawn.save(buffer, "JPEG", quality=60, progressive=number == 1)
    return buffer.getvalue()


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", action="store_true", help="also make the pictures and texts anew")
    if parser.parse_args().pictures:
        for number in range(len(SIZES)):
            (FOLDER / f"{number}.jpg").write_bytes(picture(number))
        (FOLDER / "texts.json").write_text(json.dumps(TEXTS, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    params = EmbedParams(encoder="flickcast-tiny", pretrained=None)
    for name in params.pair:
        encoder = load_encoder(name, params)
        path = FOLDER / f"{name}.json"
        canary.write(path, encoder, choice_of(name, params), canary._vectors(encoder))


if __name__ == "__main__":
    main()
