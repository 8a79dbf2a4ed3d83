"""What every encoder must do, shown on the packaged pair and on tiny random models that the real libraries build."""

import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import encoders_at_hand
import numpy as np
import pytest
from encoders_at_hand import WRITERS
from PIL import Image
from safetensors.torch import load_file, save_file

from flickcast.embeddings import canary, catalogue, encoders
from flickcast.embeddings.captions import CAPTIONERS
from flickcast.embeddings.pipeline import Input, Result, embed_shards
from flickcast.embeddings.protocol import Encoder, Sample, Vectors
from flickcast.errors import CheckError, UserError
from flickcast.params import EmbedParams

HALF_STEP = 2.0**-11  # of float16, in which vectors are kept, at 1
COUNT = 21


def picture(seed: int, size: tuple[int, int] = (40, 56), format: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


PICTURES = [picture(seed) for seed in range(COUNT)]
TEXTS = [f"The title of the image is picture {number} and the tags are " + "a, " * number for number in range(COUNT)]
BOTH = list(zip(PICTURES, TEXTS, strict=True))


@pytest.fixture(scope="module", params=list(WRITERS))
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, EmbedParams, Path]:
    """An encoder's name, params that name its weights, and the folder these are seen from."""
    folder, name = tmp_path_factory.mktemp("encoder"), str(request.param)
    weights = WRITERS[name](folder, 0)
    return name, EmbedParams(encoder="flickcast-tiny", weights={name: weights} if weights else {}), folder


def test_there_is_a_tiny_one_of_every_entry_of_the_registry() -> None:
    assert set(encoders.families()) - set(CAPTIONERS) <= set(WRITERS)


@pytest.fixture(scope="module")
def encoder(place: tuple[str, EmbedParams, Path]) -> Encoder:
    return load(place)


def load(place: tuple[str, EmbedParams, Path], **changes: object) -> Encoder:
    name, params, folder = place
    return encoders.load_encoder(name, params.model_copy(update=changes), folder, threads=1)


def results(encoder: Encoder, samples: Sequence[tuple[bytes, str]], batch_size: int = 64) -> Result:
    inputs = [
        Input(str(number), content if "picture" in encoder.reads else None, text if "text" in encoder.reads else None)
        for number, (content, text) in enumerate(samples)
    ]
    ((_, result),) = embed_shards(encoder, [("shard", inputs)], batch_size)
    return result


def vectors(encoder: Encoder, samples: Sequence[tuple[bytes, str]], batch_size: int = 64) -> Vectors:
    found = results(encoder, samples, batch_size)
    assert found.reasons == {}
    return np.stack([found.vectors[str(number)] for number in range(len(samples))]).astype(np.float32)


def alike(one: Vectors, other: Vectors) -> bool:
    return np.allclose(one, other, atol=HALF_STEP, rtol=2 * HALF_STEP)


def test_every_encoder_has_one_vector_of_the_stated_length_for_each_post(encoder: Encoder) -> None:
    found = vectors(encoder, BOTH)
    assert found.shape == (COUNT, encoder.dimension)
    assert len(np.unique(found, axis=0)) > COUNT / 2, "different inputs get different vectors"


def test_its_name_says_what_it_reads(encoder: Encoder) -> None:
    assert encoders.reads(encoder.name) == encoder.reads
    assert (encoder.shortest_edge is None) or "picture" in encoder.reads


def test_an_encoder_loaded_twice_is_the_same(encoder: Encoder, place: tuple[str, EmbedParams, Path]) -> None:
    again = load(place)
    assert (again.name, again.version) == (encoder.name, encoder.version)
    assert np.array_equal(vectors(again, BOTH), vectors(encoder, BOTH))


@pytest.mark.parametrize("batch_size", [1, 4, 20])
def test_vectors_do_not_depend_on_the_batch(encoder: Encoder, batch_size: int) -> None:
    assert alike(vectors(encoder, BOTH, batch_size), vectors(encoder, BOTH))


def test_vectors_do_not_depend_on_order_or_neighbours(encoder: Encoder) -> None:
    whole = vectors(encoder, BOTH)
    assert alike(vectors(encoder, BOTH[::-1])[::-1], whole)
    for number in (0, 7, COUNT - 1):
        assert alike(vectors(encoder, [BOTH[number]]), whole[number : number + 1])


def test_broken_pictures_are_named_and_leave_the_others_bit_by_bit_as_they_are(encoder: Encoder) -> None:
    if "picture" not in encoder.reads:
        pytest.skip("reads no picture")
    broken = {1: b"", 4: PICTURES[4][:300], 20: b"GIF89a"}
    found = results(encoder, [(broken.get(number, content), text) for number, (content, text) in enumerate(BOTH)])
    clean = results(encoder, BOTH)
    assert sorted(found.reasons) == sorted(map(str, broken))
    assert all("does not decode" in reason for reason in found.reasons.values())
    for key, vector in found.vectors.items():
        assert np.array_equal(vector, clean.vectors[key])
    assert len(results(encoder, [(b"", "x"), (b"no", "y")]).reasons) == 2


def test_nothing_gives_no_rows(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dimension)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7)])
@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP"])
def test_any_shape_and_format_is_embedded(encoder: Encoder, size: tuple[int, int], format: str) -> None:
    assert np.isfinite(vectors(encoder, [(picture(1, size, format), "words")])).all()


@pytest.mark.parametrize("text", ["", "\0", "<end_of_text>", "[SEP]", "𝒇𝒂𝒏𝒄𝒚 ☃️", "word " * 500, "x" * 1_000_000])
def test_any_text_is_embedded(encoder: Encoder, text: str) -> None:
    assert np.isfinite(vectors(encoder, [(PICTURES[0], text)])).all()


def test_no_text_is_an_empty_text(encoder: Encoder) -> None:
    if encoder.reads != ("text",):
        pytest.skip("a post always has what it reads")
    none, empty = (encoder.encode([encoder.prepare(Sample(text=text))]) for text in (None, ""))
    assert np.array_equal(none, empty)


def test_the_canaries_prove_an_encoder_once_they_are_kept(
    encoder: Encoder, place: tuple[str, EmbedParams, Path], tmp_path: Path
) -> None:
    choice = encoders.choice_of(*place[:2], tmp_path)
    if not encoder.name.startswith("flickcast-tiny"):
        with pytest.raises(CheckError, match="says nothing"):
            canary.prove(encoder, choice, may_write=False)
    canary.prove(encoder, choice)
    canary.prove(encoder, choice, may_write=False)


def test_other_weights_under_the_same_version_are_refused(
    encoder: Encoder, place: tuple[str, EmbedParams, Path], tmp_path: Path
) -> None:
    name, params, _ = place
    if WRITERS[name] is encoders_at_hand.nothing:
        pytest.skip("its weights are the package's own, or it has none")
    choice = encoders.choice_of(name, params, tmp_path)
    canary.prove(encoder, choice)
    WRITERS[name](tmp_path, 1)
    other = load((name, params, tmp_path))
    assert (other.dimension, other.version == encoder.version) == (encoder.dimension, False)
    other.version = encoder.version
    with pytest.raises(CheckError, match=f"{name} does not work as it should here"):
        canary.prove(other, choice)


def test_other_weights_are_refused_and_other_settings_are_not(
    encoder: Encoder, place: tuple[str, EmbedParams, Path], tmp_path: Path
) -> None:
    name, params, _ = place
    if WRITERS[name] is encoders_at_hand.nothing or encoders.state_of(name) is not None:
        pytest.skip("its weights are the package's own, it has none, or it learns them")
    choice = encoders.choice_of(name, params, tmp_path)
    canary.prove(encoder, choice)
    kept = (tmp_path / canary.FOLDER / f"{name}.json").read_bytes()
    WRITERS[name](tmp_path, 1)
    for may_write in (True, False):
        with pytest.raises(CheckError, match=f"{name} has other weights here"):
            canary.prove(load((name, params, tmp_path)), choice, may_write=may_write)
    assert (tmp_path / canary.FOLDER / f"{name}.json").read_bytes() == kept
    changed = load(place)
    changed.version = "of other settings"
    canary.prove(changed, choice)


def test_damaged_weights_are_one_sentence_and_nothing_takes_their_place(
    place: tuple[str, EmbedParams, Path], tmp_path: Path
) -> None:
    name, params, folder = place
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    if not (damaged := list(tmp_path.rglob("*.safetensors"))):
        pytest.skip("it has no weights of its own")
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError) as caught:
        load((name, params, tmp_path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.fixture(params=["picture", "text"])
def half(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_vectors_of_a_model_of_open_clip_have_length_one(half: str) -> None:
    encoder = encoders.load_encoder(f"flickcast-tiny-{half}", EmbedParams(encoder="flickcast-tiny"))
    assert np.allclose(np.linalg.norm(vectors(encoder, BOTH), axis=1), 1, atol=COUNT * HALF_STEP)


def test_other_weights_are_another_version(tmp_path: Path, half: str) -> None:
    packaged = encoders.load_encoder(f"flickcast-tiny-{half}", EmbedParams(encoder="flickcast-tiny"))
    tensors = load_file(Path(encoders.__file__).parent / "weights" / "flickcast-tiny.safetensors")
    tensors["logit_scale"] = tensors["logit_scale"] + 1
    save_file(tensors, tmp_path / "other.safetensors")
    params = EmbedParams(encoder="flickcast-tiny", pretrained="other.safetensors")
    other = encoders.load_encoder(packaged.name, params, tmp_path)
    assert (other.name, other.dimension) == (packaged.name, packaged.dimension)
    assert other.version != packaged.version


@pytest.mark.parametrize("number_type", ["bfloat16", "float16"])
def test_another_number_type_is_another_version_with_nearly_the_same_vectors(half: str, number_type: str) -> None:
    name, params = f"flickcast-tiny-{half}", EmbedParams(encoder="flickcast-tiny")
    exact = encoders.load_encoder(name, params)
    short = encoders.load_encoder(name, params.model_copy(update={"number_type": number_type}))
    assert short.version != exact.version
    cosines = (vectors(short, BOTH) * vectors(exact, BOTH)).sum(axis=1)
    assert cosines.min() > canary.LEAST_COSINE_ELSEWISE
    assert not np.array_equal(vectors(short, BOTH), vectors(exact, BOTH))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lsa-txt", "did you mean 'lsa-text'"),
        ("vit-b-32-picture", "did you mean 'ViT-B-32-picture'"),
        ("ViT-B-32", "name its half, ViT-B-32-picture or ViT-B-32-text"),
        ("../x", "There is no encoder"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        encoders.family_named(name)


def test_all_encoders_are_listed_with_what_they_read() -> None:
    listed = {one["encoder"]: one for one in catalogue.list_encoders()}
    assert set(encoders.families()) | {"flickcast-tiny-picture", "ViT-B-32-text"} <= set(listed)
    assert listed["vilt-both"]["reads"] == ["picture", "text"]
    assert (listed["flickcast-tiny-text"]["here"], listed["flickcast-tiny-text"]["dimension"]) == (True, 64)
