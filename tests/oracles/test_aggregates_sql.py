"""A second opinion on states: the same numbers from SQLite, by comparing every post with every other (quadratic)."""

import math
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from table_rows import day, labels, posts

from flickcast import moments
from flickcast.aggregates import ENTITIES, as_of, label_states, merge, post_states, targets
from flickcast.moments import BUCKETS

COUNT = 300
DAY_MICROSECONDS = 86_400_000_000
WINDOWS = (1, 7, 30, 365)
FACTS = ("tags", "title_chars")

POST_SUMS = ["count(*)", "min(f.posted)", "max(f.posted)"]
USER_SUMS = [
    "count(f.latitude)",
    *(f"{sum}" for fact in FACTS for sum in (
        f"count(f.{fact})", f"total(f.{fact})", f"total(f.{fact} * f.{fact})",
        f"total(f.{fact} * f.{fact} * f.{fact})", f"min(f.{fact})", f"max(f.{fact})",
    )),
    "count(f.description_chars)",
    "total(f.description_chars)",
]  # fmt: skip
# Labels are summed on grids, by their definition: powers as multiples of 2**-20, cubes of 2**-14.
LABEL_SUMS = [
    "count(*)",
    "total(round(f.y * 1048576) / 1048576)",
    "total(round(f.y * f.y * 1048576) / 1048576)",
    "total(round(f.y * f.y * f.y * 16384) / 16384)",
    "min(f.y)",
    "max(f.y)",
]
PARTS = ("count", "sum", "square_sum", "cube_sum", "minimum", "maximum")


def sample(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Posts and labels with ties, late arrivals, clocks that go backwards and whatever can be missing."""
    random = np.random.default_rng(seed)

    def one(*values: Any) -> Any:
        return values[random.integers(len(values))]

    rows = []
    for number in range(COUNT):
        posted = random.integers(0, 160) / 4 if random.random() < 0.5 else round(float(random.uniform(0, 40)), 4)
        place = one(None, (48.2, 16.4), (-33.9, 151.2), (48.9, 16.0))
        rows.append(
            {
                "post_id": f"p{number:03}",
                "user_id": f"u{random.integers(25)}",
                "posted_at": day(posted),
                "first_seen_at": day(posted + one(0, 0, 0.4, 3, 12, -2)),
                "title": one(None, "", "sea", "Blue Sea"),
                "description": one(None, "A day at the sea."),
                "tags": one(None, [], ["a"], ["a", "b"], ["b", "c", "a"], ["a", "a"]),
                "category": one(None, "Food", "Urban"),
                "subcategory": one(None, "tea", "street"),
                "concept": one(None, "cup", "lamp", "lane"),
                "latitude": place and place[0],
                "longitude": place and place[1],
            }
        )
    known = [
        {
            "post_id": row["post_id"],
            "popularity": float(random.normal(6, 7)),  # some below the first bucket, some beyond the last
            "matured_at": row["posted_at"] + (day(7 + one(0, 0, 0.7)) - day(0)),
        }
        for row in rows
        if random.random() < 0.7
    ]
    return posts(*rows), labels(*known)


def microseconds(moment: datetime) -> int:
    return round((moment - day(0)).total_seconds() * 1e6)


def entities_of(name: str, post: dict[str, Any]) -> Iterable[str]:
    """Written without polars, from the meaning of each entity."""
    category, place = post["category"], (post["latitude"], post["longitude"])
    pair = None if category is None or post["subcategory"] is None else f"{category}/{post['subcategory']}"
    cell = None if place[0] is None else f"{math.floor(place[0])}:{math.floor(place[1])}"
    found = {
        "users": post["user_id"],
        "categories": category,
        "subcategories": pair,
        "concepts": post["concept"],
        "places": cell,
        "calendar": f"{post['posted_at'].isoweekday()}-{post['posted_at'].hour:02}",
        "world": "all",
    }
    if name == "tags":
        return sorted(set(post["tags"] or ()))
    return [] if found[name] is None else [found[name]]


def database(name: str, rows: pl.DataFrame, known: pl.DataFrame) -> sqlite3.Connection:
    """Tables target, post and label with one row per post and entity; `at` is when a fact was known."""
    base = sqlite3.connect(":memory:")
    base.execute("create table target (post_id, entity, moment)")
    base.execute("create table post (entity, at, posted, user_id, latitude, tags, title_chars, description_chars)")
    base.execute("create table label (entity, at, y)")
    matured = {row["post_id"]: row for row in known.iter_rows(named=True)}

    def at(moment: datetime) -> int:
        number = microseconds(moment)
        return number if name == "users" else (number // DAY_MICROSECONDS + 1) * DAY_MICROSECONDS

    for row in rows.iter_rows(named=True):
        seen = max(row["posted_at"], row["first_seen_at"])
        facts = [None if row[key] is None else len(row[key]) for key in ("tags", "title", "description")]
        label = matured.get(row["post_id"])
        posted = microseconds(row["posted_at"])
        for entity in entities_of(name, row):
            base.execute("insert into target values (?, ?, ?)", (row["post_id"], entity, posted))
            base.execute(
                "insert into post values (?, ?, ?, ?, ?, ?, ?, ?)",
                (entity, at(seen), posted, row["user_id"], row["latitude"], *facts),
            )
            if label:
                values = entity, at(max(seen, label["matured_at"])), label["popularity"]
                base.execute("insert into label values (?, ?, ?)", values)
    return base


def answers(base: sqlite3.Connection, table: str, sums: list[str], extra: str = "") -> np.ndarray[Any, Any]:
    """One row per target and entity, in the order of post and entity; NULL becomes not a number."""
    query = f"select {', '.join(sums)} from target t left join {table} f on f.entity = t.entity and f.at < t.moment"
    query += f"{extra} group by t.post_id, t.entity order by t.post_id, t.entity"
    counted = [part.replace("count(*)", "count(f.at)") for part in sums]
    return np.array(base.execute(query.replace(", ".join(sums), ", ".join(counted))).fetchall(), dtype=float)


def ours(found: pl.DataFrame, columns: list[str]) -> np.ndarray[Any, Any]:
    moments = [pl.col(name).dt.epoch("us") - microseconds_zero() for name in columns if name.endswith("_posted_at")]
    rows = found.with_columns(moments).select(columns)
    return rows.with_columns(pl.all().cast(pl.Float64)).fill_null(float("nan")).to_numpy()


def microseconds_zero() -> int:
    return int(day(0).timestamp() * 1e6)


@pytest.mark.parametrize("name", sorted(ENTITIES))
@pytest.mark.parametrize("seed", [5, 6])
def test_states_equal_those_of_sqlite(name: str, seed: int) -> None:
    rows, known = sample(seed)
    base = database(name, rows, known)
    states = pl.concat([post_states(rows, name), label_states(rows, known, name)])
    found = as_of(targets(rows, name), states, WINDOWS)
    columns, sums = ["posts", "first_posted_at", "last_posted_at"], list(POST_SUMS)
    if name == "users":
        columns += ["geotagged", *(f"{fact}_{part}" for fact in FACTS for part in PARTS)]
        columns += ["description_chars_count", "description_chars_sum"]
        sums += USER_SUMS
    assert found.height == base.execute("select count(*) from target").fetchone()[0] > COUNT / 3
    np.testing.assert_array_equal(ours(found, columns), answers(base, "post", sums))
    labelled = [f"popularity_{part}" for part in PARTS]
    np.testing.assert_allclose(ours(found, labelled), answers(base, "label", LABEL_SUMS), rtol=1e-9)
    for days in WINDOWS:
        recent = answers(base, "post", ["count(*)"], f" and f.at >= t.moment - {days * DAY_MICROSECONDS}")
        np.testing.assert_array_equal(ours(found, [f"posts_{days}_days"]), recent, err_msg=f"{days} days")


@pytest.mark.parametrize("name", sorted(ENTITIES))
def test_what_a_merged_state_says_equals_sqlite(name: str) -> None:
    """Mean, spread, skewness, quantile by bucket and number of different users or tags, of all that is known."""
    rows, known = sample(seed=7)
    base = database(name, rows, known)
    merged = merge(pl.concat([post_states(rows, name), label_states(rows, known, name)]), ["entity_id"])
    told = merged.select(
        "entity_id",
        mean=moments.mean("popularity"),
        deviation=moments.deviation("popularity"),
        skewness=moments.skewness("popularity"),
    )
    for entity, mean, deviation, skewness in told.iter_rows():
        values = [row[0] for row in base.execute("select y from label where entity = ?", (entity,))]
        if not values:
            assert mean is deviation is skewness is None
            continue
        centre = base.execute("select avg(y) from label where entity = ?", (entity,)).fetchone()[0]
        assert mean == pytest.approx(centre, abs=2.0**-20)
        assert deviation == pytest.approx(np.std(values), abs=1e-3)  # the grid is 2**-20
        if len(values) == 1:
            assert deviation == 0
        if len(values) < 3 or deviation < moments.LEAST_SPREAD:
            assert skewness is None
        else:
            third = np.mean((np.array(values) - centre) ** 3) / np.std(values) ** 3
            assert skewness == pytest.approx(third, abs=0.1 if deviation < 0.5 else 0.005)
    _check_distinct(base, merged, rows, name)
    if "popularity_bucket_00" in merged.columns:
        _check_quantiles(base, merged)


def _check_distinct(base: sqlite3.Connection, merged: pl.DataFrame, rows: pl.DataFrame, name: str) -> None:
    sketch = "tags_sketch" if name == "users" else "users_sketch"
    if name == "users":
        used = rows.select("user_id", "tags").explode("tags").drop_nulls().unique()
        expected = dict(used.group_by("user_id").len().iter_rows())
    else:
        expected = dict(base.execute("select entity, count(distinct user_id) from post group by entity"))
    counted = dict(merged.select("entity_id", moments.distinct(sketch)).drop_nulls().iter_rows())
    assert counted == expected


def _check_quantiles(base: sqlite3.Connection, merged: pl.DataFrame) -> None:
    """The value of that rank and the quantile lie in one bucket, and no quantile lies beyond the values there are."""
    found = merged.select(
        "entity_id", *(moments.quantile("popularity", share).alias(f"{share}") for share in (0.5, 0.9))
    )
    for entity, *quantiles in found.iter_rows():
        values = sorted(row[0] for row in base.execute("select y from label where entity = ?", (entity,)))
        for share, quantile in zip((0.5, 0.9), quantiles, strict=True):
            if not values:
                assert quantile is None
                continue
            assert values[0] <= quantile <= values[-1]
            of_that_rank = values[math.ceil(share * len(values)) - 1]
            if of_that_rank < 1:
                assert quantile <= 1
            elif of_that_rank >= BUCKETS - 1:
                assert quantile >= BUCKETS - 1
            else:
                assert math.floor(of_that_rank) <= quantile <= math.floor(of_that_rank) + 1
