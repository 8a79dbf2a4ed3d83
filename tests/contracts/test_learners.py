"""What every learner owes: seed, save and load, row order, and better than the mean on a planted signal."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flickcast.models.design import Design
from flickcast.models.learners import LEARNERS, Learner

ROWS = 400


def planted(rows: int = ROWS, seed: int = 0) -> tuple[Design, NDArray[np.float64]]:
    """A number and a category that carry the label, a number that does not, and holes in both."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(rows, 2)).astype(np.float32)
    codes = random.integers(-1, 4, (rows, 1)).astype(np.int32)
    target = 2.0 * numbers[:, 0] + codes[:, 0] + random.normal(0, 0.3, rows)
    numbers[random.random(rows) < 0.05, 1] = np.nan
    return Design(numbers, codes, ["signal", "noise"], ["kind"]), target


DESIGN, TARGET = planted()


@pytest.fixture(params=sorted(LEARNERS))
def learner(request: pytest.FixtureRequest) -> type[Learner]:
    return LEARNERS[request.param]


def fit(learner: type[Learner], seed: int = 0, **how: Any) -> Learner:
    how = {"iterations": 60, **how}
    return learner.fit(DESIGN, TARGET, settings=learner.settings(), seed=seed, threads=1, **how)


def test_same_seed_gives_same_bytes(learner: type[Learner]) -> None:
    assert fit(learner).to_bytes() == fit(learner).to_bytes()


def test_other_seed_gives_another_model(learner: type[Learner]) -> None:
    assert fit(learner).to_bytes() != fit(learner, seed=1).to_bytes()


def test_loaded_learner_predicts_the_same(learner: type[Learner]) -> None:
    fitted = fit(learner)
    loaded = learner.from_bytes(fitted.to_bytes())
    np.testing.assert_array_equal(fitted.predict(DESIGN), loaded.predict(DESIGN))


def test_prediction_of_a_row_does_not_depend_on_the_others(learner: type[Learner]) -> None:
    fitted = fit(learner)
    order = np.random.default_rng(1).permutation(ROWS)
    shuffled = Design(DESIGN.numbers[order], DESIGN.codes[order], DESIGN.number_names, DESIGN.category_names)
    np.testing.assert_array_equal(fitted.predict(DESIGN)[order], fitted.predict(shuffled))


def test_beats_the_mean_on_a_planted_signal(learner: type[Learner]) -> None:
    held, label = planted(seed=1)
    error = np.abs(label - fit(learner).predict(held)).mean()
    assert error < 0.5 * np.abs(label - TARGET.mean()).mean()


def test_stops_early_by_the_validation_rows(learner: type[Learner]) -> None:
    held, label = planted(seed=1)
    noise = np.random.default_rng(2).permutation(label)  # nothing to learn: the first rounds are the best
    assert fit(learner, iterations=None, validation=(held, noise)).iterations < 50


def test_importances_tell_signal_from_noise_and_add_up(learner: type[Learner]) -> None:
    shares = fit(learner).importances()
    assert set(shares) == {"signal", "noise", "kind"}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["noise"] < 0.1 * min(shares["signal"], shares["kind"])


def test_bears_missing_and_unseen_values(learner: type[Learner]) -> None:
    unseen = Design(
        np.full((2, 2), np.nan, np.float32), np.array([[-1], [99]], np.int32), ["signal", "noise"], ["kind"]
    )
    assert np.isfinite(fit(learner).predict(unseen)).all()
