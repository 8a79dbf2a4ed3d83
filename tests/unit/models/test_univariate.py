"""What columns tell alone, against counts by hand and against scikit-learn."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from flickcast.models.univariate import columns_alone, sample_of, study, themes_alone

RANDOM = np.random.default_rng(0)
ROWS = 400
LABEL = RANDOM.normal(6, 2, ROWS)
MANIFEST = {
    "tag_count": {"group": "words", "kind": "number", "source": "Ding 2019, 4.1"},
    "falling": {"group": "people", "kind": "number", "source": ""},
    "noise": {"group": "people", "kind": "number", "source": ""},
    "empty": {"group": "people", "kind": "number", "source": ""},
    "category": {"group": "categories", "kind": "category", "source": ""},
    "user": {"group": "categories", "kind": "category", "source": ""},
}
TABLE = pl.DataFrame(
    {
        "post_id": [f"p{number:03}" for number in range(ROWS)],
        "user_id": [f"u{number % 50:02}" for number in range(ROWS)],
        "popularity": LABEL,
        "tag_count": LABEL + RANDOM.normal(0, 1, ROWS),
        "falling": [None if number % 10 == 0 else -value for number, value in enumerate(LABEL)],
        "noise": RANDOM.normal(size=ROWS),
        "empty": pl.Series([None] * ROWS, dtype=pl.Float32),
        "category": np.where(LABEL > 6, "high", "low"),
        "user": [f"only{number}" for number in range(ROWS)],
    }
)


def alone() -> dict[str, dict[str, float]]:
    return {row["column"]: row for row in columns_alone(TABLE, MANIFEST, 0).iter_rows(named=True)}


def test_a_number_is_its_rank_correlation() -> None:
    expected = spearmanr(TABLE["tag_count"].to_numpy(), LABEL).statistic
    assert alone()["tag_count"]["src"] == pytest.approx(expected, abs=1e-9)


def test_the_papers_figure_and_its_source_stand_beside() -> None:
    row = alone()["tag_count"]
    assert (row["paper_src"], row["source"], row["theme"]) == (0.338, "Ding 2019, 4.1", "text")
    assert alone()["noise"]["paper_src"] is None


def test_a_falling_column_with_holes_is_negative_and_says_how_much_is_known() -> None:
    row = alone()["falling"]
    assert row["src"] < -0.8
    assert row["known"] == pytest.approx(0.9)


def test_noise_and_an_empty_column_tell_nothing() -> None:
    assert abs(alone()["noise"]["src"]) < 0.15
    assert (alone()["empty"]["src"], alone()["empty"]["known"]) == (0.0, 0.0)


def test_a_class_of_one_post_does_not_tell_its_own_label() -> None:
    found = alone()
    assert found["category"]["src"] > 0.7
    assert found["user"]["src"] == 0.0


def test_the_order_of_the_rows_changes_nothing() -> None:
    assert sample_of(TABLE.reverse(), 0, 100).equals(sample_of(TABLE, 0, 100))


def test_each_theme_alone_is_judged_and_the_strongest_is_first() -> None:
    manifest = {name: entry for name, entry in MANIFEST.items() if name != "user"}
    table = themes_alone(TABLE.drop("empty").with_columns(words=pl.lit(None, pl.String)), manifest, [], 0, 1)
    assert table["theme"].to_list()[-1] != table["theme"].to_list()[0]
    figures = {row["theme"]: row for row in table.iter_rows(named=True)}
    assert set(figures) == set(study(manifest, [])) == {"text", "user", "topic"}
    assert figures["text"]["src"] > 0.8
    assert (figures["user"]["paper_src"], figures["topic"]["paper_src"]) == (0.558, None)
