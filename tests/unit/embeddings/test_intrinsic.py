"""Intrinsic popularity, on timm's tiny ResNet with one output and random weights."""

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from tiny_networks import assert_vectors_stand_alone, choice, photo, saved, tiny, vectors
from torchvision import models, transforms

from flickcast.embeddings.intrinsic import NAME, build
from flickcast.embeddings.protocol import Choice, Encoder
from flickcast.embeddings.timm_networks import RECIPE
from flickcast.errors import UserError


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny(classes=1), tmp_path_factory.mktemp("iipa") / "tiny.safetensors")


@pytest.fixture(scope="module")
def encoder(weights: Path) -> Encoder:
    return build(NAME, choice(weights))


def test_a_score_depends_on_its_picture_only(encoder: Encoder) -> None:
    assert encoder.dimension == 1
    assert_vectors_stand_alone(encoder)


def test_pictures_are_prepared_as_the_authors_do(encoder: Encoder) -> None:
    network = tiny(classes=1).eval()
    theirs = transforms.Compose([transforms.Resize([224, 224]), transforms.ToTensor()])
    wide, high = photo(1, 400, 120), photo(2, 230, 700)
    with torch.inference_mode():
        expected = network(torch.stack([theirs(wide), theirs(high)])).numpy()
    np.testing.assert_allclose(vectors(encoder, [wide, high]), expected, rtol=1e-3, atol=1e-5)


def test_the_authors_network_is_torchvisions_and_fits_timms() -> None:
    with torch.device("meta"):
        theirs, ours = models.resnet50(num_classes=1), timm.create_model("resnet50", num_classes=1)
    assert {k: v.shape for k, v in theirs.state_dict().items()} == {k: v.shape for k, v in ours.state_dict().items()}


def test_without_a_file_the_sentence_says_how_to_make_one() -> None:
    with pytest.raises(UserError, match=r"flickcast encoders pull iipa-picture.*embed.weights.iipa-picture") as caught:
        build(NAME, Choice())
    assert RECIPE in str(caught.value)


@pytest.mark.parametrize("nested", [False, True])
def test_the_recipe_makes_a_file_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nested: bool) -> None:
    """As the authors save it, and as pyiqa does: below a name, and from several devices."""
    state = tiny(classes=1).state_dict()
    held = {"params": {f"module.{name}": tensor for name, tensor in state.items()}} if nested else state
    torch.save(held, tmp_path / "OLD.pth")
    code = shlex.split(RECIPE)[2]
    monkeypatch.setattr(sys, "argv", ["-c", str(tmp_path / "OLD.pth"), str(tmp_path / "NEW.safetensors")])
    exec(compile(code, "recipe", "exec"), {})
    converted = load_file(tmp_path / "NEW.safetensors")
    assert all(torch.equal(converted[name], state[name]) for name in state.keys() | converted.keys())


def test_a_pickle_is_refused_with_the_recipe(tmp_path: Path) -> None:
    torch.save(tiny(classes=1).state_dict(), tmp_path / "model-resnet50.pth")
    with pytest.raises(UserError, match="pickle") as caught:
        build(NAME, choice(tmp_path / "model-resnet50.pth"))
    assert RECIPE in str(caught.value)


def test_a_network_with_a_thousand_classes_is_refused(tmp_path: Path) -> None:
    wrong = saved(tiny(classes=1000), tmp_path / "imagenet.safetensors")
    with pytest.raises(UserError, match=r"does not hold weights of iipa-picture .* another shape, such as fc.weight"):
        build(NAME, choice(wrong))
