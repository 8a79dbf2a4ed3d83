"""Drift: verdicts, words, order of rows, and text that must stay text."""

import json

import numpy as np
import polars as pl
import pytest

from flickcast.drift import CHANCE_LEVEL, DriftResult, distances, drift_report, harmless, sample
from flickcast.params import DriftParams

PARAMS = DriftParams(max_rows=400)
KINDS = {"hour": "number", "score": "number", "media": "category"}
ATTACK = "</script><script>document.title=7</script>"


def posts(rows: int, seed: int, shift: float = 0.0, media: tuple[str, ...] = ("photo", "video")) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "post_id": [f"{seed}-{number}" for number in range(rows)],
            "hour": generator.normal(12, 4, rows),
            "score": generator.normal(shift, 1, rows),
            "media": generator.choice(media, rows),
        }
    )


def report(reference: pl.DataFrame, current: pl.DataFrame, kinds=None, params: DriftParams = PARAMS) -> DriftResult:
    return drift_report(reference, current, kinds or KINDS, params, seed=0)


@pytest.fixture(scope="module")
def moved() -> DriftResult:
    return report(posts(500, 1), posts(60, 2, shift=1.5))


def test_the_same_distribution_is_stable_even_in_a_small_night():
    for seed in range(2, 6):
        assert report(posts(500, 1), posts(40, seed)).verdict == "stable"


def test_a_shifted_column_is_found_and_named_first(moved):
    assert moved.drifted_columns == ("score",)
    assert moved.columns[0].column == "score"
    assert moved.verdict == "drifted"
    assert moved.summary.startswith("1 of 3 columns have moved (33%; drifted from 30% on). Most: score: median ")


def test_one_drifted_column_of_many_is_a_stable_night(moved):
    strict = DriftParams(max_rows=400, drifted_share=0.5)
    assert report(posts(500, 1), posts(60, 2, shift=1.5), params=strict).verdict == "stable"


def test_a_new_category_is_told_with_its_share():
    found = report(posts(500, 1), posts(60, 2, media=("gif",)), {"media": "category"})
    assert found.drifted_columns == ("media",)
    assert "'(other)' 0% -> 100%" in found.summary


def test_few_rows_say_nothing():
    found = report(posts(500, 1), posts(29, 2))
    assert (found.verdict, found.columns) == ("too few rows", ())
    assert "29 of the night" in found.summary


def test_shuffled_rows_give_the_same_bytes():
    reference, current = posts(500, 1), posts(60, 2)
    once = report(reference, current)
    again = report(reference.reverse(), current.sample(fraction=1.0, shuffle=True, seed=3))
    assert json.dumps(once.as_json()) == json.dumps(again.as_json())
    assert once.html == again.html


def test_text_that_would_run_as_script_stands_nowhere_raw():
    media = (ATTACK, "photo", "a&b\u2028c")
    kinds = {"media": "category", ATTACK: "number"}
    frames = [posts(rows, rows, media=media).rename({"hour": ATTACK}) for rows in (300, 60)]
    page = report(*frames, kinds).html
    assert "document.title=7" in page
    assert ATTACK not in page
    assert "<script>document" not in page
    assert "\u2028" not in page


def test_harmless_text_reads_the_same_in_a_page():
    assert harmless("Ünïcode & <b>\x1b[31m") == "Ünïcode &amp; &lt;b&gt;[31m"


def test_columns_that_say_nothing_are_left_out_with_a_reason():
    add = (pl.lit(1.0).alias("constant"), pl.lit(None, pl.Float64).alias("empty"), pl.col("score").alias("third"))
    kinds = {"constant": "number", "empty": "number", **KINDS, "third": "number"}
    found = report(
        posts(300, 1).with_columns(*add),
        posts(60, 2).with_columns(*add),
        kinds,
        DriftParams(max_rows=400, max_columns=3),
    )
    assert found.left_out == {
        "constant": "the same value everywhere",
        "empty": "no values",
        "third": "more than 3 columns",
    }
    assert {column.column for column in found.columns} == set(KINDS)


def test_a_column_that_is_suddenly_missing_has_drifted():
    gone = posts(60, 2).with_columns(score=pl.lit(None, pl.Float64))
    found = report(posts(300, 1), gone)
    assert found.drifted_columns == ("score",)
    assert "score: missing in 0% -> 100%" in found.summary


def test_not_a_number_counts_as_missing():
    broken = posts(60, 2).with_columns(score=pl.lit(float("nan")))
    assert report(posts(300, 1), broken).left_out == {"score": "no values on one side"}


def test_the_sample_depends_on_keys_alone():
    frame = posts(50, 1)
    assert sample(frame, 10, 0, "post_id").equals(sample(frame.reverse(), 10, 0, "post_id"))
    assert not sample(frame, 10, 0, "post_id").equals(sample(frame, 10, 1, "post_id"))


@pytest.mark.parametrize(("column", "kind"), [("score", "number"), ("media", "category")])
def test_our_distances_are_evidentlys(moved, column, kind):
    """Chance is judged by our formula, the night by Evidently's: they must be one measure."""
    old, new = posts(300, 1), posts(60, 2, shift=0.7)
    values = np.unique(np.concatenate([old[column], new[column]]))
    usual, shares = ([(frame[column] == value).mean() for value in values] for frame in (old, new))
    expected = report(old, new, {column: kind}).columns[0].score
    assert distances(kind, values, np.array(usual), np.array([shares]))[0] == pytest.approx(expected, abs=1e-6)


def test_chance_is_beaten_by_about_one_unchanged_column_in_a_hundred():
    columns = 60
    generator = np.random.default_rng(5)
    kinds = {f"n{number}": "number" for number in range(columns)}
    old, new = (
        pl.DataFrame(
            {"post_id": [str(row) for row in range(rows)]} | {name: generator.normal(size=rows) for name in kinds}
        )
        for rows in (400, 50)
    )
    found = report(old, new, kinds, DriftParams(max_rows=400, max_columns=columns))
    assert len(found.drifted_columns) <= 4
    assert CHANCE_LEVEL == 0.99
