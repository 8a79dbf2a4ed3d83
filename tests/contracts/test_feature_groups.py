"""What every feature group owes: one row per post, no ids, no order, declared types, nulls for what is not there."""

from collections.abc import Iterator

import polars as pl
import pytest
from feature_inputs import InMemory, inputs
from polars.testing import assert_frame_equal
from table_rows import day, labels, posts, users, vectors

from flickcast.features import GROUPS, build
from flickcast.features.feature import Feature
from flickcast.schemas import check
from flickcast.stages.inputs import Inputs

COUNT = 24
POSTS = posts(
    *(
        {
            "post_id": f"p{number:02}",
            "posted_at": day(number / 2),
            "taken_at": day(number / 2 - 1),
            "user_id": f"u{number % 3}",
            "title": "word " * number,
            "description": "It is a day." if number % 4 else None,
            "tags": ["a", "b", "c"][: number % 4],
            "category": ["Food", "Urban"][number % 2],
            "subcategory": ["tea", "street", "cake"][number % 3],
            "concept": f"c{number % 5}",
            "latitude": [None, 10.0 + number % 3][number % 2],
            "longitude": [None, 20.0][number % 2],
            "geo_accuracy": [None, 16][number % 2],
            "width": 100 + number,
            "height": 80,
            "language": "en",
        }
        for number in range(COUNT)
    )
)
USERS = users(
    *(
        {
            "user_id": f"u{n}",
            "observed_at": day(moment + n / 4),
            "followers": n,
            "photo_count": n,
            "is_pro": True,
            "timezone_id": f"{n}",
            "timezone_offset": -3.5 + n,
            "first_post_at": day(-400),
        }
        for n in range(3)
        for moment in (0, 6)
    )
)
LABELS = labels(
    *({"post_id": f"p{n:02}", "popularity": 1 + n * 0.7, "matured_at": day(n / 2 + 2)} for n in range(COUNT))
)
VECTORS = vectors(*({"post_id": f"p{n:02}", "picture": [0.6, 0.8], "text": [1.0, 0.0]} for n in range(COUNT)))
TABLES = (POSTS, USERS, LABELS, VECTORS)

# Users as they come: without tags, followers, time zone or earlier posts, with clocks that go backwards.
ODD_POSTS = posts(
    {"post_id": "alone", "posted_at": day(9), "user_id": "one post"},
    {"post_id": "unseen", "posted_at": day(9), "user_id": "no snapshot", "tags": [], "title": "", "description": ""},
    {"post_id": "zero", "posted_at": day(9), "user_id": "zeros", "tags": ["", "a", "a"], "title": " "},
    {"post_id": "zero again", "posted_at": day(9), "user_id": "zeros", "first_seen_at": day(2)},
    {"post_id": "zero, a year on", "posted_at": day(400), "user_id": "zeros", "title": "7", "category": "Food"},
    {"post_id": "zero, a second on", "posted_at": day(400 + 1 / 86_400), "user_id": "zeros", "width": 1, "height": 9},
    {"post_id": "back", "posted_at": day(5), "taken_at": day(4000), "first_seen_at": day(1), "user_id": "backwards"},
    {"post_id": "back again", "posted_at": day(6), "taken_at": day(-30_000), "user_id": "backwards", "latitude": 90.0,
     "longitude": -180.0},
    {"post_id": "late", "posted_at": day(5), "first_seen_at": day(300), "user_id": "backwards", "latitude": -90.0,
     "longitude": 180.0},
    {"post_id": "after the late one", "posted_at": day(301), "user_id": "backwards", "latitude": 0.0, "longitude": 0.0},
)  # fmt: skip
ODD_USERS = users(
    {"user_id": "one post", "observed_at": day(9), "followers": None, "timezone_id": None, "timezone_offset": None},
    {"user_id": "zeros", "observed_at": day(3), **dict.fromkeys(("followers", "following", "photo_count"), 0),
     **dict.fromkeys(("total_views", "total_faves", "total_tags", "total_geotagged", "total_in_group"), 0)},
    {"user_id": "backwards", "observed_at": day(2), "first_post_at": day(4000), "first_taken_at": day(5000),
     "photo_count": 2**53, "followers": 2**53, "total_views": 0, "timezone_offset": -14.0},
)  # fmt: skip
ODD_LABELS = labels(
    {"post_id": "zero", "popularity": 0.0, "matured_at": day(16)},
    {"post_id": "zero again", "popularity": 0.0, "matured_at": day(16)},
    {"post_id": "late", "popularity": 40.0, "matured_at": day(12)},
)
ODD_VECTORS = vectors(
    {"post_id": "alone", "picture": [0.0, 0.0], "text": [0.0, 0.0]}, {"post_id": "zero", "text": [1.0, 0.0]}
)
ODD = (ODD_POSTS, ODD_USERS, ODD_LABELS, ODD_VECTORS)


@pytest.fixture(params=sorted(GROUPS))
def group(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["point_in_time", "transductive"])
def clock(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def numbers(group: str) -> list[str]:
    return [name for name, feature in GROUPS[group].about.items() if feature.kind == "number"]


@pytest.mark.parametrize("tables", [TABLES, ODD], ids=["usual", "odd"])
def test_one_row_per_post_with_declared_columns(group: str, clock: str, tables: tuple[pl.DataFrame, ...]) -> None:
    matrix = build(inputs(*tables, clock=clock), [group])
    assert check("features", matrix)["post_id"].to_list() == sorted(tables[0]["post_id"])
    assert matrix.columns == ["post_id", *GROUPS[group].about]
    for column, feature in GROUPS[group].about.items():
        assert matrix.schema[column] == {"number": pl.Float32, "category": pl.String}[feature.kind]


def test_every_column_is_declared_once_with_its_meaning() -> None:
    declared = [(name, feature) for group in GROUPS.values() for name, feature in group.about.items()]
    assert len({name for name, _ in declared}) == len(declared), "two groups declare the same column"
    assert all(isinstance(feature, Feature) and feature.meaning.strip() for _, feature in declared)


@pytest.mark.parametrize("tables", [TABLES, ODD], ids=["usual", "odd"])
def test_every_number_is_finite_or_null(group: str, clock: str, tables: tuple[pl.DataFrame, ...]) -> None:
    found = build(inputs(*tables, clock=clock), [group]).select(numbers(group))
    assert [column.name for column in found if not column.drop_nulls().is_finite().all()] == []


@pytest.mark.parametrize("tables", [TABLES, ODD], ids=["usual", "odd"])
def test_a_group_says_one_thing_of_each_post(group: str, clock: str, tables: tuple[pl.DataFrame, ...]) -> None:
    """Of the group itself: the matrix would hide a row too few, and multiply one too many."""
    read = inputs(*tables, clock=clock)
    columns = GROUPS[group].columns(*(read[name] for name in GROUPS[group].reads))
    assert sorted(columns["post_id"]) == sorted(tables[0]["post_id"])


def test_row_order_changes_nothing(group: str, clock: str) -> None:
    shuffled = (table.sample(fraction=1, shuffle=True, seed=3) for table in TABLES)
    one, other = build(inputs(*TABLES, clock=clock), [group]), build(inputs(*shuffled, clock=clock), [group])
    assert_frame_equal(one, other, check_exact=True)


def renamed(*tables: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Other ids, in the opposite order."""
    names = {
        "post_id": "x" + (100 - pl.col("post_id").str.slice(1).cast(pl.Int64)).cast(pl.String),
        "user_id": "v" + (9 - pl.col("user_id").str.slice(1).cast(pl.Int64)).cast(pl.String),
    }
    for table in tables:
        yield table.with_columns(expression.alias(name) for name, expression in names.items() if name in table.columns)


def test_new_ids_change_no_value(group: str, clock: str) -> None:
    """post_id and user_id order leak the label in the challenge's files: no column may be made from them."""
    (matrix,) = renamed(build(inputs(*TABLES, clock=clock), [group]))
    other = build(inputs(*renamed(*TABLES), clock=clock), [group])
    assert_frame_equal(matrix.sort("post_id"), other, check_exact=True)


def test_a_post_is_described_the_same_alone_and_among_others(group: str, clock: str) -> None:
    """A night computes the rows of its own posts, a first run those of all: both must find the same."""
    together = build(inputs(*TABLES, clock=clock), [group])
    few = POSTS.filter(pl.col("user_id") == "u1").tail(3)
    alone = build(Inputs(InMemory(*TABLES), few, clock), [group])
    assert_frame_equal(alone, together.join(few.select("post_id"), on="post_id", how="semi"), check_exact=True)


def test_group_bears_empty_tables(group: str, clock: str) -> None:
    assert build(inputs(*(table.clear() for table in TABLES), clock=clock), [group]).is_empty()


def test_group_bears_posts_of_which_nothing_else_is_known(group: str, clock: str) -> None:
    matrix = build(inputs(POSTS, clock=clock), [group])
    assert matrix["post_id"].to_list() == sorted(POSTS["post_id"])
