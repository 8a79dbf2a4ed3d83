"""What every learner owes: seed, save and load, row order, and better than the mean on a planted signal."""

from typing import Any

import numpy as np
import pytest
from autogluon_here import skip_without_autogluon
from planted import planted, without

from flickcast.errors import LeftOutError
from flickcast.models.contributions import BASE, of_learner
from flickcast.models.design import Design
from flickcast.models.learners import LEARNERS, NEVER_SAVED, Learner

ROWS = 400
DESIGN, TARGET = planted(ROWS)
PARTS = ("numbers", "codes", "vectors", "texts")
# Numbers that learn from 400 rows in seconds, where a learner's own are made for many more.
QUICK: dict[str, dict[str, Any]] = {
    "autoencoder": {"batch_size": 64, "first_passes": 20, "first_batch_size": 64, "code": 32},
    "ding": {"learning_rate": 0.003, "decay_per_pass": 1.0, "batch_size": 64, "vector_width": 16, "joint_width": 16},
    "tabm": {"members": 3, "width": 48},
    "ppcl": {"width": 32, "bottleneck": 16, "embedding": 8, "batch_size": 200},
    "autogluon": {"time_limit": 20, "presets": "medium_quality", "included_model_types": ["GBM"]},
}
SEEDLESS = {"ridge"}


SLOW = {"autogluon"}  # its Python starts anew for each fit and each prediction


@pytest.fixture(params=[pytest.param(one, marks=[pytest.mark.slow] * (one in SLOW)) for one in sorted(LEARNERS)])
def name(request: pytest.FixtureRequest) -> str:
    if request.param == "autogluon":
        skip_without_autogluon()
    return str(request.param)


@pytest.fixture
def saved(name: str) -> str:
    if name in NEVER_SAVED:
        pytest.skip(f"{name} has no stored form that holds data alone")
    return name


def fit(name: str, seed: int = 0, design: Design = DESIGN, target: Any = TARGET, **how: Any) -> Learner:
    how = {"iterations": 60, **how}
    learner = LEARNERS[name]
    settings = learner.settings(**QUICK.get(name, {}))
    return learner.fit(design, target, settings=settings, seed=seed, threads=1, **how)


def test_same_seed_gives_same_bytes(saved: str) -> None:
    assert fit(saved).to_bytes() == fit(saved).to_bytes()


def test_other_seed_gives_another_model(saved: str) -> None:
    assert (fit(saved).to_bytes() == fit(saved, seed=1).to_bytes()) == (saved in SEEDLESS)


def test_loaded_learner_is_the_saved_one(saved: str) -> None:
    fitted = fit(saved)
    loaded = LEARNERS[saved].from_bytes(fitted.to_bytes())
    np.testing.assert_array_equal(fitted.predict(DESIGN), loaded.predict(DESIGN))
    assert (loaded.iterations, loaded.importances()) == (fitted.iterations, fitted.importances())
    assert loaded.to_bytes() == fitted.to_bytes(), "a foreign model is refused unless it is written alike"


def test_prediction_of_a_row_does_not_depend_on_the_others(name: str) -> None:
    fitted, said = fit(name), fit(name).predict(DESIGN)
    order = np.random.default_rng(1).permutation(ROWS)
    np.testing.assert_array_equal(fitted.predict(DESIGN.take(order)), said[order])
    np.testing.assert_array_equal(fitted.predict(DESIGN.take(np.array([7]))), said[7:8])


def test_beats_the_mean_on_a_planted_signal(name: str) -> None:
    held, label = planted(seed=1)
    error = np.abs(label - fit(name).predict(held)).mean()
    assert error < 0.5 * np.abs(label - TARGET.mean()).mean()


def test_stops_early_by_the_validation_rows(name: str) -> None:
    held, label = planted(seed=1)
    noise = np.random.default_rng(2).permutation(label)  # nothing to learn: the first rounds are the best
    assert fit(name, iterations=None, validation=(held, noise)).iterations < 50


def test_importances_tell_signal_from_noise_and_add_up(name: str) -> None:
    shares = fit(name).importances()
    assert set(shares) <= set(DESIGN.names)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares.pop("noise", 0) < 0.15 * max(shares.values())  # networks make something of it in 400 rows


def test_contributions_add_up_to_the_prediction_and_leave_noise_alone(name: str) -> None:
    some, fitted = DESIGN.take(np.arange(6)), fit(name)
    found = of_learner(fitted, some, orders=2)
    assert set(found) <= {BASE, *DESIGN.names}
    np.testing.assert_allclose(np.sum(list(found.values()), axis=0), fitted.predict(some), atol=1e-6)
    mean = {key: np.abs(values).mean() for key, values in found.items() if key != BASE}
    assert mean.pop("noise", 0) < 0.25 * max(mean.values())


def test_rows_of_little_weight_teach_little(name: str) -> None:
    held, label = planted(seed=1)
    poisoned, weights = TARGET.copy(), np.ones(ROWS)
    poisoned[::4], weights[::4] = 40.0, 1e-6
    fitted = fit(name, target=poisoned, weights=weights)
    assert np.abs(label - fitted.predict(held)).mean() < np.abs(label - TARGET.mean()).mean()


def test_bears_missing_and_unseen_values(name: str) -> None:
    holes = {key: np.full((2, values.shape[1]), np.nan, np.float32) for key, values in DESIGN.vectors.items()}
    numbers, codes = np.full((2, 2), np.nan, np.float32), np.array([[-1], [99]], np.int32)
    texts = {"words": ["", "never heard"], "title": ["", "never heard"]}
    users = np.array([0, 1], np.int32)
    unseen = Design(numbers, codes, ["signal", "noise"], ["kind"], holes, texts, users)
    assert np.isfinite(fit(name).predict(unseen)).all()


def said_or_why(name: str, design: Design, **how: Any) -> np.ndarray | None:
    """Of the rows that it learnt from; None where it tells in a sentence why it takes no part."""
    try:
        return fit(name, design=design, **{"iterations": 3, **how}).predict(design)
    except LeftOutError as reason:
        assert str(reason).strip()  # noqa: PT017
        return None


@pytest.mark.parametrize("missing", [*((part,) for part in PARTS), PARTS])
def test_missing_parts_give_a_model_or_one_sentence(name: str, missing: tuple[str, ...]) -> None:
    said = said_or_why(name, without(DESIGN, *missing))
    assert said is None or np.isfinite(said).all()


@pytest.mark.parametrize("rows", [8, 10])
def test_few_rows_with_a_constant_column_and_one_user_give_a_model(name: str, rows: int) -> None:
    design = DESIGN.take(np.arange(rows))
    design.numbers[:, 1] = 3.3
    alone = Design(**{**vars(design), "users": np.zeros(rows, np.int32)})
    held = DESIGN.take(np.arange(rows, rows + 2))
    fitted = fit(name, design=alone, target=TARGET[:rows], iterations=None, validation=(held, TARGET[rows : rows + 2]))
    assert np.isfinite(fitted.predict(DESIGN)).all()
    assert fitted.iterations >= 1


def test_rows_that_are_all_equal_give_a_model_or_one_sentence(name: str) -> None:
    said = said_or_why(name, DESIGN.take(np.zeros(ROWS, np.int64)))
    assert said is None or np.isfinite(said).all()
    assert said is None or np.ptp(said) < 1e-6


def test_equal_labels_give_about_that_label_or_one_sentence(name: str) -> None:
    target = np.full(ROWS, 6.1)
    said = said_or_why(name, DESIGN, target=target, iterations=None, validation=(DESIGN, target))
    if said is not None:
        np.testing.assert_allclose(said, target, atol=1.5)
