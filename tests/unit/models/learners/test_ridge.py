"""Ridge against scikit-learn's, and the columns that both read."""

from dataclasses import replace

import numpy as np
import pytest
from planted import planted, without
from sklearn.linear_model import Ridge as Oracle

from flickcast.errors import LeftOutError
from flickcast.models.design import Design
from flickcast.models.learners.columns import Columns
from flickcast.models.learners.ridge import Ridge, RidgeSettings

ROWS = 300
DESIGN, TARGET = planted(ROWS)
PENALTIES = np.geomspace(100, 1e-4, 25)


@pytest.mark.parametrize("iteration", [1, 12, 25])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_is_the_regression_of_scikit_learn(iteration: int, is_weighted: bool) -> None:
    weights = np.random.default_rng(0).uniform(0.1, 3, ROWS) if is_weighted else np.ones(ROWS)
    columns = np.concatenate(list(Columns.fit(DESIGN).parts(DESIGN)))
    oracle = Oracle(alpha=PENALTIES[iteration - 1] * weights.sum()).fit(columns, TARGET, weights)
    fitted = Ridge.fit(
        DESIGN,
        TARGET,
        settings=RidgeSettings(),
        seed=0,
        threads=1,
        iterations=iteration,
        weights=weights if is_weighted else None,
    )
    np.testing.assert_allclose(fitted.predict(DESIGN), oracle.predict(columns), atol=1e-8)


def test_takes_the_penalty_that_errs_least_on_the_validation_rows() -> None:
    held, label = planted(200, seed=5)
    how = {"settings": RidgeSettings(), "seed": 0, "threads": 1}
    chosen = Ridge.fit(DESIGN, TARGET, validation=(held, label), **how)
    errors = [
        np.abs(Ridge.fit(DESIGN, TARGET, iterations=number, **how).predict(held) - label).mean()
        for number in range(1, 26)
    ]
    assert chosen.iterations == 1 + int(np.argmin(errors))


def test_reads_the_vectors_that_it_is_told_to() -> None:
    how = {"seed": 0, "threads": 1, "iterations": 20}
    fitted = Ridge.fit(DESIGN, TARGET, settings=RidgeSettings(vectors=["text", "absent"]), **how)
    assert set(fitted.importances()) == {"signal", "noise", "kind", "text"}
    np.testing.assert_array_equal(fitted.predict(replace(DESIGN, texts={})), fitted.predict(DESIGN))


def test_reads_the_numbers_that_it_is_told_to_and_nothing_else() -> None:
    how = {"seed": 0, "threads": 1, "iterations": 25}
    wanted = [DESIGN.number_names[1], "absent", DESIGN.number_names[0]]
    fitted = Ridge.fit(DESIGN, TARGET, settings=RidgeSettings(columns=wanted), **how)
    assert set(fitted.importances()) == {DESIGN.number_names[1], DESIGN.number_names[0]}
    named = dict(zip(DESIGN.number_names, DESIGN.numbers.T, strict=True))
    alone = Design(
        np.column_stack([named[name] for name in fitted.columns.names]),
        np.empty((ROWS, 0), np.int32),
        fitted.columns.names,
        [],
    )
    other = Ridge.fit(alone, TARGET, settings=RidgeSettings(), **how)
    np.testing.assert_array_equal(fitted.predict(DESIGN), other.predict(alone))
    loaded = Ridge.from_bytes(fitted.to_bytes())
    np.testing.assert_array_equal(fitted.predict(DESIGN), loaded.predict(DESIGN))
    with pytest.raises(LeftOutError, match="none of the columns that it reads"):
        Ridge.fit(DESIGN, TARGET, settings=RidgeSettings(columns=["absent"]), **how)


def test_columns_are_standardised_numbers_holes_and_one_per_category() -> None:
    design = Design(
        np.array([[1, 7, np.nan], [3, 7, np.nan], [np.nan, 7, np.nan]], np.float32),
        np.array([[-1], [1], [0]], np.int32),
        ["a", "constant", "absent"],
        ["kind"],
        {"v": np.array([[2.0], [4.0], [np.nan]], np.float32)},
    )
    columns = Columns.fit(design)
    assert columns.owners() == ["a", "constant", "absent", "v", "a", "v", "kind", "kind", "kind"]
    found = np.concatenate(list(columns.parts(design)))
    assert found.tolist() == [
        [-1, 0, 0, -1, 0, 0, 1, 0, 0],
        [1, 0, 0, 1, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 1, 0, 1, 0],
    ]
    unseen = Design(np.full((1, 3), 1e30, np.float32), np.array([[9]], np.int32), design.number_names, ["kind"])
    assert np.concatenate(list(columns.parts(unseen))).tolist() == [[10, 0, 0, 0, 0, 1, 0, 0, 0]]


def test_nothing_to_read_gives_the_mean() -> None:
    bare = without(DESIGN, "numbers", "codes", "vectors")
    fitted = Ridge.fit(bare, TARGET, settings=RidgeSettings(), seed=0, threads=1)
    np.testing.assert_allclose(fitted.predict(bare), TARGET.mean())
