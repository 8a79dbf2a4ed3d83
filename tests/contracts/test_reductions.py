"""What every reduction owes: the same numbers each time, in any row order, after a restart; no ids, no infinities."""

import json

import numpy as np
import polars as pl
import pytest
from reducible import MANIFEST, fitted, reducible, settings
from safetensors.numpy import load, save

from flickcast.models.reductions import REDUCTIONS, Training, without_labels

ROWS = reducible()
ALWAYS_THERE = {"age"}  # made of the moment of posting, which every post has
NEW = without_labels(reducible(90, users=60, seed=1)).with_columns(
    pl.col("posted_at", "known_at").dt.offset_by("40d"), post_id="n" + pl.col("post_id")
)


@pytest.fixture(params=sorted(REDUCTIONS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_columns_are_named_and_finite_or_missing(kind: str) -> None:
    reduction, own = fitted(kind, ROWS)
    for columns, rows in ((own, ROWS), (reduction.transform(NEW), NEW)):
        assert columns.shape == (rows.height, len(reduction.names))
        assert columns.dtype == np.float32
        assert not np.isinf(columns).any()
        assert np.isfinite(columns).any(axis=0).all()
    assert len(set(reduction.names)) == len(reduction.names)
    assert all(name.startswith("made") for name in reduction.names)


def test_same_seed_gives_the_same_bytes(kind: str) -> None:
    (first, own), (second, again) = fitted(kind, ROWS), fitted(kind, ROWS)
    assert own.tobytes() == again.tobytes()
    assert {name: array.tobytes() for name, array in first.arrays().items()} == {
        name: array.tobytes() for name, array in second.arrays().items()
    }


def test_row_order_changes_nothing(kind: str) -> None:
    order = np.random.default_rng(3).permutation(ROWS.height)
    (first, own), (second, shuffled) = fitted(kind, ROWS), fitted(kind, ROWS[order])
    np.testing.assert_allclose(own[order], shuffled, atol=1e-4)
    np.testing.assert_allclose(first.transform(NEW)[::-1], second.transform(NEW.reverse()), atol=1e-4)


def test_ids_in_another_order_change_nothing(kind: str) -> None:
    """The order of post ids leaks the label in the challenge's files, that of user ids who joined when.

    Which users share a fold does depend on their ids, so the training rows' own columns are not compared.
    """
    other = {
        "post_id": (9999 - pl.col("post_id").str.slice(1).cast(pl.Int64)).cast(pl.String),
        "user_id": "v" + (999 - pl.col("user_id").str.slice(1).cast(pl.Int64)).cast(pl.String),
    }
    new = NEW.with_columns(post_id=pl.col("post_id").str.slice(1))
    first, second = fitted(kind, ROWS)[0], fitted(kind, ROWS.with_columns(**other))[0]
    np.testing.assert_allclose(first.transform(new), second.transform(new.with_columns(**other)), atol=1e-4)


def test_other_rows_do_not_change_a_row(kind: str) -> None:
    reduction, _ = fitted(kind, ROWS)
    np.testing.assert_allclose(reduction.transform(NEW)[20:30], reduction.transform(NEW[20:30]), atol=1e-5)


def test_rows_that_no_learner_reads_change_nothing_for_those_that_one_does(kind: str) -> None:
    """Also where a whole fold has none that is read."""
    folds = Training(ROWS, 0).folds(5)
    read = (np.arange(ROWS.height) >= 100) & (folds != 2)
    how = settings(kind)
    whole, part = (
        REDUCTIONS[kind].fit(Training(ROWS, 0, manifest=MANIFEST, read=one), "made", how) for one in (None, read)
    )
    assert whole is not None
    assert part is not None
    np.testing.assert_array_equal(whole[1][read], part[1][read])
    assert whole[0].transform(NEW).tobytes() == part[0].transform(NEW).tobytes()


def test_saved_and_restored_is_the_same(kind: str) -> None:
    reduction, _ = fitted(kind, ROWS)
    stored = save({name: np.ascontiguousarray(array) for name, array in reduction.arrays().items()})
    restored = REDUCTIONS[kind].restore("made", json.loads(json.dumps(reduction.facts())), load(stored))
    assert restored.names == reduction.names
    assert restored.transform(NEW).tobytes() == reduction.transform(NEW).tobytes()
    again = save({name: np.ascontiguousarray(array) for name, array in restored.arrays().items()})
    assert (restored.facts(), again) == (reduction.facts(), stored), "a foreign model is refused unless written alike"


def test_no_input_is_left_out(kind: str) -> None:
    none = ROWS.with_columns(
        pl.lit(None, ROWS.schema[name]).alias(name)
        for name in ("picture", "text", "tags", "words", "category", "subcategory", "country", "latitude", "longitude")
    ).drop("log_followers")
    none = none.with_columns(posted_at=pl.lit(None, ROWS.schema["posted_at"])) if kind in ALWAYS_THERE else none
    assert REDUCTIONS[kind].fit(Training(none, 0, manifest=MANIFEST), "made", settings(kind)) is None


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_rows_are_left_out_or_finite(kind: str, count: int) -> None:
    found = REDUCTIONS[kind].fit(Training(ROWS[1 : 1 + count], 0, manifest=MANIFEST), "made", settings(kind))
    if found is not None:
        reduction, own = found
        assert own.shape == (count, len(reduction.names))
        assert not np.isinf(np.concatenate([own, reduction.transform(NEW)])).any()


def test_rows_all_alike_give_nothing_infinite(kind: str) -> None:
    alike = pl.concat([ROWS[1:2]] * 30).with_columns(
        post_id=pl.Series([f"p{n}" for n in range(30)]), user_id=pl.Series([f"u{n % 6}" for n in range(30)])
    )
    found = REDUCTIONS[kind].fit(Training(alike, 0, manifest=MANIFEST), "made", settings(kind))
    assert found is None or not np.isinf(np.concatenate([found[1], found[0].transform(NEW)])).any()


def test_new_rows_without_any_input_are_missing(kind: str) -> None:
    reduction, _ = fitted(kind, ROWS)
    bare = NEW.select("post_id", "posted_at", "known_at", user_id=pl.lit("stranger")).with_columns(
        pl.lit(None, ROWS.schema[name]).alias(name) for name in ("words", "tags", "latitude", "longitude")
    )
    columns = reduction.transform(bare)
    assert kind in ALWAYS_THERE or (np.isnan(columns) | (columns == 0)).all()


def test_no_new_rows_give_no_columns(kind: str) -> None:
    reduction, _ = fitted(kind, ROWS)
    assert reduction.transform(NEW.clear()).shape == (0, len(reduction.names))


def test_labels_of_new_rows_are_not_looked_at(kind: str) -> None:
    reduction, _ = fitted(kind, ROWS)
    told = NEW.with_columns(popularity=pl.lit(1e9), label_known_at=pl.col("posted_at"))
    assert reduction.transform(told).tobytes() == reduction.transform(NEW).tobytes()
