"""ViLT turns a picture and a text into the vector that the library's own model makes of them."""

import json

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch

from flickcast.embeddings import vilt
from flickcast.embeddings.protocol import Choice, Sample
from flickcast.errors import UserError

# Wide, high, square, and two strips of which the processor alone would leave nothing.
SHAPES = [(48, 40), (40, 48), (64, 20), (32, 32), (300, 180), (3000, 30), (30, 3000), (1, 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save_vilt(tmp_path_factory.mktemp("vilt"))


@pytest.fixture
def encoder(folder):
    return build(folder)


def build(folder, **choice):
    return vilt.build(vilt.VILT, Choice(weights=str(folder), threads=1, **choice))


def prepared(encoder):
    texts = [" ".join(["the old mill"] * length) for length in range(len(SHAPES))]
    posts = zip(SHAPES, texts, strict=True)
    return [encoder.prepare(Sample(tiny.picture(seed, *shape), text)) for seed, (shape, text) in enumerate(posts)]


@pytest.mark.parametrize("shape", SHAPES[:5])
def test_a_vector_is_the_librarys_pooled_output(folder, encoder, shape):
    from transformers import ViltModel, ViltProcessor

    picture = tiny.picture(1, *shape)
    inputs = ViltProcessor.from_pretrained(folder)(picture, "the old bridge", return_tensors="pt")
    with torch.inference_mode():
        expected = ViltModel.from_pretrained(folder).eval()(**inputs).pooler_output[0]
    found = encoder.encode([encoder.prepare(Sample(picture, "the old bridge"))])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_vector_depends_on_its_own_post_alone(encoder):
    posts = prepared(encoder)
    together = encoder.encode(posts)
    assert together.shape == (len(SHAPES), encoder.dimension) == (len(SHAPES), 16)
    assert together.dtype == np.float32
    assert len(np.unique(together, axis=0)) == len(SHAPES)
    assert (encoder.encode(posts[::-1])[::-1] == together).all()
    assert all((encoder.encode([post])[0] == vector).all() for post, vector in zip(posts, together, strict=True))
    encoder.rows = 3
    np.testing.assert_allclose(encoder.encode(posts), together, atol=1e-4)


def test_vectors_do_not_depend_on_the_seed_and_leave_it_alone(encoder):
    posts = prepared(encoder)
    torch.manual_seed(1)
    first = encoder.encode(posts)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.rand(1) == drawn
    torch.manual_seed(2)
    assert (encoder.encode(posts) == first).all()


def test_no_posts_are_no_vectors(encoder):
    assert encoder.encode([]).shape == (0, 16)


def test_both_picture_and_text_count(encoder):
    samples = [(1, "old mill"), (2, "old mill"), (1, "old bridge")]
    vectors = encoder.encode([encoder.prepare(Sample(tiny.picture(seed), text)) for seed, text in samples])
    assert len(np.unique(vectors.round(3), axis=0)) == 3


def test_no_text_is_an_empty_text(encoder):
    none, empty = (encoder.prepare(Sample(tiny.picture(1), text)) for text in (None, ""))
    assert none.tokens == empty.tokens == [2, 3]
    assert (encoder.encode([none]) == encoder.encode([empty])).all()


def test_a_text_is_cut_to_what_the_model_reads(encoder):
    post = encoder.prepare(Sample(tiny.picture(1), "mill " * 1_000_000))
    assert len(post.tokens) == 16
    assert post.tokens[-1] == 3


def test_a_text_cannot_spell_the_models_own_signs(encoder):
    plain, odd = (encoder.prepare(Sample(tiny.picture(1), text)) for text in ("mill river", "mill [SEP] [CLS] river"))
    assert odd.tokens == plain.tokens
    assert encoder.prepare(Sample(tiny.picture(1), "\ud800\0\u202e")).tokens[0] == 2


def test_the_version_names_weights_tokens_preprocessing_and_number_type(tmp_path):
    folder = tiny.save_vilt(tmp_path)
    versions = [build(folder).version, build(folder, number_type="bfloat16").version]
    changes = {"preprocessor_config.json": {"image_std": [0.4] * 3}, "tokenizer_config.json": {"note": "another"}}
    for file, change in changes.items():
        path = folder / file
        before = path.read_text()
        path.write_text(json.dumps(json.loads(before) | change))
        versions.append(build(folder).version)
        path.write_text(before)
    assert build(folder).version == versions[0]
    tiny.save_vilt(folder, seed=1)
    versions.append(build(folder).version)
    assert len(set(versions)) == 5


@pytest.mark.parametrize(("number_type", "least"), [("bfloat16", 0.995), ("float16", 0.999)])
def test_another_number_type_gives_nearly_the_same_vectors(folder, encoder, number_type, least):
    one, rough = encoder.encode(prepared(encoder)), build(folder, number_type=number_type)
    other = rough.encode(prepared(rough))
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosines.min() > least
    assert not (one == other).all()


def test_missing_weights_are_one_sentence_with_the_command():
    with pytest.raises(
        UserError, match=r"fetch them with `flickcast encoders pull vilt-both --pretrained someone/never-fetched`"
    ):
        vilt.build(vilt.VILT, Choice(weights="someone/never-fetched"))


def test_a_pickle_is_refused_and_not_opened(tmp_path):
    mark = tmp_path / "opened"
    folder = tiny.leave_only_pickle(tiny.save_vilt(tmp_path / "model"), mark)
    with pytest.raises(UserError, match=r"only as pickle \(pytorch_model.bin\), which flickcast does not open"):
        build(folder)
    assert not mark.exists()


def test_a_model_of_another_type_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds a model of type blip, but encoder vilt-both needs one of type vilt"):
        build(tiny.save_blip(tmp_path))


@pytest.mark.parametrize("file", ["tokenizer.json", "preprocessor_config.json", "config.json"])
def test_a_folder_that_lacks_a_part_is_one_sentence(tmp_path, file):
    folder = tiny.save_vilt(tmp_path)
    (folder / file).unlink()
    with pytest.raises(UserError, match=r"^[^\n]*vilt-both[^\n]*$"):
        build(folder)


@pytest.mark.parametrize(
    ("content", "problem"), [("{}", "does not hold"), (None, "makes token 99, and its model knows 40")]
)
def test_a_tokenizer_that_is_not_the_models_is_one_sentence(tmp_path, content, problem):
    folder = tiny.save_vilt(tmp_path)
    path = folder / "tokenizer.json"
    foreign = json.loads(path.read_text())
    foreign["model"]["vocab"]["castle"] = 99
    path.write_text(content or json.dumps(foreign))
    with pytest.raises(UserError, match=problem) as caught:
        build(folder)
    assert "\n" not in str(caught.value)


def alone(folder, name):
    return vilt.build(name, Choice(weights=str(folder), threads=1))


def test_a_text_alone_attends_to_no_picture(folder):
    from transformers import ViltModel

    encoder = alone(folder, vilt.TEXTS)
    assert (encoder.reads, encoder.shortest_edge) == (("text",), None)
    model = ViltModel.from_pretrained(folder).eval()
    tokens = torch.tensor([encoder.prepare(Sample(text="the old bridge")).tokens])
    with torch.inference_mode():
        words = model.embeddings.text_embeddings(tokens) + model.embeddings.token_type_embeddings(
            torch.zeros_like(tokens)
        )
        expected = model.pooler(model.layernorm(model.encoder(words).last_hidden_state))[0]
    found = encoder.encode([encoder.prepare(Sample(text="the old bridge"))])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_picture_alone_is_one_with_an_empty_text(folder, encoder):
    pictures = alone(folder, vilt.PICTURES)
    assert (pictures.reads, pictures.shortest_edge) == (("picture",), encoder.shortest_edge)
    found = pictures.encode([pictures.prepare(Sample(tiny.picture(1)))])
    np.testing.assert_array_equal(found, encoder.encode([encoder.prepare(Sample(tiny.picture(1), ""))]))
    assert len({one.version for one in (pictures, encoder, alone(folder, vilt.TEXTS))}) == 3
