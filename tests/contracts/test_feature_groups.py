"""What every feature group owes: one row per post, no ids, no order, declared types, nulls for what is not there."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from table_rows import day, labels, posts, users, vectors

from flickcast.aggregates import as_of, user_days
from flickcast.features import GROUPS, build
from flickcast.schemas import check

POSTS = posts(
    *(
        {
            "post_id": f"p{number}",
            "posted_at": day(number),
            "user_id": f"u{number % 3}",
            "title": "word " * number,
            "tags": ["a", "b"][: number % 3],
            "category": ["Food", "Urban"][number % 2],
            "width": 100 + number,
            "height": 80,
            "language": "en",
        }
        for number in range(12)
    )
)
USERS = users(
    *({"user_id": f"u{n}", "observed_at": day(0), "followers": n, "photo_count": n, "is_pro": True} for n in range(3))
)
LABELS = labels(*({"post_id": f"p{n}", "popularity": float(n), "matured_at": day(n + 2)} for n in range(12)))
VECTORS = vectors(*({"post_id": f"p{n}", "picture": [0.6, 0.8], "text": [1.0, 0.0]} for n in range(12)))
STATES = as_of(POSTS, user_days(POSTS, LABELS))


@pytest.fixture(params=sorted(GROUPS))
def group(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_one_row_per_post_with_declared_columns(group: str) -> None:
    matrix, manifest = build(POSTS, USERS, STATES, VECTORS, [group])
    assert check("features", matrix)["post_id"].to_list() == sorted(POSTS["post_id"])
    assert set(manifest) == set(matrix.columns) - {"post_id"} != set()
    for column, entry in manifest.items():
        assert matrix.schema[column] == {"number": pl.Float32, "category": pl.String}[entry["kind"]]
        assert entry["group"] == group


def test_no_column_is_infinite(group: str) -> None:
    matrix, manifest = build(POSTS, USERS, STATES, VECTORS, [group])
    numbers = [name for name, entry in manifest.items() if entry["kind"] == "number"]
    assert (
        not matrix.select(pl.col(numbers).is_infinite().any())
        .select(pl.any_horizontal(numbers or pl.lit(False)))
        .item()
    )


def test_row_order_changes_nothing(group: str) -> None:
    tables = (POSTS, USERS, STATES, VECTORS)
    shuffled = (table.sample(fraction=1, shuffle=True, seed=3) for table in tables)
    assert_frame_equal(build(*tables, [group])[0], build(*shuffled, [group])[0], check_exact=True)


def test_new_ids_change_no_value(group: str) -> None:
    """post_id and user_id order leak the label in the challenge's files: no column may be made from them."""
    new_name = "x" + (100 - pl.col("post_id").str.slice(1).cast(pl.Int64)).cast(pl.String)
    new_user = "v" + (9 - pl.col("user_id").str.slice(1).cast(pl.Int64)).cast(pl.String)
    renamed = POSTS.with_columns(post_id=new_name, user_id=new_user)
    states = as_of(renamed, user_days(renamed, LABELS.with_columns(post_id=new_name)))
    other, _ = build(
        renamed, USERS.with_columns(user_id=new_user), states, VECTORS.with_columns(post_id=new_name), [group]
    )
    matrix, _ = build(POSTS, USERS, STATES, VECTORS, [group])
    assert_frame_equal(matrix.with_columns(post_id=new_name).sort("post_id"), other, check_exact=True)


def test_group_bears_empty_tables(group: str) -> None:
    no_posts = POSTS.clear()
    matrix, _ = build(
        no_posts, USERS.clear(), as_of(no_posts, user_days(no_posts, LABELS.clear())), VECTORS.clear(), [group]
    )
    assert matrix.is_empty()
