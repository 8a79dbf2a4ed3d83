"""The packaged encoder reads the simulated world; where it fails after a change there, train it again (scripts/)."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flickcast.embeddings
from flickcast.embeddings.encoders import load_encoder
from flickcast.embeddings.protocol import Sample, Vectors
from flickcast.embeddings.step import prompt
from flickcast.params import EmbedParams
from flickcast.simulate.pictures import Appearance, render
from flickcast.simulate.text import CONCEPTS, SUBCATEGORIES

SHOWN = range(0, len(CONCEPTS), 4)
LIGHT = np.random.default_rng(99).uniform(0, 1, (len(SHOWN), 3))


def appearance(concept: int, light: list[float]) -> Appearance:
    subcategory = CONCEPTS[concept][0]
    return Appearance(SUBCATEGORIES[subcategory][0], subcategory, concept, *light, seed=10**12 + concept)


PARAMS = EmbedParams(encoder="flickcast-tiny")


@pytest.fixture(scope="module")
def seen() -> Vectors:
    encoder = load_encoder("flickcast-tiny-picture", PARAMS)
    pictures = [render(appearance(concept, light)) for concept, light in zip(SHOWN, LIGHT.tolist(), strict=True)]
    return encoder.encode([encoder.prepare(Sample(picture=Image.open(io.BytesIO(one)))) for one in pictures])


def read(texts: list[str]) -> Vectors:
    encoder = load_encoder("flickcast-tiny-text", PARAMS)
    return encoder.encode([encoder.prepare(Sample(text=text)) for text in texts])


def test_unseen_pictures_lie_next_to_their_words(seen: Vectors) -> None:
    words = read([prompt(word, [word]) for _, word in CONCEPTS])
    best = np.argsort(-seen @ words.T, axis=1)[:, :5]
    assert np.mean((best == np.array(SHOWN)[:, None]).any(axis=1)) > 0.8  # chance is 5 of 447


def test_words_among_others_are_still_read(seen: Vectors) -> None:
    said = read([prompt(f"My old {CONCEPTS[i][1]}", [CONCEPTS[i][1], "canon", "lake"]) for i in SHOWN])
    own, others = (seen * said).sum(axis=1), (seen * np.roll(said, 7, axis=0)).sum(axis=1)
    assert np.mean(own > others) > 0.9


def test_light_can_be_read_from_the_vectors(seen: Vectors) -> None:
    known = np.c_[seen, np.ones(len(seen))]
    weights, *_ = np.linalg.lstsq(known[::2], LIGHT[::2], rcond=1e-2)
    guessed = known[1::2] @ weights
    brightness = np.corrcoef(guessed[:, 0], LIGHT[1::2, 0])[0, 1]
    assert brightness > 0.5


def test_weights_are_a_few_megabytes() -> None:
    files = (Path(flickcast.embeddings.__file__).parent / "weights").iterdir()
    assert sum(path.stat().st_size for path in files) < 6_000_000
