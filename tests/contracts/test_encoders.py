"""What every encoder must do, shown on the packaged one and on a random model that open_clip builds here."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from flickcast.embeddings.encoders import Encoder, load_encoder
from flickcast.params import EmbedParams

CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
HALF_STEP = 2.0**-11  # of float16, in which vectors are kept, at 1


def write_random_model(folder: Path, name: str, seed: int) -> Path:
    """The configuration and random weights of a model that open_clip did not know before."""
    (folder / f"{name}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    torch.manual_seed(seed)
    weights = folder / f"{name}-{seed}.safetensors"
    save_file(open_clip.create_model(name).state_dict(), weights)
    return weights


@pytest.fixture(scope="module", params=["packaged", "random"])
def params(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EmbedParams:
    if request.param == "packaged":
        return EmbedParams(encoder="flickcast-tiny", pretrained=None)
    weights = write_random_model(tmp_path_factory.mktemp("encoder"), "random-tiny", seed=1)
    return EmbedParams(encoder="random-tiny", pretrained=str(weights))


@pytest.fixture(scope="module")
def encoder(params: EmbedParams) -> Encoder:
    return load_encoder(params)


def picture(seed: int, size: tuple[int, int] = (40, 56), format: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


PICTURES = [picture(seed) for seed in range(21)]
TEXTS = [f"The title of the image is picture {number} and the tags are " + "a, " * number for number in range(21)]


def test_vectors_are_unit_rows_of_the_stated_dimension(encoder: Encoder) -> None:
    vectors, failures = encoder.embed_pictures(PICTURES)
    for found in (vectors, encoder.embed_texts(TEXTS)):
        assert (found.shape, found.dtype) == ((21, encoder.dimension), np.float32)
        assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert failures == []


def test_different_inputs_get_different_vectors(encoder: Encoder) -> None:
    assert len(np.unique(encoder.embed_pictures(PICTURES)[0], axis=0)) == 21
    assert len(np.unique(encoder.embed_texts([f"picture {i}" for i in range(21)]), axis=0)) == 21


def test_an_encoder_loaded_twice_is_the_same(encoder: Encoder, params: EmbedParams) -> None:
    again = load_encoder(params)
    assert (again.name, again.version) == (encoder.name, encoder.version)
    assert np.array_equal(again.embed_pictures(PICTURES)[0], encoder.embed_pictures(PICTURES)[0])
    assert np.array_equal(again.embed_texts(TEXTS), encoder.embed_texts(TEXTS))


@pytest.mark.parametrize("batch_size", [4, 20])
def test_vectors_do_not_depend_on_the_batch(encoder: Encoder, batch_size: int) -> None:
    starts = range(0, 21, batch_size)
    pictures = np.concatenate([encoder.embed_pictures(PICTURES[i : i + batch_size])[0] for i in starts])
    texts = np.concatenate([encoder.embed_texts(TEXTS[i : i + batch_size]) for i in starts])
    assert np.allclose(pictures, encoder.embed_pictures(PICTURES)[0], atol=HALF_STEP)
    assert np.allclose(texts, encoder.embed_texts(TEXTS), atol=HALF_STEP)


def test_vectors_do_not_depend_on_the_order(encoder: Encoder) -> None:
    assert np.allclose(
        encoder.embed_pictures(PICTURES[::-1])[0][::-1], encoder.embed_pictures(PICTURES)[0], atol=HALF_STEP
    )
    assert np.allclose(encoder.embed_texts(TEXTS[::-1])[::-1], encoder.embed_texts(TEXTS), atol=HALF_STEP)


def test_broken_pictures_are_named_and_leave_the_others_alone(encoder: Encoder) -> None:
    vectors, failures = encoder.embed_pictures([b"", PICTURES[3], PICTURES[4][:300], PICTURES[5]])
    assert [index for index, _ in failures] == [0, 2]
    assert all("does not decode" in reason for _, reason in failures)
    assert np.allclose(vectors, encoder.embed_pictures(PICTURES[3:6:2])[0], atol=HALF_STEP)


def test_only_broken_pictures_give_no_rows(encoder: Encoder) -> None:
    vectors, failures = encoder.embed_pictures([b"", b"GIF89a"])
    assert vectors.shape == (0, encoder.dimension)
    assert len(failures) == 2


def test_nothing_gives_no_rows(encoder: Encoder) -> None:
    assert encoder.embed_pictures([])[0].shape == encoder.embed_texts([]).shape == (0, encoder.dimension)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7)])
@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP"])
def test_any_shape_and_format_is_embedded(encoder: Encoder, size: tuple[int, int], format: str) -> None:
    vectors, failures = encoder.embed_pictures([picture(1, size, format)])
    assert (len(vectors), failures) == (1, [])


@pytest.mark.parametrize("text", ["", "\0", "<end_of_text>", "𝒇𝒂𝒏𝒄𝒚 ☃️", "word " * 500, "x" * 1_000_000])
def test_any_text_is_embedded(encoder: Encoder, text: str) -> None:
    assert np.isclose(np.linalg.norm(encoder.embed_texts([text])), 1, atol=1e-5)


def test_other_weights_are_another_version(encoder: Encoder, params: EmbedParams, tmp_path: Path) -> None:
    tensors: dict[str, Any] = load_file(params.pretrained or _packaged_weights())
    tensors["logit_scale"] = tensors["logit_scale"] + 1
    save_file(tensors, tmp_path / "other.safetensors")
    other = load_encoder(EmbedParams(encoder=params.encoder, pretrained="other.safetensors"), root=tmp_path)
    assert other.name == encoder.name
    assert other.version != encoder.version


def _packaged_weights() -> Path:
    import flickcast.embeddings

    return Path(flickcast.embeddings.__file__).parent / "weights" / "flickcast-tiny.safetensors"
