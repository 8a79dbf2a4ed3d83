"""Canaries: what is kept, and what is refused with a sentence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flickcast.embeddings import canary, encoders
from flickcast.embeddings.protocol import Choice, Encoder, Kind, Sample, Vectors
from flickcast.errors import CheckError
from flickcast.params import EmbedParams

PARAMS = EmbedParams(encoder="flickcast-tiny")


class Turned:
    """Vectors of texts, turned by an angle."""

    name, dimension = "turned-text", 2
    reads: tuple[Kind, ...] = ("text",)
    shortest_edge = None

    def __init__(self, cosine: float = 1.0, version: str = "v1", length: float = 1.0) -> None:
        self.version = version
        self._vector = length * np.array([cosine, np.sqrt(1 - cosine**2)])

    def prepare(self, sample: Sample) -> Any:
        return sample.text

    def encode(self, prepared: Sequence[Any]) -> Vectors:
        return np.tile(self._vector, (len(prepared), 1)).astype(np.float32)


@pytest.fixture
def proven(tmp_path: Path) -> Choice:
    choice = Choice(root=tmp_path)
    canary.prove(Turned(), choice)
    return choice


def test_the_first_run_keeps_the_vectors_and_later_ones_compare(proven: Choice) -> None:
    path = proven.root / "encoders" / "canaries" / "turned-text.json"
    before = path.read_bytes()
    canary.prove(Turned(0.9995), proven)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "sick", [Turned(0.998), Turned(-1.0), Turned(float("nan")), Turned(1.0, length=1.1), Turned(1.0, length=0.0)]
)
def test_a_sick_device_is_refused_in_one_sentence_that_names_the_file(proven: Choice, sick: Encoder) -> None:
    with pytest.raises(CheckError, match=r"turned-text does not work as it should.*turned-text\.json") as error:
        canary.prove(sick, proven)
    assert "\n" not in str(error.value)


def test_another_number_type_may_differ_a_little_more(proven: Choice) -> None:
    short = Choice(root=proven.root, number_type="bfloat16")
    canary.prove(Turned(0.996, "v2"), short)
    with pytest.raises(CheckError, match=r"0\.999 is the least"):
        canary.prove(Turned(0.996, "v1"), proven)
    canary.prove(Turned(0.996, "v2"), short, may_write=False)
    canary.prove(Turned(1.0, "v1"), proven, may_write=False)


def test_another_number_type_that_differs_much_is_refused(proven: Choice) -> None:
    with pytest.raises(CheckError, match=r"0\.995 is the least"):
        canary.prove(Turned(0.99, "v2"), Choice(root=proven.root, number_type="bfloat16"))


def test_other_weights_are_measured_by_vectors_of_their_own(proven: Choice) -> None:
    canary.prove(Turned(0.5, "v2"), proven)
    canary.prove(Turned(0.5, "v2"), proven, may_write=False)
    with pytest.raises(CheckError, match="says nothing"):
        canary.prove(Turned(1.0, "v1"), proven, may_write=False)


class Weighted(Turned):
    """Has a file of weights, and settings."""

    def __init__(self, weights: str, settings: str = "") -> None:
        super().__init__(version=weights + settings)
        self.weights_sha256 = weights


@pytest.mark.parametrize("may_write", [True, False])
def test_other_files_under_the_same_name_are_refused_until_the_kept_vectors_are_deleted(
    tmp_path: Path, may_write: bool
) -> None:
    choice = Choice("openai", tmp_path)
    canary.prove(Weighted("a"), choice)
    with pytest.raises(
        CheckError, match=r"other weights here .*\(openai\).*delete encoders/canaries/turned-text\.json"
    ):
        canary.prove(Weighted("b"), choice, may_write=may_write)
    canary.prove(Weighted("a"), choice, may_write=False)
    (tmp_path / canary.FOLDER / "turned-text.json").unlink()
    canary.prove(Weighted("b"), choice)


def test_other_settings_and_another_choice_of_weights_are_accepted(tmp_path: Path) -> None:
    canary.prove(Weighted("a"), Choice("openai", tmp_path))
    canary.prove(Weighted("a", "resized otherwise"), Choice("openai", tmp_path))
    canary.prove(Weighted("b"), Choice("laion", tmp_path))
    kept = (tmp_path / canary.FOLDER / "turned-text.json").read_bytes()
    assert b"laion" in kept
    canary.prove(Weighted("b"), Choice("laion", tmp_path), may_write=False)
    assert (tmp_path / canary.FOLDER / "turned-text.json").read_bytes() == kept


def test_a_worker_refuses_an_encoder_that_nobody_has_proven(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="says nothing"):
        canary.prove(Turned(), Choice(root=tmp_path), may_write=False)
    assert not list(tmp_path.iterdir())


def test_a_worker_refuses_work_that_was_planned_for_another_version() -> None:
    canary.refuse_other_version(Turned(), "v1")
    with pytest.raises(CheckError, match="was planned for v0"):
        canary.refuse_other_version(Turned(), "v0")


def test_a_damaged_file_is_one_sentence(proven: Choice) -> None:
    (proven.root / "encoders" / "canaries" / "turned-text.json").write_text("{")
    with pytest.raises(CheckError, match="is damaged"):
        canary.prove(Turned(), proven)


@pytest.mark.parametrize("name", PARAMS.pair)
def test_the_packaged_encoder_is_proven_by_packaged_vectors(name: str, tmp_path: Path) -> None:
    encoder = encoders.load_encoder(name, PARAMS)
    canary.prove(encoder, encoders.choice_of(name, PARAMS, tmp_path), may_write=False)
    assert not list(tmp_path.iterdir()), "the packaged vectors are this version's: nothing was kept anew"


def test_a_packaged_encoder_that_sees_colours_swapped_is_refused(tmp_path: Path) -> None:
    class Swapped:
        def __init__(self, encoder: Encoder) -> None:
            self._encoder = encoder

        def __getattr__(self, name: str) -> Any:
            return getattr(self._encoder, name)

        def prepare(self, sample: Sample) -> Any:
            return self._encoder.prepare(sample).flip(0)

    name = PARAMS.pair[0]
    with pytest.raises(CheckError, match="preprocessing are wrong"):
        canary.prove(Swapped(encoders.load_encoder(name, PARAMS)), encoders.choice_of(name, PARAMS, tmp_path))


class Scored(Turned):
    """A score of about five for each text, and one that says more."""

    def __init__(self, off: float) -> None:
        super().__init__()
        self._off = off

    def encode(self, prepared: Sequence[Any]) -> Vectors:
        return np.array([[5 + self._off * row + 0.1 * row, 1.5] for row in range(len(prepared))], np.float32)


def test_scores_that_are_nearly_alike_for_all_are_compared_by_how_they_differ(tmp_path: Path) -> None:
    choice = Choice(root=tmp_path)
    canary.prove(Scored(0.0), choice)
    canary.prove(Scored(0.001), choice, may_write=False)
    made, stored = Scored(0.03).encode([1] * 5), Scored(0.0).encode([1] * 5)
    assert canary.cosines(made, stored).min() > canary.LEAST_COSINE
    with pytest.raises(CheckError, match="does not work as it should"):
        canary.prove(Scored(0.03), choice)
