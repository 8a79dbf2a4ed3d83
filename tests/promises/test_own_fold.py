"""No training post sees its own label, or one of its fold; what is not known yet is not looked at; nor test labels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from reducible import SETTINGS, reducible, settings
from table_rows import labels, posts, vectors

from flickcast import models
from flickcast.models.reductions import REDUCTIONS, Matrix, Training
from flickcast.models.reductions.target_encoding import TargetEncoding
from flickcast.params import TrainParams

LEARNT_FROM_LABELS = ("nearest", "target_encoding")
POISON = 1e9
Own = Callable[[pl.DataFrame], Matrix]


def own_columns(kind: str) -> Own:
    """How training rows look after a fit."""

    def columns(rows: pl.DataFrame) -> Matrix:
        found = REDUCTIONS[kind].fit(Training(rows, seed=0), "made", settings(kind))
        assert found is not None
        return found[1]

    return columns


def poisoned(rows: pl.DataFrame, which: np.ndarray) -> pl.DataFrame:
    return rows.with_columns(popularity=pl.when(pl.Series(which)).then(POISON).otherwise("popularity"))


def moved(columns: Own, rows: pl.DataFrame, which: np.ndarray) -> np.ndarray:
    """Which rows look otherwise, byte for byte, once the labels of some are poisoned."""
    before, after = columns(rows), columns(poisoned(rows, which))
    return np.array([a.tobytes() != b.tobytes() for a, b in zip(before, after, strict=True)])


def sees_its_fold(columns: Own, rows: pl.DataFrame, folds: np.ndarray) -> bool:
    """The check: poison each fold in turn; does any of its rows move?"""
    return any(moved(columns, rows, folds == fold)[folds == fold].any() for fold in np.unique(folds))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", LEARNT_FROM_LABELS)
def test_labels_of_the_own_fold_move_no_byte(kind: str, seed: int) -> None:
    rows = reducible(150, users=25, seed=seed)
    assert not sees_its_fold(own_columns(kind), rows, Training(rows, 0).folds(settings(kind).folds))


@pytest.mark.parametrize("kind", LEARNT_FROM_LABELS)
def test_the_own_label_moves_no_byte(kind: str) -> None:
    rows = reducible(150, users=25)
    for row in range(0, 150, 7):
        alone = np.arange(rows.height) == row
        assert not moved(own_columns(kind), rows, alone)[row]


@pytest.mark.parametrize("kind", LEARNT_FROM_LABELS)
def test_labels_of_other_folds_do_move_bytes(kind: str) -> None:
    rows = reducible(150, users=25)
    folds = Training(rows, 0).folds(settings(kind).folds)
    assert moved(own_columns(kind), rows, folds == 0)[folds != 0].any()


def test_a_planted_leak_is_caught() -> None:
    def leaking(rows: pl.DataFrame) -> Matrix:
        encoding = TargetEncoding.fit_all(rows, "made", settings("target_encoding"))
        assert encoding is not None
        return encoding.transform(rows)

    rows = reducible(150, users=25)
    assert sees_its_fold(leaking, rows, Training(rows, 0).folds(5))


def test_folds_torn_through_users_are_caught() -> None:
    """Posts of one user in different folds: the check, which poisons by user, must see it."""

    def torn(rows: pl.DataFrame) -> Matrix:
        own = rows.with_columns(user_id="post_id")
        return own_columns("target_encoding")(own)

    rows = reducible(150, users=25)
    assert sees_its_fold(torn, rows, Training(rows, 0).folds(5))


def test_a_user_is_in_one_fold_whatever_the_row_order() -> None:
    rows = reducible(150, users=25)
    order = np.random.default_rng(1).permutation(rows.height)
    folds = Training(rows, 0).folds(5)
    assert (folds[order] == Training(rows[order], 0).folds(5)).all()
    assert rows.with_columns(fold=folds).group_by("user_id").agg(pl.col("fold").n_unique())["fold"].max() == 1


@pytest.mark.parametrize("seed", range(6))
def test_neighbours_whose_label_was_not_known_yet_move_no_byte(seed: int) -> None:
    """A label known in the very microsecond of posting counts as not known: neither post could have seen it."""
    rows = reducible(150, users=25, seed=seed)
    for moment in (rows["posted_at"][40], rows["label_known_at"][60], rows["label_known_at"][100]):
        late = (rows["label_known_at"] >= moment).to_numpy()
        early = (rows["posted_at"] <= moment).to_numpy()
        assert not moved(own_columns("nearest"), rows, late)[early].any()
        as_new = _as_new_rows("nearest", rows)
        assert not moved(as_new, rows, late)[early].any()


def _as_new_rows(kind: str, rows: pl.DataFrame) -> Own:
    """How the same posts of strangers would look to a model of these rows."""
    strangers = rows.drop("popularity", "label_known_at").with_columns(user_id="stranger" + pl.col("user_id"))

    def columns(training: pl.DataFrame) -> Matrix:
        reduction = REDUCTIONS[kind].fit_all(Training(training, 0), "made", settings(kind))  # type: ignore[attr-defined]
        return reduction.transform(strangers)

    return columns


@pytest.mark.parametrize("clock", ["point_in_time", "transductive"])
def test_shuffled_test_labels_change_nothing_trained(clock: str, tmp_path: Path) -> None:
    rows = reducible(200, users=30)
    known = labels(
        *rows.select("post_id", "popularity", matured_at="label_known_at").iter_rows(named=True),
    )
    newest = known["post_id"] >= "p0160"
    shuffled = known["popularity"].filter(newest).shuffle(seed=1).to_list()
    other = pl.concat([known.filter(~newest), known.filter(newest).with_columns(popularity=pl.Series(shuffled))])
    trained(rows, known, clock, tmp_path / "one")
    trained(rows, other, clock, tmp_path / "other")
    assert contents(tmp_path / "one" / "holdout") == contents(tmp_path / "other" / "holdout")
    assert contents(tmp_path / "one" / "final") != contents(tmp_path / "other" / "final")


@pytest.mark.parametrize(("clock", "alike"), [("point_in_time", True), ("transductive", False)])
def test_posts_without_label_are_learnt_from_by_the_transductive_clock_alone(
    clock: str, alike: bool, tmp_path: Path
) -> None:
    rows = reducible(200, users=30)
    known = labels(*rows[:120].select("post_id", "popularity", matured_at="label_known_at").iter_rows(named=True))
    trained(rows, known, clock, tmp_path / "one")
    trained(rows[:150], known, clock, tmp_path / "other")
    assert (contents(tmp_path / "one" / "final") == contents(tmp_path / "other" / "final")) == alike


def trained(rows: pl.DataFrame, known: pl.DataFrame, clock: str, folder: Path) -> None:
    """Models of a recipe with every kind of reduction."""
    matrix = rows.select("post_id", "category", "subcategory", "country", "log_followers")
    kinds = {"category": "category", "subcategory": "category", "country": "category", "log_followers": "number"}
    manifest = {name: {"group": "some", "kind": kind, "clock": clock} for name, kind in kinds.items()}
    table = posts(
        *(
            {"title": row.pop("words"), **row}
            for row in rows.select(
                "post_id", "user_id", "posted_at", "words", "tags", "latitude", "longitude"
            ).iter_rows(named=True)
        )
    )
    pictures = vectors(*rows.select("post_id", "picture", "text").iter_rows(named=True))
    recipe = {
        "folds": 2,
        "rare_below": 2,
        "fusion": "mean",
        "band": 0.8,
        "reductions": {kind: {"kind": kind, **entry} for kind, entry in SETTINGS.items()},
        "learners": {"lightgbm": {"max_iterations": 10, "min_child_samples": 5}},
    }
    models.train(matrix, manifest, table, pictures, known, recipe, TrainParams(threads=1), 0, folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
