import numpy as np
import polars as pl
import pytest
from reducible import reducible, settings
from table_rows import day

from flickcast.models.reductions import Training, search
from flickcast.models.reductions.nearest import Nearest

ROWS = reducible(300, users=50)


def fit_all(rows: pl.DataFrame, **changes: object) -> Nearest:
    found = Nearest.fit_all(rows, "like", settings("nearest", dimensions=8, **changes))
    assert found is not None
    return found


def slowly(known: Nearest, coordinates: np.ndarray, user: int, moment: int, count: int) -> list[float]:
    """Mean label, deviation, largest cosine and number of the nearest, one known post after the other."""
    found = []
    for vector, label, at, owner in zip(known.vectors, known.labels, known.known_at, known.owners, strict=True):
        if at < moment and owner != user:
            found.append((float(vector.astype(np.float32) @ coordinates), float(label)))
    found = sorted(found, reverse=True)[:count]
    labels = [label for _, label in found]
    return [np.mean(labels), np.std(labels), found[0][0], len(found)] if found else [np.nan, np.nan, np.nan, 0]


def test_the_quick_search_finds_what_a_slow_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks and groups, so that the rows of this test need many of them."""
    monkeypatch.setattr(search, "LARGEST_BLOCK", 7)
    monkeypatch.setattr(search, "GROUP", 4)
    known = fit_all(ROWS)
    asked = ROWS.filter(pl.col("picture").is_not_null())
    vectors = np.stack(asked["picture"].to_list()).astype(np.float32)
    coordinates = (vectors - known.mean) @ known.components.T
    coordinates /= np.linalg.norm(coordinates, axis=1, keepdims=True)
    moments = asked["posted_at"].dt.epoch("us").to_list()
    users = search.Events(coordinates, np.array(moments), _owners(asked)).owners
    expected = [slowly(known, *row, 5) for row in zip(coordinates, users, moments, strict=True)]
    found = known.transform(asked)[:, [0, 2, 3, 4]]
    single = found[:, 3] == 1  # of one label there is no deviation
    assert np.isnan(found[single, 1]).all()
    found[single, 1] = 0
    np.testing.assert_allclose(found, expected, atol=1e-4)


def _owners(rows: pl.DataFrame) -> np.ndarray:
    from flickcast.models.reductions.owners import owners

    return owners(rows["user_id"])


def test_without_an_earlier_label_nothing_is_found() -> None:
    early = ROWS[1:2].with_columns(posted_at=pl.lit(day(-1)).dt.cast_time_unit("us"))
    found = fit_all(ROWS).transform(early)[0]
    assert found[4] == 0
    assert np.isnan(found[:4]).all()


def test_own_posts_of_a_known_user_are_passed_over() -> None:
    """Else a test post of a known user would be told what no training post was."""
    rows = ROWS.with_columns(user_id=pl.lit("u1"))
    later = ROWS[1:2].with_columns(posted_at=pl.lit(day(500)).dt.cast_time_unit("us"), user_id=pl.lit("u1"))
    assert fit_all(rows).transform(later)[0, 4] == 0
    assert fit_all(rows).transform(later.with_columns(user_id=pl.lit("u2")))[0, 4] == 5


def test_the_label_of_the_nearest_is_found() -> None:
    twin = ROWS[1:2].with_columns(posted_at=pl.lit(day(500)).dt.cast_time_unit("us"), user_id=pl.lit("stranger"))
    found = fit_all(ROWS, neighbours=1).transform(twin)[0]
    np.testing.assert_allclose(found[[0, 1, 3]], [ROWS["popularity"][1], ROWS["popularity"][1], 1], atol=2e-3)


def test_one_user_alone_is_no_reduction() -> None:
    alone = ROWS.with_columns(user_id=pl.lit("u"))
    assert Nearest.fit(Training(alone, 0), "like", settings("nearest")) is None
