"""open_clip's preprocessing, resized as bytes: what the library's own gives, within one step of 256."""

import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image

from flickcast.embeddings.open_clip import MOST_AS_BYTES, _parts

WIDE, LARGE = (100, 2500), (1250, 2000)


def test_a_large_picture_is_not_resized_as_bytes() -> None:
    assert LARGE[0] * LARGE[1] > MOST_AS_BYTES > 375 * 500


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(30, 20), (64, 64), (63, 200), (375, 500), WIDE, LARGE])
def test_pictures_come_out_as_the_library_has_them(size: tuple[int, int], mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BOX)
    whole = image_transform(64, is_train=False, resize_mode=mode)
    shrink, normalise = _parts(whole)
    found = shrink(picture)
    assert (found.dtype, found.shape) == (torch.uint8, (3, 64, 64))
    step = 1 / 255 / min(normalise.std)
    differences = (normalise(found.float().div(255)) - whole(picture)).abs()
    assert differences.max() < 1.01 * step
    if size == LARGE or mode == "longest":
        assert differences.max() < 0.01 * step  # Pillow itself
