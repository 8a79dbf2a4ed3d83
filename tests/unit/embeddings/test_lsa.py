"""Latent semantic analysis of the corpus' texts, and the state that it and GloVe keep in a workspace."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from flickcast.embeddings.fitted import LEAST_TEXTS, TooFewTextsError, folder_of
from flickcast.embeddings.lsa import FAMILIES, build, fit
from flickcast.embeddings.protocol import Choice, Encoder, Sample, Vectors
from flickcast.errors import UserError

NAME = "lsa-text"
SEA, HILL = ("sea", "beach", "wave", "sand", "boat"), ("hill", "peak", "snow", "trail", "goat")


def corpus(count: int = 150) -> list[str | None]:
    draw = random.Random(7)
    return [" ".join(draw.choices(SEA if number % 2 else HILL, k=4)) for number in range(count)]


def encoded(encoder: Encoder, *texts: str | None) -> Vectors:
    return encoder.encode([encoder.prepare(Sample(text=text)) for text in texts])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fit(corpus(), folder_of(NAME, tmp_path), Choice(root=tmp_path))
    return tmp_path


@pytest.fixture
def encoder(root: Path) -> Encoder:
    return build(NAME, Choice(root=root))


def test_coordinates_are_those_of_a_singular_value_decomposition_of_weighted_words(encoder: Encoder) -> None:
    texts, words = [str(text).split() for text in corpus()], sorted({*SEA, *HILL})
    counts = np.array([[text.count(word) for word in words] for text in texts], float)
    idf = np.log((1 + len(texts)) / (1 + (counts > 0).sum(axis=0))) + 1
    weighted = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * idf
    weighted /= np.linalg.norm(weighted, axis=1, keepdims=True)
    right = np.linalg.svd(weighted, full_matrices=False)[2][: encoder.dimension]
    # Each component's sign is open.
    np.testing.assert_allclose(np.abs(encoded(encoder, *corpus())), np.abs(weighted @ right.T), atol=1e-3)


def test_shape_is_texts_by_dimension(encoder: Encoder) -> None:
    vectors = encoded(encoder, "sea", "hill")
    assert vectors.shape == (2, encoder.dimension)
    assert vectors.dtype == np.float32
    assert encoder.encode([]).shape == (0, encoder.dimension)


@pytest.mark.parametrize("text", [None, "", " \n", "unheard of", "\ud800\x00", "\U0001f30a" * 5])
def test_text_without_a_known_word_is_zero(encoder: Encoder, text: str | None) -> None:
    assert not encoded(encoder, text).any()


def test_case_and_composition_make_no_difference(tmp_path: Path) -> None:
    fit([f"{text} café" for text in corpus()], folder_of(NAME, tmp_path), Choice())
    encoder = build(NAME, Choice(root=tmp_path))
    assert np.array_equal(*encoded(encoder, "CAFÉ", "cafe\u0301"))
    assert encoded(encoder, "café").any()


def test_vector_depends_on_no_neighbour(encoder: Encoder) -> None:
    texts = corpus(40)
    together = encoded(encoder, *texts)
    assert np.array_equal(together, encoded(encoder, *texts[::-1])[::-1])
    assert all(np.array_equal(row, encoded(encoder, text)[0]) for row, text in zip(together, texts, strict=True))


def test_megabytes_are_read_no_further_than_their_beginning(encoder: Encoder) -> None:
    assert len(encoder.prepare(Sample(text="sea " * 10**6))) <= 10_000
    assert np.array_equal(*encoded(encoder, "sea " * 2500, "sea " * 2500 + "goat " * 10**6))


def test_order_of_texts_does_not_matter(root: Path, tmp_path: Path, encoder: Encoder) -> None:
    other = tmp_path / "other"
    fit(iter(corpus()[::-1]), folder_of(NAME, other), Choice())
    again = build(NAME, Choice(root=other))
    assert again.version == encoder.version
    assert np.array_equal(encoded(again, "sea goat"), encoded(encoder, "sea goat"))


def test_other_texts_are_another_version(root: Path, encoder: Encoder) -> None:
    fit([*corpus(), "sea goat"], folder_of(NAME, root), Choice())
    assert build(NAME, Choice(root=root)).version != encoder.version
    assert len(list(folder_of(NAME, root).glob("*.safetensors"))) == 1


@pytest.mark.parametrize("texts", [corpus(LEAST_TEXTS - 1), [""] * 500, [f"only{number}" for number in range(500)]])
def test_too_few_texts_or_words_leave_no_state(tmp_path: Path, texts: list[str | None]) -> None:
    with pytest.raises(TooFewTextsError, match=r"^[^\n]+there are \d+"):
        fit(texts, folder_of(NAME, tmp_path), Choice())
    assert not list(tmp_path.iterdir())


def test_without_a_state_the_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^Encoder lsa-text has learned nothing yet: .*`flickcast encoders fit lsa-text` "
    ):
        build(NAME, Choice(root=tmp_path))


def swap_words(folder: Path) -> None:
    stored = json.loads((folder / "state.json").read_text())
    words = stored["facts"]["words"]
    words[0], words[1] = words[1], words[0]
    (folder / "state.json").write_text(json.dumps(stored))


def change_a_number(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    arrays = load_file(path)
    arrays["components"][0, 0] += 1
    save_file(arrays, path)


def take_arrays_away(folder: Path) -> None:
    next(folder.glob("*.safetensors")).unlink()


def cut_off(folder: Path) -> None:
    path = folder / "state.json"
    path.write_bytes(path.read_bytes()[:-20])


def write_a_list(folder: Path) -> None:
    (folder / "state.json").write_text("[1]")


def name_a_file_elsewhere(folder: Path) -> None:
    stored = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(stored | {"arrays": "../../../etc/passwd"}))


@pytest.mark.parametrize(
    "damage", [swap_words, change_a_number, take_arrays_away, cut_off, write_a_list, name_a_file_elsewhere]
)
def test_state_that_was_changed_is_refused(root: Path, damage) -> None:  # type: ignore[no-untyped-def]
    damage(folder_of(NAME, root))
    with pytest.raises(UserError, match="is not what `flickcast encoders fit lsa-text` wrote"):
        build(NAME, Choice(root=root))


def test_family_can_be_fitted() -> None:
    assert FAMILIES[NAME].facts["fit"] is fit
