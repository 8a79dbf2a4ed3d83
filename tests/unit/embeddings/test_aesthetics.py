"""Aesthetics, on NIMA over timm's tiny ResNet with random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_networks import TINY, assert_vectors_stand_alone, choice, photo, saved, tiny, vectors

from flickcast.embeddings.aesthetics import NAME, build, moments, network_of
from flickcast.embeddings.protocol import Choice, Encoder
from flickcast.errors import UserError


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return saved(network_of(TINY), tmp_path_factory.mktemp("nima") / "tiny.safetensors")


@pytest.fixture(scope="module")
def encoder(weights: Path) -> Encoder:
    return build(NAME, choice(weights))


def test_scores_depend_on_their_picture_only(encoder: Encoder) -> None:
    assert_vectors_stand_alone(encoder)


def test_scores_lie_between_1_and_10(encoder: Encoder) -> None:
    mean, deviation = vectors(encoder, [photo(seed) for seed in range(4)]).T
    assert (mean > 1).all()
    assert (mean < 10).all()
    assert (deviation > 0).all()
    assert (deviation < 4.5).all()


def test_moments_of_known_shares() -> None:
    sure, split, even = np.eye(10)[6], np.eye(10)[[0, 9]].mean(0), np.full(10, 0.1)
    found = moments(torch.tensor(np.array([sure, split, even])))
    np.testing.assert_allclose(found, [[7, 0], [5.5, 4.5], [5.5, np.sqrt(8.25)]], atol=1e-12)


def test_the_published_layout_fits() -> None:
    """The names that pyiqa's class gives its tensors, nima_arch.py of version 0.1.16."""
    names = list(network_of(TINY).state_dict())
    assert names[-2:] == ["classifier.2.weight", "classifier.2.bias"]
    assert all(name.startswith("base_model.") for name in names[:-2])


def test_without_a_file_the_sentence_says_how_to_get_one() -> None:
    with pytest.raises(UserError, match=r"flickcast encoders pull nima-picture.*weights_only=True.*embed.weights.nima"):
        build(NAME, Choice())


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    torch.save(network_of(TINY).state_dict(), tmp_path / "NIMA.pth")
    with pytest.raises(UserError, match="pickle"):
        build(NAME, choice(tmp_path / "NIMA.pth"))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    wrong = saved(tiny(classes=10), tmp_path / "resnet.safetensors")
    with pytest.raises(UserError, match=r"does not hold weights of nima-picture .* lacks .* such as base_model"):
        build(NAME, choice(wrong))
