"""Co-attention on batches made by hand."""

import numpy as np
import pytest
import torch
from planted import planted

from flickcast.models.networks.coattention import (
    CoAttention,
    CoAttentionModule,
    CoAttentionNetwork,
    CoAttentionSettings,
    Tokens,
)
from flickcast.models.networks.inputs import Batch, Scaling

B, P, T, WIDTH = 5, 3, 4, 6
ALL_P, ALL_T = torch.ones(B, P), torch.ones(B, T)


@pytest.fixture
def sides() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(B, P, WIDTH), torch.randn(B, T, WIDTH)


@pytest.fixture
def attention() -> CoAttention:
    torch.manual_seed(0)
    return CoAttention(WIDTH)


def test_rows_of_both_softmaxes_add_up_to_one(attention: CoAttention, sides: tuple[torch.Tensor, torch.Tensor]) -> None:
    over_texts, over_pictures = attention.attention(*sides, ALL_P, ALL_T)
    assert (over_texts.shape, over_pictures.shape) == ((B, P, T), (B, T, P))
    for one in (over_texts, over_pictures):
        assert (one >= 0).all()
        torch.testing.assert_close(one.sum(dim=2), torch.ones(one.shape[:2]))


def test_attention_is_that_of_numpy(attention: CoAttention, sides: tuple[torch.Tensor, torch.Tensor]) -> None:
    pictures, texts = (side.numpy() for side in sides)
    weight = attention.affinity.weight.detach().numpy()
    scores = np.einsum("bpi,oi,bto->bpt", pictures, weight, texts) / np.sqrt(WIDTH)
    shares = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    other = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    seen, read = attention(*sides, ALL_P, ALL_T)
    np.testing.assert_allclose(seen.detach(), pictures + np.einsum("bpt,bti->bpi", shares, texts), atol=1e-5)
    np.testing.assert_allclose(read.detach(), texts + np.einsum("bpt,bpi->bti", other, pictures), atol=1e-5)


def test_nothing_is_taken_from_what_is_missing(
    attention: CoAttention, sides: tuple[torch.Tensor, torch.Tensor]
) -> None:
    there = ALL_T.clone()
    there[:, 2:] = 0
    over_texts, _ = attention.attention(*sides, ALL_P, there)
    assert (over_texts[:, :, 2:] == 0).all()
    torch.testing.assert_close(over_texts.sum(dim=2), torch.ones(B, P))


def test_tokens_of_a_missing_vector_are_zero() -> None:
    torch.manual_seed(0)
    batch = Batch(
        torch.zeros(2, 0),
        torch.zeros(2, 0, dtype=torch.int64),
        {"text": torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]])},
        {"text": torch.tensor([1.0, 0.0])},
    )
    tokens, there = Tokens({"text": 3}, tokens=2, width=4)(batch)
    assert tokens.shape == (2, 2, 4)
    assert there.tolist() == [[1, 1], [0, 0]]
    assert (tokens[1] == 0).all()
    assert (tokens[0] != 0).any()


@pytest.mark.parametrize(
    ("pictures", "texts", "sides"), [("picture", "text", 2), ("none", "text", 1), ("none", "no", 0)]
)
def test_a_side_without_vectors_is_left_out(pictures: str, texts: str, sides: int) -> None:
    design, _ = planted(40)
    scaling = Scaling.fit(design)
    settings = CoAttentionSettings(pictures=[pictures], texts=[texts])
    module = CoAttentionModule(scaling.shape, settings).eval()
    assert len(module.sides) == sides
    assert (module.attention is None) == (sides < 2)
    assert module(scaling.batch(design)).shape == (40,)


def test_text_matters_by_the_picture_it_stands_beside() -> None:
    """The label is whether picture and text say the same: neither side alone tells."""
    random = np.random.default_rng(0)
    design, _ = planted(1200)
    seen, read = random.choice([-1.0, 1.0], (2, 1200))
    for name, side in (("picture", seen), ("text", read)):
        design.vectors[name][:] = random.normal(size=design.vectors[name].shape)  # type: ignore[index]
        design.vectors[name][:, 0] = 3 * side  # type: ignore[index]
    target = seen * read
    half = np.arange(1200) < 900
    own = CoAttentionSettings(numbers=False, categories=False, hidden_widths=[32])
    fitted = CoAttentionNetwork.fit(design.take(half), target[half], settings=own, seed=0, threads=1, iterations=30)
    assert np.abs(target[~half] - fitted.predict(design.take(~half))).mean() < 0.5
