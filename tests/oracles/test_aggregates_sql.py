"""A second opinion on user aggregates: the same numbers from SQLite, straight from posts and labels."""

import sqlite3
from datetime import datetime

import numpy as np
import polars as pl
from table_rows import day, labels, posts

from flickcast.aggregates import as_of, user_days

COLUMNS = ("posts", "tags_sum", "tags_square_sum", "geotagged", "labels", "popularity_sum", "popularity_square_sum")
COLUMNS += ("popularity_minimum", "popularity_maximum", "known_labels", "known_popularity_sum")

QUERY = """
select target.post_id,
  (select count(*) from post p where p.user_id = target.user_id and p.known_day < target.day),
  (select total(tags) from post p where p.user_id = target.user_id and p.known_day < target.day),
  (select total(tags * tags) from post p where p.user_id = target.user_id and p.known_day < target.day),
  (select count(latitude) from post p where p.user_id = target.user_id and p.known_day < target.day),
  (select count(*) from label l where l.user_id = target.user_id and l.day < target.day),
  (select total(popularity) from label l where l.user_id = target.user_id and l.day < target.day),
  (select total(popularity * popularity) from label l where l.user_id = target.user_id and l.day < target.day),
  (select min(popularity) from label l where l.user_id = target.user_id and l.day < target.day),
  (select max(popularity) from label l where l.user_id = target.user_id and l.day < target.day),
  (select count(*) from label l where l.day < target.day),
  (select total(popularity) from label l where l.day < target.day)
from post target order by target.post_id
"""


def sample(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    random = np.random.default_rng(seed)
    rows = []
    for number in range(300):
        posted = round(float(random.uniform(0, 40)), 4)
        rows.append(
            {
                "post_id": f"p{number:03}",
                "user_id": f"u{random.integers(25)}",
                "posted_at": day(posted),
                "first_seen_at": day(posted + random.choice([0, 0.4, 3, 12])),
                "tags": ["t"] * int(random.integers(0, 9)),
                "latitude": [None, 10.0][random.integers(2)],
            }
        )
    known = [
        {
            "post_id": row["post_id"],
            "popularity": float(random.normal(6, 2)),
            "matured_at": row["posted_at"] + (day(7) - day(0)),
        }
        for row in rows
        if random.random() < 0.7
    ]
    return posts(*rows), labels(*known)


def utc_day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def test_states_equal_those_of_sqlite() -> None:
    rows, known = sample(seed=5)
    base = sqlite3.connect(":memory:")
    base.execute("create table post (post_id, user_id, day, known_day, tags, latitude)")
    base.execute("create table label (user_id, day, popularity)")
    owner = {row[0]: row[1:] for row in rows.select("post_id", "user_id", "first_seen_at").iter_rows()}
    for row in rows.iter_rows(named=True):
        known_day = utc_day(max(row["posted_at"], row["first_seen_at"]))
        facts = row["post_id"], row["user_id"], utc_day(row["posted_at"]), known_day, len(row["tags"]), row["latitude"]
        base.execute("insert into post values (?, ?, ?, ?, ?, ?)", facts)
    for row in known.iter_rows(named=True):
        user_id, first_seen_at = owner[row["post_id"]]
        facts = user_id, utc_day(max(row["matured_at"], first_seen_at)), row["popularity"]
        base.execute("insert into label values (?, ?, ?)", facts)
    expected = base.execute(QUERY).fetchall()
    states = as_of(rows, user_days(rows, known)).select("post_id", *COLUMNS)
    assert [row[0] for row in expected] == states["post_id"].to_list()
    for place, column in enumerate(COLUMNS, start=1):
        theirs = np.array([row[place] for row in expected], dtype=float)  # NULL becomes NaN
        ours = states[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        # labels are summed on a grid of 2**-20, so a sum may be off by half of that per label
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=300 * 2.0**-20, err_msg=column)
