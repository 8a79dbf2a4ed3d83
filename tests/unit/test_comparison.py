"""What a comparison says of runs made by hand."""

import json

import numpy as np
import polars as pl
import pytest

from flickcast.comparison import Comparison, Entry, Run, compared, drawn, gains, interval
from flickcast.comparison.chart import chart
from flickcast.comparison.text import csv, markdown
from flickcast.metrics import measures

GENERATOR = np.random.default_rng(0)
LABELS = {number: GENERATOR.normal(6, 2, 80) for number in (0, 1)}


def entry(name: str, error: float, seeds: int = 1, kind: str = "recipe", seconds: float = 1.0) -> Entry:
    """Predictions that are off by noise of one size."""
    noise = np.random.default_rng(len(name))
    runs = [
        Run(fold, seed, label + noise.normal(0, error, len(label)), fit_seconds=seconds, peak_bytes=1 << 20)
        for seed in range(seeds)
        for fold, label in LABELS.items()
    ]
    return Entry(name, kind, runs)


def test_figures_are_mean_and_spread_over_folds_and_seeds() -> None:
    one = entry("good", 0.5, seeds=2)
    found = [measures(LABELS[run.fold], run.prediction)["mae"] for run in one.runs]
    figures = one.figures(LABELS)
    assert figures["runs"] == 4
    assert figures["mae"] == pytest.approx(np.mean(found))
    assert figures["mae_spread"] == pytest.approx(np.std(found))
    assert (figures["total_seconds"], figures["fit_seconds"], figures["peak_mib"]) == (4.0, 1.0, 1.0)


def test_resampled_measures_are_those_of_the_metrics_module() -> None:
    labels, said = {0: np.array([1.0, 2.0, 2.0, 5.0, 0.0])}, np.array([2.0, 2.0, 3.0, 3.0, 1.0])
    samples = drawn(Entry("one", "recipe", [Run(0, 0, said)]), labels, rounds=40, seed=3)
    assert samples is not None
    rows = np.random.default_rng([3, 0]).integers(0, 5, (40, 5))
    expected = [list(measures(labels[0][row], said[row]).values()) for row in rows]
    assert samples == pytest.approx(np.array(expected))


def test_an_interval_holds_the_value_and_narrows_with_more_posts() -> None:
    def width(posts: int) -> float:
        label = np.random.default_rng(1).normal(6, 2, posts)
        said = label + np.random.default_rng(2).normal(0, 1, posts)
        samples = drawn(Entry("one", "recipe", [Run(0, 0, said)]), {0: label}, rounds=200)
        assert samples is not None
        ends = interval(samples)
        assert ends["mae_low"] <= measures(label, said)["mae"] <= ends["mae_high"]
        return float(ends["mae_high"] - ends["mae_low"])

    assert width(2000) < width(50) / 3


def test_the_first_recipe_and_the_best_are_tested_against_every_row() -> None:
    entries = [entry("mean", 3.0, kind="baseline"), entry("first", 1.0), entry("best one", 0.3), entry("worst", 2.0)]
    result = compared("user", entries, LABELS, rounds=100)
    pairs = {(test["first"], test["second"]): test for test in result.tests}
    assert set(pairs) == {
        (one, other) for one in ("first", "best one") for other in ("mean", "first", "best one", "worst")
    } - {
        ("first", "first"),
        ("best one", "best one"),
    }
    better = pairs["best one", "worst"]["mae"]
    assert better["high"] < 0
    assert better["clear"]
    assert better["low"] <= better["difference"] <= better["high"]


def test_equal_rows_differ_by_nothing_and_that_is_not_clear_of_zero() -> None:
    same = entry("same", 1.0)
    result = compared("user", [same, Entry("copy", "recipe", same.runs)], LABELS, rounds=50)
    assert result.tests[0]["mae"] == {"difference": 0.0, "low": 0.0, "high": 0.0, "clear": False}


def test_a_useless_member_gains_nothing_and_a_good_one_does() -> None:
    label = LABELS[0]
    said = label + 0.1
    run = Run(0, 0, said, {"useless": said, "good": label + 1.0}, {"useless": 0.0, "good": 1.0})
    one = Entry("recipe", "recipe", [run])
    samples = drawn(one, LABELS, 50)
    assert samples is not None
    found = {row["learner"]: row for row in gains(one, LABELS, samples, 50)}
    assert found["useless"]["mae"]["difference"] == 0.0
    assert found["good"]["mae"]["difference"] == pytest.approx(-0.9)
    assert found["good"]["mae"]["clear"]
    assert (found["useless"]["weight"], found["good"]["weight"]) == (0.0, 1.0)


def test_the_front_holds_rows_that_nothing_beats_in_error_and_time() -> None:
    rows = compared(
        "user",
        [entry("slow", 0.3, seconds=9), entry("quick!", 1.0, seconds=1), entry("beaten", 2.0, seconds=5)],
        LABELS,
    ).rows
    assert {row["row"]: row["front"] for row in rows} == {"slow": True, "quick!": True, "beaten": False}


def test_labels_that_are_unknown_leave_figures_out_and_break_nothing() -> None:
    unknown = {0: np.full(3, np.nan)}
    result = compared("smpd", [Entry("one", "recipe", [Run(0, 0, np.ones(3))])], unknown)
    assert result.rows[0]["mae"] is None
    assert result.tests == []
    assert "| one |" in markdown(result)


def test_the_result_is_plain_json() -> None:
    result = compared("user", [entry("one", 1.0), entry("other", 2.0)], LABELS, rounds=20, facts={"folds": 2})
    assert json.loads(json.dumps(result.as_json(), allow_nan=False))["folds"] == 2


def test_user_text_is_markup_nowhere() -> None:
    bad = Entry("=a|b<script>x</script>", "recipe", entry("one", 1.0).runs, ["<b>note</b>\n| x"])
    result = compared("user", [bad], LABELS, rounds=20)
    assert "<script>" not in markdown(result) + chart(result)
    line = next(line for line in markdown(result).splitlines() if "a\\|b" in line)
    assert line.count(" | ") == 8
    assert pl.read_csv(csv(result).encode())["row"].to_list() == ["'=a|b<script>x</script>"]


def test_tables_put_the_best_first_and_those_without_figures_last() -> None:
    result = compared("user", [Entry("failed", "recipe", (), ["why"]), entry("bad", 3.0), entry("good", 0.1)], LABELS)
    lines = [line.split(" |")[0] for line in markdown(result).splitlines() if line.startswith("| ")]
    assert lines[2:5] == ["| good *", "| bad", "| failed"]
    assert pl.read_csv(csv(result).encode())["row"].to_list() == ["good", "bad", "failed"]


def test_the_picture_has_a_dot_per_row_and_panel() -> None:
    result = compared("user", [entry("bad", 3.0), entry("good", 0.1), Entry("failed", "recipe")], LABELS)
    assert chart(result).count("<circle") == 4
    assert chart(Comparison("user", [])).startswith("<svg")
