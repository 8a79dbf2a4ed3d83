"""benchmarks/recipes.py: its tables say what was compared, and its workspaces hold what they should."""

from argparse import Namespace
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from judgeable import judgeable
from scipy.stats import spearmanr

from flickcast.comparison import Comparison, Entry, Run, compared
from flickcast.models.references import simple_columns

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("recipe_tables")


def comparison(errors: Mapping[str, float], folds: int = 1) -> Comparison:
    """Rows that are wrong by so much, up and down in turns, of labels 1, 2, ..., 40."""
    label = np.arange(1.0, 41.0)
    turns = np.where(np.arange(40) % 2 == 0, 1, -1)
    entries = [
        Entry(
            name,
            "recipe" if name == "champion" else "reference",
            [Run(fold, 0, label + error * turns, fit_seconds=1234.4, peak_bytes=2**20) for fold in range(folds)],
        )
        for name, error in errors.items()
    ]
    return compared("time", entries, dict.fromkeys(range(folds), label), facts={"folds": folds})


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_rows_come_from_the_worst_to_the_best_with_intervals_and_costs(tables: ModuleType) -> None:
    head, rule, first, second = cells(tables.rows_table(comparison({"champion": 0.5, "ridge": 2.0})))
    assert len(head) == len(rule) == len(first)
    assert (first[0], second[0]) == ("ridge", "champion")
    assert second[2] == "0.500 [0.500, 0.500]"
    assert second[-3:] == ["1,234", "0.0", "1"]


def test_several_folds_show_their_spread_and_further_columns_stand_before_the_costs(tables: ModuleType) -> None:
    found = comparison({"champion": 0.5}, folds=3)
    head, _, row = cells(tables.rows_table(found, {"known": {"champion": "0.4"}}))
    assert row[2] == "0.500 ± 0.000"
    assert row[head.index("known")] == "0.4"


def test_what_rows_leave_out_is_told_once_with_their_names(tables: ModuleType) -> None:
    rows = [
        {"row": "fame", "note": "fame leaves out x."},
        {"row": "ridge", "note": "Failed."},
        {"row": "b", "note": ""},
    ]
    assert tables.notes_of(Comparison("time", rows)) == "- fame leaves out x.\n- ridge: Failed.\n"


def test_the_champions_differences_are_bold_where_clear_of_zero(tables: ModuleType) -> None:
    _, _, worse, equal = cells(tables.tests_table(comparison({"champion": 0.5, "ridge": 2.0, "other": 0.5})))
    assert worse[0] == "ridge"
    assert worse[2] == "**-1.500 [-1.500, -1.500]**"
    assert equal[2] == "+0.000 [+0.000, +0.000]"


def test_the_lead_is_told_in_percent_of_the_others_error(tables: ModuleType) -> None:
    said = tables.goals(comparison({"champion": 0.5, tables.LIGHTGBM: 2.0, "oracle": 0.4}))
    label, turns = np.arange(1.0, 41.0), np.where(np.arange(40) % 2 == 0, 1, -1)
    lead = spearmanr(label, label + 0.5 * turns).statistic - spearmanr(label, label + 2 * turns).statistic
    assert f"75.0 % in MAE and {lead:+.3f} in SRC to {tables.LIGHTGBM}; -25.0 % in MAE" in said
    assert tables.goals(comparison({"ridge": 1.0})) == ""


@pytest.mark.slow
def test_it_compares_as_the_product_does_and_knows_users_with_a_post_to_learn_from(
    tables: ModuleType, tmp_path: Path
) -> None:
    """In the made-up posts every fifth of the last 100 is by a user without another one."""
    ws = judgeable(tmp_path / "workspace")
    given = Namespace(only=["champion"], autogluon_seconds=0)
    found, said = import_module("recipes").compare(ws, "time", given)
    errors = {row["row"]: row["mae"] for row in found.rows}
    assert {"champion", "user_mean", tables.LIGHTGBM} <= errors.keys()
    assert errors["ridge"] < errors["global_mean"]  # with no users held for its penalty it took the weakest one
    is_new = pl.col("post_id").str.slice(1).cast(pl.Int32) % 5 == 0
    wrong = pl.col("popularity") + pl.when(is_new).then(100).otherwise(1)
    assert tables.known_users(ws, said.with_columns(champion=wrong))["champion"] == pytest.approx(1)
    assert tables.known_users(ws, said).keys() == set(said.columns[3:])


@pytest.mark.slow
@pytest.mark.real_data
def test_the_real_workspace_has_all_posts_and_simple_columns(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tables: ModuleType
) -> None:
    recipes: Any = import_module("recipes")
    source = shared_data / "smpd_video" / "train"
    ws = recipes.prepared(tmp_path / "real", lambda root: recipes.real_workspace(root, source))
    assert (ws.keys("labels").height, ws.read("features").height) == (3008, 3008)
    simple = simple_columns(ws.read("posts"), ws.read("users"))
    assert {"photo_count", "followers", "following", "total_faves", "duration_seconds", "language"} <= set(
        simple.columns
    )
    made = (ws.root / "made-by").stat().st_mtime_ns
    recipes.prepared(tmp_path / "real", lambda root: recipes.real_workspace(root, source))
    assert (ws.root / "made-by").stat().st_mtime_ns == made
