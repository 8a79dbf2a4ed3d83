"""ResNet's pooled features, on timm's tiny ResNet with random weights; and what holds for every network of timm."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from tiny_networks import TINY, assert_vectors_stand_alone, choice, photo, saved, tiny, vectors

from flickcast.embeddings.protocol import Choice, Encoder, Sample
from flickcast.embeddings.resnet import FAMILIES, build
from flickcast.errors import UserError

NAME = "resnet101-picture"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny(classes=7), tmp_path_factory.mktemp("resnet") / "tiny.safetensors")


@pytest.fixture(scope="module")
def encoder(weights: Path) -> Encoder:
    return build(NAME, choice(weights))


def folder_of(weights: Path, folder: Path, **configuration: object) -> Path:
    """As timm's repositories on the hub are laid out."""
    folder.mkdir(parents=True)
    shutil.copy(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": TINY, **configuration}))
    return folder


def test_a_vector_depends_on_its_picture_only(encoder: Encoder) -> None:
    assert_vectors_stand_alone(encoder)


def test_vectors_are_what_timm_computes_before_the_classes(encoder: Encoder, weights: Path) -> None:
    network = timm.create_model(TINY, num_classes=7)
    network.load_state_dict(load_file(weights))
    network.eval().reset_classifier(0)
    transform = create_transform(**resolve_model_data_config(network))
    with torch.inference_mode():
        expected = network(torch.stack([transform(photo(1)), transform(photo(2, 300, 900))])).numpy()
    np.testing.assert_allclose(vectors(encoder, [photo(1), photo(2, 300, 900)]), expected, rtol=1e-3, atol=1e-5)


def test_resnet101_has_2048_features() -> None:
    with torch.device("meta"):
        assert timm.create_model("resnet101", num_classes=0).head_hidden_size == 2048
    assert timm.get_pretrained_cfg("resnet101").hf_hub_id == FAMILIES[NAME].repository


def test_the_decoder_may_leave_out_only_what_is_scaled_away(encoder: Encoder) -> None:
    assert encoder.shortest_edge == 168  # 160 / 0.95, timm's preprocessing of this network
    scaled = encoder.prepare(Sample(photo(1, 168, 168)))
    assert scaled.shape == (3, 160, 160)


def test_fewer_rows_a_pass_change_nothing_that_is_stored(weights: Path) -> None:
    encoder = build(NAME, choice(weights))
    usual = vectors(encoder, [photo(seed) for seed in range(5)])
    vars(encoder)["rows"] = 2
    np.testing.assert_allclose(vectors(encoder, [photo(seed) for seed in range(5)]), usual, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("number_type", ["bfloat16", "float16"])
def test_shorter_numbers_give_nearly_the_same(encoder: Encoder, weights: Path, number_type: str) -> None:
    shorter = build(NAME, choice(weights, number_type=number_type))
    assert shorter.version != encoder.version
    exact, rounded = vectors(encoder, [photo(1)])[0], vectors(shorter, [photo(1)])[0]
    assert exact @ rounded / np.linalg.norm(exact) / np.linalg.norm(rounded) > 0.995


def test_version_follows_weights_and_preprocessing_but_not_their_place(weights: Path, tmp_path: Path) -> None:
    def version(path: Path) -> str:
        return build(NAME, choice(path)).version

    other = saved(tiny(classes=7, seed=1), tmp_path / "other.safetensors")
    folder = folder_of(weights, tmp_path / "same")
    smaller = folder_of(weights, tmp_path / "smaller", pretrained_cfg={"input_size": [3, 96, 96]})
    assert version(folder) == version(weights)
    assert len({version(weights), version(other), version(smaller)}) == 3


def test_a_compiled_network_is_another_version(weights: Path) -> None:
    assert build(NAME, choice(weights)).version != build(NAME, replace(choice(weights), compile=True)).version


def test_weights_that_are_not_here_are_told_with_the_way_to_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"flickcast encoders pull resnet101-picture.*embed.weights.resnet101-picture"):
        build(NAME, Choice())


def test_weights_that_were_pulled_are_found(weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cached = tmp_path / "models--timm--resnet101.a1h_in1k"
    folder_of(weights, cached / "snapshots" / "1")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert build(NAME, Choice()).version == build(NAME, choice(weights)).version


def test_a_path_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"names .*gone.safetensors, which is not there"):
        build(NAME, Choice(weights="gone.safetensors", root=tmp_path))


def trap(path: Path) -> Path:
    """A pickle that would leave a file beside itself if anything opened it."""
    path.write_bytes(f"cos\nsystem\n(S'touch {path.parent}/sprung'\ntR.".encode())
    return path


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_pickle_is_refused_unopened_under_any_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"pickle.*weights_only=True"):
        build(NAME, choice(trap(tmp_path / name)))
    assert os.listdir(tmp_path) == [name]


def test_a_folder_with_a_pickle_only_is_refused_unopened(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architecture": TINY}))
    trap(tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"lacks config.json or model.safetensors"):
        build(NAME, choice(tmp_path))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conv1.0.weight": None}, "it lacks 1 tensors, such as conv1.0.weight"),
        ({"surplus": torch.ones(3)}, "it has 1 tensors too many, such as surplus"),
        ({"conv1.0.weight": torch.ones(3)}, "1 of its tensors have another shape, such as conv1.0.weight"),
    ],
)
def test_weights_of_another_network_are_told_in_one_sentence(
    weights: Path, tmp_path: Path, change: dict[str, torch.Tensor | None], words: str
) -> None:
    changed = {name: tensor for name, tensor in (load_file(weights) | change).items() if tensor is not None}
    save_file(changed, tmp_path / "wrong.safetensors", metadata={"architecture": TINY})
    with pytest.raises(UserError, match=words) as caught:
        build(NAME, choice(tmp_path / "wrong.safetensors"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", ["hf-hub:someone/else", "local-dir:/tmp", "resnet-of-mine", 3])
def test_an_architecture_that_is_no_plain_name_of_timm_is_refused(
    weights: Path, tmp_path: Path, architecture: object
) -> None:
    folder = folder_of(weights, tmp_path / "odd", architecture=architecture)
    with pytest.raises(UserError, match="which timm does not know"):
        build(NAME, choice(folder))


@pytest.mark.parametrize("content", ["{", "[]", '{"pretrained_cfg": 3}', "\xff"])
def test_a_configuration_that_is_none_is_told_in_one_sentence(weights: Path, tmp_path: Path, content: str) -> None:
    folder = folder_of(weights, tmp_path / "odd")
    (folder / "config.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match="no configuration that timm has written"):
        build(NAME, choice(folder))
