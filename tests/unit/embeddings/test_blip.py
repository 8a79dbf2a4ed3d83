"""BLIP and BLIP-2 turn a picture into the vector that the library's own models make of it."""

import json

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch

from flickcast.embeddings import blip
from flickcast.embeddings.protocol import Choice, Sample
from flickcast.errors import UserError

SAVE = {blip.BLIP: tiny.save_blip, blip.BLIP_2: tiny.save_blip2}
NAMES = pytest.mark.parametrize("name", SAVE)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save(tmp_path_factory.mktemp(name)) for name, save in SAVE.items()}


@pytest.fixture
def build(folders):
    return lambda name, **choice: blip.build(name, Choice(weights=str(folders[name]), threads=1, **choice))


def prepared(encoder, *seeds):
    return [encoder.prepare(Sample(picture=tiny.picture(seed))) for seed in seeds]


def test_blip_is_the_class_token_of_the_librarys_vision_model(folders, build):
    from transformers import BlipForQuestionAnswering, BlipImageProcessor

    model = BlipForQuestionAnswering.from_pretrained(folders[blip.BLIP]).eval()
    pixels = BlipImageProcessor.from_pretrained(folders[blip.BLIP])(tiny.picture(1), return_tensors="pt")
    with torch.inference_mode():
        expected = model.vision_model(**pixels).last_hidden_state[0, 0]
    encoder = build(blip.BLIP)
    np.testing.assert_allclose(encoder.encode(prepared(encoder, 1))[0], expected, atol=1e-5)


def test_blip2_is_the_mean_of_the_librarys_query_features(folders, build):
    from transformers import Blip2Model, BlipImageProcessor

    model = Blip2Model.from_pretrained(folders[blip.BLIP_2]).eval()
    pixels = BlipImageProcessor.from_pretrained(folders[blip.BLIP_2])(tiny.picture(1), return_tensors="pt")
    with torch.inference_mode():
        expected = model.get_qformer_features(**pixels)[0].mean(0)
    encoder = build(blip.BLIP_2)
    np.testing.assert_allclose(encoder.encode(prepared(encoder, 1))[0], expected, atol=1e-5)


@NAMES
def test_a_vector_depends_on_its_picture_alone(build, name):
    encoder = build(name)
    posts = prepared(encoder, *range(6))
    together = encoder.encode(posts)
    assert together.shape == (6, encoder.dimension) == (6, 16)
    assert together.dtype == np.float32
    assert len(np.unique(together, axis=0)) == 6
    assert (encoder.encode(posts[::-1])[::-1] == together).all()
    assert all((encoder.encode([post])[0] == vector).all() for post, vector in zip(posts, together, strict=True))
    encoder.rows = 3
    np.testing.assert_allclose(encoder.encode(posts), together, atol=1e-4)


@NAMES
def test_no_posts_are_no_vectors(build, name):
    assert build(name).encode([]).shape == (0, 16)


@NAMES
def test_another_build_makes_the_same_version_and_vectors(build, name):
    first, second = build(name), build(name)
    assert first.version == second.version
    assert len(first.version) == 16
    assert (first.encode(prepared(first, 3)) == second.encode(prepared(second, 3))).all()


@NAMES
def test_the_version_names_weights_preprocessing_and_number_type(tmp_path, name):
    folder = SAVE[name](tmp_path)
    versions = [blip.build(name, Choice(weights=str(folder))).version]
    versions.append(blip.build(name, Choice(weights=str(folder), number_type="bfloat16")).version)
    settings = folder / "preprocessor_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"image_mean": [0.5, 0.5, 0.5]}))
    versions.append(blip.build(name, Choice(weights=str(folder))).version)
    SAVE[name](folder, seed=1)
    versions.append(blip.build(name, Choice(weights=str(folder))).version)
    assert len(set(versions)) == 4


@NAMES
@pytest.mark.parametrize(("number_type", "least"), [("bfloat16", 0.995), ("float16", 0.999)])
def test_another_number_type_gives_nearly_the_same_vectors(build, name, number_type, least):
    exact, rough = build(name), build(name, number_type=number_type)
    one, other = exact.encode(prepared(exact, *range(4))), rough.encode(prepared(rough, *range(4)))
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosines.min() > least
    assert not (one == other).all()


@NAMES
def test_pictures_of_any_shape_are_read(build, name):
    encoder = build(name)
    shapes = [(1, 1), (1, 100), (300, 3), (32, 32), (500, 375)]
    posts = [encoder.prepare(Sample(picture=tiny.picture(1, *shape))) for shape in shapes]
    assert np.isfinite(encoder.encode(posts)).all()


def test_the_shorter_edge_is_what_the_model_reads(build):
    assert build(blip.BLIP).shortest_edge == 32


@NAMES
def test_missing_weights_are_one_sentence_with_the_command(name):
    with pytest.raises(
        UserError, match=rf"fetch them with `flickcast encoders pull {name} --pretrained someone/never-fetched`"
    ):
        blip.build(name, Choice(weights="someone/never-fetched"))


def test_a_path_without_a_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"embed.weights.blip-picture names .*/models/of/mine, which is no folder"):
        blip.build(blip.BLIP, Choice(weights="models/of/mine", root=tmp_path))


@NAMES
def test_a_pickle_is_refused_and_not_opened(tmp_path, name):
    folder, mark = tiny.leave_only_pickle(SAVE[name](tmp_path / "model"), tmp_path / "opened"), tmp_path / "opened"
    with pytest.raises(UserError, match=r"only as pickle \(pytorch_model.bin\), which flickcast does not open"):
        blip.build(name, Choice(weights=str(folder)))
    assert not mark.exists()


def test_a_model_of_another_type_is_refused(folders):
    with pytest.raises(
        UserError, match="holds a model of type blip-2, but encoder blip-picture needs one of type blip"
    ):
        blip.build(blip.BLIP, Choice(weights=str(folders[blip.BLIP_2])))


@pytest.mark.parametrize("damage", ["cut", "foreign", "config", "no preprocessing", "no weights", "another size"])
def test_a_damaged_folder_is_one_sentence(tmp_path, damage):
    folder = tiny.save_blip(tmp_path)
    weights, config = folder / "model.safetensors", folder / "config.json"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "foreign":
        from safetensors.torch import save_file

        save_file({"other": torch.zeros(2)}, weights, {"format": "pt"})
    elif damage == "config":
        config.write_text("{")
    elif damage == "no preprocessing":
        (folder / "preprocessor_config.json").unlink()
    elif damage == "no weights":
        weights.unlink()
    else:
        changed = json.loads(config.read_text())
        changed["vision_config"]["intermediate_size"] = 48
        config.write_text(json.dumps(changed))
    with pytest.raises(UserError) as caught:
        blip.build(blip.BLIP, Choice(weights=str(folder)))
    assert str(folder) in str(caught.value)
    assert "blip-picture" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_blip_reads_texts_as_the_librarys_text_model_does_without_a_picture(folders):
    from transformers import AutoTokenizer, BlipForQuestionAnswering

    encoder = blip.build_of_texts(blip.BLIP_TEXT, Choice(weights=str(folders[blip.BLIP]), threads=1))
    tokens = AutoTokenizer.from_pretrained(folders[blip.BLIP])("the old mill of 17", return_tensors="pt")
    with torch.inference_mode():
        model = BlipForQuestionAnswering.from_pretrained(folders[blip.BLIP]).eval().text_encoder
        expected = model(tokens["input_ids"], tokens["attention_mask"]).last_hidden_state[0, 0]
    found = encoder.encode([encoder.prepare(Sample(text="the old mill of 17")), encoder.prepare(Sample())])
    np.testing.assert_allclose(found[0], expected / expected.norm(), atol=1e-5)
    assert np.isfinite(found[1]).all()
