import numpy as np
import polars as pl
import pytest
from reducible import reducible, settings
from table_rows import day

from flickcast.models.reductions import Training, search
from flickcast.models.reductions.nearest import Nearest
from flickcast.models.reductions.owners import owners

ROWS = reducible(300, users=50)


def fit_all(rows: pl.DataFrame, **changes: object) -> Nearest:
    found = Nearest.fit_all(Training(rows, seed=0), "like", settings("nearest", dimensions=8, **changes))
    assert found is not None
    return found


def slowly(known: Nearest, coordinates: np.ndarray, user: int, moment: int, count: int) -> list[float]:
    """Mean label, deviation, largest cosine and number of the nearest, one known post after the other."""
    found = []
    for vector, label, at, owner in zip(known.vectors, known.labels, known.known_at, known.owners, strict=True):
        if at < moment and owner != user:
            found.append((float(vector.astype(np.float32) @ coordinates), float(label)))
    found = sorted(found, reverse=True)
    last = found[:count][-1][0] if found else 0
    nearer = [label for cosine, label in found if cosine > last + search.TIE]
    as_near = [label for cosine, label in found if abs(cosine - last) <= search.TIE]
    number = min(count, len(found))
    labels = np.array(nearer * len(as_near) + as_near * (number - len(nearer)))  # each as often as its share
    return [labels.mean(), labels.std(), found[0][0], number] if found else [np.nan, np.nan, np.nan, 0]


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
    users = search.Events(coordinates, np.array(moments), _owners(asked, known)).owners
    expected = [slowly(known, *row, 5) for row in zip(coordinates, users, moments, strict=True)]
    found = known.transform(asked)[:, [0, 2, 3, 4]]
    single = found[:, 3] == 1  # of one label there is no deviation
    assert np.isnan(found[single, 1]).all()
    found[single, 1] = 0
    np.testing.assert_allclose(found, expected, atol=1e-4)


def _owners(rows: pl.DataFrame, known: Nearest) -> np.ndarray:
    return owners(rows["user_id"], known.salt)


def test_which_of_those_as_near_counts_is_not_up_to_their_ids() -> None:
    """Forty posts of one picture, popular in the order of their ids, told a mean of 9.5 or 28.9 by that order."""
    alike = [ROWS["picture"][1].to_list()] * 40
    same = {"picture": pl.Series(alike, dtype=pl.List(pl.Float32)), "label_known_at": pl.lit(day(200))}
    posts = ROWS[:40].with_columns(**same, popularity=pl.int_range(40).cast(pl.Float64))
    posts = pl.concat([ROWS[40:], posts.cast(ROWS.schema)])
    renamed = posts.with_columns(post_id=(9999 - pl.col("post_id").str.slice(1).cast(pl.Int64)).cast(pl.String))
    twin = ROWS[1:2].with_columns(posted_at=pl.lit(day(500)).dt.cast_time_unit("us"), user_id=pl.lit("stranger"))
    for rows in (posts, renamed, posts.reverse()):
        mean, weighted, deviation, similarity, found = fit_all(rows, neighbours=20).transform(twin)[0]
        assert (round(float(mean), 3), round(float(weighted), 3), found) == (19.5, 19.5, 20)
        np.testing.assert_allclose(deviation, np.std(np.arange(40)), rtol=1e-4)
        np.testing.assert_allclose(similarity, 1, atol=2e-3)


def test_only_the_newest_posts_before_a_row_are_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """All were, which took a time that grew with the square of the rows."""
    monkeypatch.setattr(search, "LARGEST_BLOCK", 7)
    known = ROWS.filter(pl.col("picture").is_not_null())
    later = ROWS[1:2].with_columns(user_id=pl.lit("stranger"))
    for moment in (30, 60, 110, 500):
        asked = later.with_columns(posted_at=pl.lit(day(moment)).dt.cast_time_unit("us"))
        before = known.filter(pl.col("label_known_at") < asked["posted_at"][0])
        oldest = before["label_known_at"].sort()[-30:][0]
        expected = before.filter(pl.col("label_known_at") >= oldest)
        limited = fit_all(ROWS, neighbours=200, most_posts=30)
        found = limited.transform(pl.concat([asked, ROWS]))[0]
        assert found[4] == expected.height < 42
        np.testing.assert_allclose(found[0], expected["popularity"].mean(), rtol=1e-5)


def test_a_model_keeps_the_newest_posts_alone_and_its_training_rows_saw_those_before_them() -> None:
    rows = ROWS.filter(pl.col("picture").is_not_null())
    fit = Nearest.fit(Training(rows, 0), "like", settings("nearest", dimensions=8, most_posts=30, neighbours=200))
    assert fit is not None
    made, own = fit
    assert 30 <= len(made.labels) < 42
    assert set(made.known_at) == {int(at) for at in rows["label_known_at"].dt.epoch("us").sort()[-30:]}
    assert (own[rows["posted_at"].to_numpy() > np.datetime64(day(60).replace(tzinfo=None)), 4] > 20).all()


def test_the_numbers_of_users_are_others_in_another_model() -> None:
    """They were the same in every model, so that one list of all users' numbers opened them all."""
    assert not set(fit_all(ROWS).owners) & set(fit_all(ROWS.filter(pl.col("user_id") != "u001")).owners)


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
