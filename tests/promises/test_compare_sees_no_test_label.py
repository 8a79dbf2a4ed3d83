"""No row of a comparison sees a test label: shuffle them where they are stored, and nothing it is given moves."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from comparable import comparable, corpus, with_labels_of

from flickcast.stages.comparing import compare_recipes
from flickcast.stages.contest import Contest
from flickcast.stages.fold_rows import FoldRows, fold_rows
from flickcast.workspace import Workspace, set_params

FOLD = 0
Pair = tuple[Workspace, Workspace]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("labels") / "corpus")


def shuffled(files: Path, folder: Path, split: str, *, tested: bool, clock: str = "point_in_time") -> Pair:
    """The same workspace twice; in the second the labels of one fold's tested (or training) posts are shuffled."""
    one, other = (Workspace(comparable(folder / name, files).root) for name in ("one", "other"))
    is_tested = pl.col("fold").eq_missing(FOLD)
    chosen = Contest(one, split).folds.filter(is_tested if tested else ~is_tested).select("post_id")
    labels = chosen.join(one.read("imported_labels"), on="post_id").sort("post_id")
    for ws in (one, other):
        set_params(ws.root / "params.yaml", {"features.clock": clock})
    other = with_labels_of(Workspace(other.root), labels.with_columns(pl.col("popularity").shuffle(seed=1)))
    return with_labels_of(Workspace(one.root), labels), other


def parts_of(rows: FoldRows) -> dict[str, pl.DataFrame]:
    """All frames that a recipe or a reference can be given."""
    context = pl.DataFrame() if rows.context is None else rows.context
    names = ("matrix", "posts", "users", "vectors", "training", "pool", "tested_matrix")
    return {"context": context, **{name: getattr(rows, name) for name in names}}


@pytest.mark.parametrize(
    ("split", "clock"),
    [("time", "point_in_time"), ("user", "point_in_time"), ("random", "point_in_time"), ("user", "transductive")],
)
def test_shuffled_test_labels_change_nothing_that_a_row_is_given(
    split: str, clock: str, files: Path, tmp_path: Path
) -> None:
    """Features that read labels are in the workspace's matrix with all of them; a fold has to make them anew."""
    one, other = shuffled(files, tmp_path, split, tested=True, clock=clock)
    assert not one.read("features").equals(other.read("features")), "the shuffle must be visible in the stored matrix"
    first, second = (parts_of(fold_rows(ws, Contest(ws, split).folds, FOLD)) for ws in (one, other))
    assert {name: part.equals(second[name]) for name, part in first.items()} == dict.fromkeys(first, True)
    assert first["training"]["popularity"].n_unique() > 20
    assert not any({"popularity", "label_known_at"} & set(first[name].columns) for name in first if name != "training")
    assert first["context"].is_empty() == (clock == "point_in_time")


def said(ws: Workspace, rows: list[str], **options: Any) -> pl.DataFrame:
    """What each row says of the tested posts."""
    told: list[Any] = []
    compare_recipes(ws, rows, "time", rounds=2, shown=lambda *what: told.append(what[2]), **options)
    return told[-1].drop("popularity", "oracle")


@pytest.mark.slow
def test_shuffled_test_labels_change_no_prediction(files: Path, tmp_path: Path) -> None:
    one, other = shuffled(files, tmp_path, "time", tested=True)
    first, second = said(one, ["champion"]), said(other, ["champion"])
    assert {"champion", "ridge", "user_mean", "lightgbm default, raw columns"} <= set(first.columns)
    assert first.height > 20
    assert first.equals(second)


@pytest.mark.slow
def test_training_labels_do_change_predictions(files: Path, tmp_path: Path) -> None:
    """The check can fail: the same shuffle among training posts moves what is said of the tested ones."""
    one, other = shuffled(files, tmp_path, "time", tested=False)
    first, second = (said(ws, ["lightgbm"], references=False)["lightgbm"] for ws in (one, other))
    assert not first.equals(second)
