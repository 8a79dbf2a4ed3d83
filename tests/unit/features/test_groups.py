"""What single columns mean; what all groups share is in contracts/."""

import math

import polars as pl
import pytest
from feature_inputs import inputs
from table_rows import day, labels, posts, users, vectors

from flickcast.errors import UserError
from flickcast.features import GROUPS, build, left_out, manifest


def group(name: str, *tables: pl.DataFrame) -> pl.DataFrame:
    """The columns of one group: posts, and as far as it reads them users, labels and vectors."""
    return build(inputs(*tables), [name])


def test_words_are_counted() -> None:
    rows = posts({"post_id": "p", "posted_at": day(0), "title": "Blue Sea 2!", "tags": ["sea", "geo:lat=1"]})
    row = group("words", rows).row(0, named=True)
    assert (row["title_chars"], row["title_words"], row["title_marks"], row["tag_count"]) == (11, 3, 1, 2)
    assert (row["machine_tags"], row["tag_chars"], row["tags_in_title_share"]) == (1, 6.0, 0.5)
    assert (row["title_digits_share"], row["title_capitals_share"]) == pytest.approx((1 / 11, 2 / 11))


def test_words_are_null_without_text() -> None:
    row = group("words", posts({"post_id": "p", "posted_at": day(0)})).row(0, named=True)
    assert row["title_chars"] is row["tag_count"] is row["tag_chars"] is row["description_words"] is None


def test_hours_lie_on_a_circle() -> None:
    row = group("time_place", posts({"post_id": "p", "posted_at": day(0.25)})).row(0, named=True)
    assert (row["hour"], row["weekday"], row["is_geotagged"]) == (6.0, 4, False)
    assert row["hour_sine"] == pytest.approx(1)


def test_people_take_the_latest_snapshot_before_the_post() -> None:
    known = users(
        {"observed_at": day(1), "total_faves": 99, "photo_count": 9},
        {"observed_at": day(2), "total_faves": 799, "photo_count": 99},
        {"observed_at": day(3), "total_faves": 10**9, "photo_count": 1},
    )
    row = group("people", posts({"post_id": "p", "posted_at": day(2.5)}), known).row(0, named=True)
    assert row["log_faves_per_photo"] == pytest.approx(math.log(8))
    assert row["snapshot_days"] == 0.5


def test_people_are_unknown_before_the_first_snapshot() -> None:
    row = group(
        "people", posts({"post_id": "p", "posted_at": day(0)}), users({"observed_at": day(1), "followers": 3})
    ).row(0)
    assert set(row[1:]) == {None}


def test_time_zones_are_shared_with_those_known_before() -> None:
    """Of everyone by the first time zone they told; what became known at the moment of the post does not count."""
    known = users(
        {"user_id": "mover", "observed_at": day(1), "timezone_offset": 1.0},
        {"user_id": "mover", "observed_at": day(5), "timezone_offset": 2.0},
        {"user_id": "settled", "observed_at": day(2), "timezone_offset": 2.0},
        {"user_id": "settled_too", "observed_at": day(3), "timezone_offset": 2.0},
        {"user_id": "silent", "observed_at": day(3), "timezone_offset": None},
        {"user_id": "late", "observed_at": day(10), "timezone_offset": 2.0},
    )
    rows = posts(
        *({"post_id": user, "user_id": user, "posted_at": day(10)} for user in ("late", "mover", "settled", "silent")),
        {"post_id": "z", "user_id": "mover", "posted_at": day(1.5)},
    )
    found = dict(group("people", rows, known).select("post_id", "time_zone_share").iter_rows())
    two_of_three = pytest.approx(2 / 3)
    assert found == {"late": two_of_three, "mover": two_of_three, "settled": two_of_three, "silent": None, "z": 1.0}


def test_behaviour_is_rate_and_habit_of_earlier_posts() -> None:
    rows = posts(
        {"post_id": "a", "posted_at": day(0), "tags": ["x"] * 2},
        {"post_id": "b", "posted_at": day(1), "tags": ["x"] * 4},
        {"post_id": "c", "posted_at": day(5), "tags": ["x"] * 10},
    )
    row = group("user_behaviour", rows).row(2, named=True)
    assert (row["days_since_last_post"], row["earlier_tags_mean"], row["tags_above_usual"]) == (4.0, 3.0, 7.0)
    assert row["earlier_tags_deviation"] == 1.0


def test_popularity_is_that_of_known_labels() -> None:
    rows = posts(
        {"post_id": "a", "posted_at": day(0)},
        {"post_id": "b", "posted_at": day(1)},
        {"post_id": "o", "posted_at": day(0), "user_id": "other"},
        {"post_id": "c", "posted_at": day(9.5)},
    )
    known = labels(
        {"post_id": "a", "popularity": 2.0, "matured_at": day(7)},
        {"post_id": "b", "popularity": 6.0, "matured_at": day(8)},
        {"post_id": "o", "popularity": 10.0, "matured_at": day(8)},
    )
    row = group("user_popularity", rows, users(), known).row(by_predicate=pl.col("post_id") == "c", named=True)
    assert (row["user_popularity_mean"], row["user_popularity_deviation"]) == (4.0, 2.0)
    assert row["user_popularity_shrunken"] == pytest.approx((2 + 6 + 6) / 3)  # everyone's mean, 6, counts as one post


def test_categories_are_kept_as_they_are() -> None:
    rows = posts({"post_id": "p", "posted_at": day(0), "category": "Food", "concept": "tea"})
    row = group("categories", rows).row(0)
    assert row == ("p", "photo", "Food", None, "tea")


def test_cosine_is_that_of_picture_and_text() -> None:
    rows = posts(
        {"post_id": "p", "posted_at": day(0), "width": 200, "height": 100}, {"post_id": "q", "posted_at": day(0)}
    )
    both = vectors({"post_id": "p", "picture": [0.6, 0.8], "text": [1.0, 0.0]}, {"post_id": "q", "text": [1.0, 0.0]})
    first, second = group("picture_text", rows, users(), labels(), both).rows(named=True)
    assert first["picture_text_cosine"] == pytest.approx(0.6)
    assert first["log_aspect"] == pytest.approx(math.log(2))
    assert (first["has_picture"], second["picture_text_cosine"], second["has_picture"]) == (True, None, None)


def test_unknown_group_names_the_nearest() -> None:
    with pytest.raises(UserError, match="'word'; did you mean 'words'"):
        build(inputs(posts()), ["word"])


def test_group_without_input_is_left_out_with_a_note() -> None:
    rows = posts({"post_id": "p", "posted_at": day(0), "title": "sea"})
    groups = ["words", "people"]
    matrix = build(inputs(rows), groups)
    columns = manifest(groups, [name for name in matrix.columns if matrix[name].count()], "transductive")
    assert "title_chars" in columns
    assert "tag_count" not in columns
    assert [note.split(" is left out")[0] for note in left_out(columns, groups)] == ["feature group people"]
    assert columns["title_chars"] == {
        "group": "words",
        "kind": "number",
        "clock": "transductive",
        "inputs": ["posts"],
        "meaning": "length of the title",
        "unit": "characters",
        "source": "Ding 2019, 4.1",
    }


def test_what_is_known_of_labels_is_never_of_the_transductive_clock() -> None:
    columns = manifest(["user_popularity"], list(GROUPS["user_popularity"].about), "transductive")
    assert {entry["clock"] for entry in columns.values()} == {"point_in_time"}
