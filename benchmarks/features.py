"""Measure states and features, and write it into docs/performance.md: `python benchmarks/features.py`.

The tables are simulated at the challenge's size, night by night, without pictures: users with a heavy tail, about eight
tags a post, classes, places, counts after a week, random unit vectors. What is measured runs in a process of its own
and does not count its imports: they are the same for a night and for all of history.
"""

import argparse
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast import moments, stages
from flickcast.aggregates import as_of, label_states, post_states, targets
from flickcast.schemas import TABLES
from flickcast.stages.describing import LABEL_COLUMNS, POST_COLUMNS
from flickcast.workspace import Workspace, create_workspace

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
LARGE, SMALL, NIGHT = 486_000, 50_000, 1_300
POSTS_PER_USER = LARGE / 70_000
LAST = date(2026, 3, 17)  # amid a month: the turn of a month makes its nights one part
WIDTH, REDUCED = 512, 64
TAGS, CONCEPTS, SUBCATEGORIES, CATEGORIES = 60_000, 668, 77, 11
WORDS = ("sea", "Blue Sea at dawn", "IMG_2041", "A walk through the old town with friends", "", "Untitled")
DESCRIPTIONS = (None, "It was a day to remember.", "Taken with my new camera " * 5)
DAY_SECONDS = 86_400
Measured = dict[str, Any]


class Crowd:
    """Users of a simulated platform and what they post on a day; the same for the same seed."""

    def __init__(self, posts: int, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.days = round(posts / NIGHT)
        self.users = round(posts / POSTS_PER_USER)
        weights = self.random.pareto(1.1, self.users) + 0.3
        self.shares = weights / weights.sum()
        self.level = self.random.normal(6.4, 1.7, self.users)
        self.home = self.random.uniform((-60, -180), (70, 180), (self.users, 2))
        self.first = datetime.combine(LAST, datetime.min.time(), UTC) - timedelta(days=self.days - 1)
        self.posted: list[pl.DataFrame] = []

    def night(self, number: int) -> dict[str, pl.DataFrame]:
        """The tables of one night: its posts, snapshots of who posted, counts of the posts of a week ago."""
        midnight = self.first + timedelta(days=number)
        posts = self._posts(number, midnight)
        self.posted.append(posts.select("post_id", "posted_at", "user_id"))
        seen = pl.lit(midnight + timedelta(days=1, minutes=30))
        return {"posts": posts, "users": self._snapshots(posts, seen), "observations": self._counts(number)}

    def _posts(self, number: int, midnight: datetime) -> pl.DataFrame:
        random = self.random
        user = random.choice(self.users, NIGHT, p=self.shares)
        seconds = np.sort(random.integers(0, DAY_SECONDS, NIGHT))
        concept = np.minimum(random.zipf(1.3, NIGHT) - 1, CONCEPTS - 1)
        located = random.random(NIGHT) < 0.3
        place = np.clip(self.home[user] + random.normal(0, 0.7, (NIGHT, 2)), (-90, -180), (90, 180))
        rows = pl.DataFrame(
            {
                "post_id": [f"{number}{place:05}" for place in random.permutation(100_000)[:NIGHT]],
                "user_id": [f"{one}@N00" for one in user],
                "seconds": seconds,
                "title": random.choice(WORDS, NIGHT),
                "description": [DESCRIPTIONS[one] for one in random.integers(0, 3, NIGHT)],
                "tags": self._tags(user),
                "category": [f"category {one % SUBCATEGORIES % CATEGORIES}" for one in concept],
                "subcategory": [f"subcategory {one % SUBCATEGORIES}" for one in concept],
                "concept": [f"concept {one}" for one in concept],
                "latitude": np.where(located, place[:, 0], np.nan),
                "longitude": np.where(located, place[:, 1], np.nan),
                "width": random.integers(400, 4000, NIGHT),
                "height": random.integers(400, 4000, NIGHT),
            }
        )
        posted = pl.lit(midnight) + pl.duration(seconds="seconds")
        return TABLES["posts"].conform(
            rows.with_columns(
                pl.col("latitude", "longitude").fill_nan(None),
                source=pl.lit("flickr"),
                media_type=pl.lit("photo"),
                posted_at=posted,
                taken_at=posted - pl.duration(days=2),
                first_seen_at=pl.lit(midnight + timedelta(days=1, minutes=30)),
            )
        )

    def _tags(self, user: NDArray[np.int64]) -> list[list[str]]:
        """About eight a post, half of them of the user's own few."""
        counts = np.minimum(self.random.poisson(8, len(user)), 60)
        owner = np.repeat(user, counts)
        common = np.minimum(self.random.zipf(1.25, len(owner)), TAGS)
        own = (owner * 31 + self.random.integers(0, 12, len(owner)) ** 2) % TAGS
        numbers = np.where(self.random.random(len(owner)) < 0.5, common, own)
        names = [f"tag{number}" for number in numbers]
        ends = np.cumsum(counts)
        return [names[end - count : end] for end, count in zip(ends, counts, strict=True)]

    def _snapshots(self, posts: pl.DataFrame, seen: pl.Expr) -> pl.DataFrame:
        users = posts.select("user_id").unique().sort("user_id")
        counts = {name: self.random.integers(0, 100_000, users.height) for name in ("followers", "following")}
        counts |= {name: self.random.integers(1, 10**6, users.height) for name in ("photo_count", "total_views")}
        zone = (users["user_id"].hash() % 25).cast(pl.Float32) - 12
        wide = users.with_columns(**{name: pl.Series(values) for name, values in counts.items()}, timezone_offset=zone)
        return TABLES["users"].conform(wide.with_columns(observed_at=seen, first_post_at=pl.lit(self.first)))

    def _counts(self, number: int) -> pl.DataFrame:
        if number < 7:
            return TABLES["observations"].empty()
        posts = self.posted[number - 7]
        user = posts["user_id"].str.strip_suffix("@N00").cast(pl.Int64).to_numpy()
        views = np.exp2(np.clip(self.random.normal(self.level[user], 1.2), 0, 20)).astype(np.int64)
        later = pl.col("posted_at") + pl.duration(days=7, seconds=pl.Series(self.random.integers(0, 9000, NIGHT)))
        return TABLES["observations"].conform(posts.with_columns(observed_at=later, views=pl.Series(views)))

    def vectors(self, posts: pl.DataFrame) -> pl.DataFrame:
        """Random unit vectors."""
        numbers = self.random.standard_normal((posts.height, WIDTH), dtype=np.float32)
        numbers /= np.linalg.norm(numbers, axis=1, keepdims=True)
        vector = pl.Series("vector", numbers.astype(np.float16), dtype=pl.Array(pl.Float16, WIDTH))
        rows = posts.select("post_id", encoder_version=pl.lit("v"), input_sha256=pl.lit("s"))
        return TABLES["embeddings"].conform(rows.with_columns(vector))


def take_in(ws: Workspace, crowd: Crowd, nights: range, vectors: bool) -> None:
    """The tables of these nights, a part each, in one go."""
    with ws.appending("ingest") as ingest, ws.appending("embed") as embed:
        for number in nights:
            part = f"{(crowd.first + timedelta(days=number)).date()}"
            tables = crowd.night(number)
            for name, rows in tables.items():
                ingest.append(name, part, rows)
            for encoder in ws.params.embed.pair if vectors else ():
                embed.append(f"embeddings/{encoder}", part, crowd.vectors(tables["posts"]))


def workspace(root: Path, posts: int, vectors: bool = False) -> tuple[Workspace, Crowd]:
    """A workspace of that many posts but for the last night's."""
    create_workspace(root)
    ws, crowd = Workspace(root), Crowd(posts)
    take_in(ws, crowd, range(crowd.days - 1), vectors)
    return ws, crowd


# What runs in a process of its own.


def child_stage(root: Path, *names: str) -> Measured:
    ws = Workspace(root)
    return dict(stages.STAGES[names[0]](ws).facts)


def child_users(root: Path, way: str) -> Measured:
    posts, labels = Workspace(root).read("posts", POST_COLUMNS), Workspace(root).read("labels", LABEL_COLUMNS)
    started = time.process_time()
    found = WAYS[way](posts, labels)
    used = time.process_time() - started
    found.write_parquet(root / f"users-{way}.parquet")
    return {"work_cpu": used}


def child_reduce(root: Path) -> Measured:
    from flickcast.models.reductions.vectors import principal_components, vectors_in

    rows = Workspace(root).vectors()
    for kind in ("picture", "text"):
        _, vectors = vectors_in(rows, kind)
        mean, components = principal_components(vectors, REDUCED)
        short = (vectors - mean) @ components.T
    return {"width": short.shape[1]}


def with_states(posts: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Features of each post's user from what was known before it: ours, states made from nothing."""
    states = pl.concat([post_states(posts, "users"), label_states(posts, labels, "users")])
    found = as_of(targets(posts, "users"), states, (7, 30))
    count, labelled = pl.col("posts"), pl.col("popularity_count")
    mean = pl.col("popularity_sum") / labelled
    tags = pl.col("tags_sum") / pl.col("tags_count")
    since = (pl.col("moment") - pl.col("first_posted_at")).dt.total_seconds()
    return found.select(
        "post_id",
        posts=count,
        days_since_first=since / DAY_SECONDS,
        days_since_last=(pl.col("moment") - pl.col("last_posted_at")).dt.total_seconds() / DAY_SECONDS,
        week="posts_7_days",
        month="posts_30_days",
        tags_mean=tags,
        tags_deviation=(pl.col("tags_square_sum") / pl.col("tags_count") - tags**2).clip(0).sqrt(),
        title_mean=pl.col("title_chars_sum") / pl.col("title_chars_count"),
        geotagged=pl.col("geotagged") / count,
        labels=labelled,
        popularity_mean=mean,
        popularity_deviation=moments.deviation("popularity"),
        popularity_minimum="popularity_minimum",
        popularity_maximum="popularity_maximum",
    )


def _frame(posts: pl.DataFrame, labels: pl.DataFrame) -> Any:
    """Posts with their labels as a pandas frame, moments in seconds."""
    found = posts.select("post_id", "user_id", "posted_at", "first_seen_at", "latitude").to_pandas()
    found["tags"] = posts["tags"].list.len().to_pandas()
    found["title"] = posts["title"].str.len_chars().to_pandas()
    found = found.merge(labels.to_pandas(), on="post_id", how="left")
    start = found["posted_at"].min()
    for name in ("posted_at", "first_seen_at", "matured_at"):
        found[name] = (found[name] - start).dt.total_seconds().fillna(1e15)
    found["known_at"] = found[["posted_at", "first_seen_at"]].max(axis=1)
    found["label_known_at"] = found[["matured_at", "known_at"]].max(axis=1)
    return found


def with_pandas(posts: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The same as public solutions go about it: a pandas frame, grouped by user, one function for each user's rows."""
    import pandas as pd

    frame = _frame(posts, labels)

    def of_one_user(rows: "pd.DataFrame") -> "pd.DataFrame":
        found = []
        for post in rows.itertuples():
            before = rows[rows["known_at"] < post.posted_at]
            known = rows.loc[rows["label_known_at"] < post.posted_at, "popularity"]
            found.append(
                {
                    "post_id": post.post_id,
                    "posts": len(before),
                    "days_since_first": (post.posted_at - before["posted_at"].min()) / DAY_SECONDS,
                    "days_since_last": (post.posted_at - before["posted_at"].max()) / DAY_SECONDS,
                    "week": (before["known_at"] >= post.posted_at - 7 * DAY_SECONDS).sum(),
                    "month": (before["known_at"] >= post.posted_at - 30 * DAY_SECONDS).sum(),
                    "tags_mean": before["tags"].mean(),
                    "tags_deviation": before["tags"].std(ddof=0),
                    "title_mean": before["title"].mean(),
                    "geotagged": before["latitude"].notna().mean(),
                    "labels": known.count(),
                    "popularity_mean": known.mean(),
                    "popularity_deviation": known.std(ddof=0),
                    "popularity_minimum": known.min(),
                    "popularity_maximum": known.max(),
                }
            )
        return pd.DataFrame(found)

    groups = [of_one_user(rows) for _, rows in frame.groupby("user_id", sort=False)]
    return pl.from_pandas(pd.concat(groups), nan_to_null=True)


def with_pandas_vectors(posts: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The same as somebody who knows pandas well goes about it: running sums by user, looked up by `merge_asof`."""
    import pandas as pd

    frame = _frame(posts, labels)
    known = frame.sort_values("known_at", kind="stable")
    known["one"], known["located"] = 1, known["latitude"].notna().astype(int)
    known["tagged"], known["titled"] = known["tags"].notna().astype(int), known["title"].notna().astype(int)
    known["tags_squared"] = known["tags"] ** 2
    sums = ["one", "located", "tags", "tagged", "tags_squared", "title", "titled"]
    users = known.groupby("user_id", sort=False)
    running = users[sums].cumsum().assign(user_id=known["user_id"], known_at=known["known_at"])
    running[sums] = running[sums].groupby(running["user_id"], sort=False).ffill()
    running["first"], running["last"] = users["posted_at"].cummin(), users["posted_at"].cummax()
    wanted = frame[["post_id", "user_id", "posted_at"]].sort_values("posted_at", kind="stable")

    def look_up(rows: "pd.DataFrame", moment: "pd.Series[float]", at: str) -> "pd.DataFrame":
        left = wanted.assign(moment=moment)
        return pd.merge_asof(left, rows, left_on="moment", right_on=at, by="user_id", allow_exact_matches=False)

    found = look_up(running, wanted["posted_at"], "known_at")
    earlier = {
        days: look_up(running[["user_id", "known_at", "one"]], wanted["posted_at"] - days * DAY_SECONDS, "known_at")
        for days in (7, 30)
    }
    matured = frame[frame["popularity"].notna()].sort_values("label_known_at", kind="stable")
    matured["count"], matured["squared"] = 1, matured["popularity"] ** 2
    theirs = matured.groupby("user_id", sort=False)
    state = theirs[["count", "popularity", "squared"]].cumsum()
    state["low"], state["high"] = theirs["popularity"].cummin(), theirs["popularity"].cummax()
    state[["user_id", "label_known_at"]] = matured[["user_id", "label_known_at"]]
    told = look_up(state, wanted["posted_at"], "label_known_at")
    count, mean = found["one"].fillna(0), found["tags"] / found["tagged"]
    label_mean = told["popularity"] / told["count"]
    columns = {
        "post_id": found["post_id"],
        "posts": count,
        "days_since_first": (found["posted_at"] - found["first"]) / DAY_SECONDS,
        "days_since_last": (found["posted_at"] - found["last"]) / DAY_SECONDS,
        "week": count - earlier[7]["one"].fillna(0),
        "month": count - earlier[30]["one"].fillna(0),
        "tags_mean": mean,
        "tags_deviation": (found["tags_squared"] / found["tagged"] - mean**2).clip(0) ** 0.5,
        "title_mean": found["title"] / found["titled"],
        "geotagged": found["located"] / found["one"],
        "labels": told["count"].fillna(0),
        "popularity_mean": label_mean,
        "popularity_deviation": (told["squared"] / told["count"] - label_mean**2).clip(0) ** 0.5,
        "popularity_minimum": told["low"],
        "popularity_maximum": told["high"],
    }
    return pl.from_pandas(pd.DataFrame(columns), nan_to_null=True)


WAYS: dict[str, Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]] = {
    "ours, states": with_states,
    "pandas, a function for each user": with_pandas,
    "pandas, running sums and merge_asof": with_pandas_vectors,
}
CHILDREN: dict[str, Callable[..., Measured]] = {"stage": child_stage, "users": child_users, "reduce": child_reduce}


def child(kind: str, *arguments: str) -> None:
    """Print what the work took, its imports and Python's start left out."""
    import flickcast.aggregates
    import flickcast.features  # noqa: F401

    started, used = time.perf_counter(), time.process_time()
    facts = CHILDREN[kind](Path(arguments[0]), *arguments[1:])
    took = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - used}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps({**took, "peak": peak, **facts}, default=str))


def measured(kind: str, root: Path, *arguments: str) -> Measured:
    """Seconds, CPU seconds and peak memory (MiB) of one piece of work."""
    command = [sys.executable, __file__, "--child", kind, str(root), *arguments]
    found: Measured = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    told = f"{found['seconds']:.1f} s, {found['cpu']:.1f} CPU s, {found['peak']:,.0f} MiB"
    print(f"  {kind} {' '.join(arguments)}: {told}", file=sys.stderr, flush=True)
    return found


def measure_states(root: Path, posts: int) -> Measured:
    """All of history, then one more night, as the stage does it."""
    ws, crowd = workspace(root / f"states-{posts}", posts)
    measured("stage", ws.root, "labels")
    full = measured("stage", ws.root, "aggregate")
    take_in(ws, crowd, range(crowd.days - 1, crowd.days), False)
    measured("stage", ws.root, "labels")
    night = measured("stage", ws.root, "aggregate")
    return {"posts": posts, "users": crowd.users, "full": full, "night": night}


def states_table(root: Path, given: argparse.Namespace) -> str:
    rows = [measure_states(root, posts) for posts in (given.small, given.posts)]
    head = "| history, posts | users | all states, seconds | CPU seconds | peak memory, MiB | a night, seconds "
    head += "| CPU seconds | parts made | full / night |\n"
    lines = [
        f"| {row['posts']:,} | {row['users']:,} | {row['full']['seconds']:.1f} | {row['full']['cpu']:.1f} | "
        f"{row['full']['peak']:,.0f} | {row['night']['seconds']:.2f} | {row['night']['cpu']:.2f} | "
        f"{row['night']['made']} | {row['full']['seconds'] / row['night']['seconds']:.1f} |"
        for row in rows
    ]
    small, large = (row["night"]["seconds"] for row in rows)
    told = f"\nThe night of {NIGHT:,} posts, long history against short: {large / small:.2f}.\n"
    return head + _rule(head) + "\n".join(lines) + "\n" + told


def users_table(root: Path, given: argparse.Namespace) -> str:
    """Every way at the smaller size, where the slow one ends within minutes; the quick ones at the larger one."""
    ours, slow, quick = WAYS
    rows = users_rows(root, given.small, (ours, slow, quick)) + users_rows(root, given.posts, (ours, quick))
    head = "| user features | posts | CPU seconds | to ours | seconds | peak memory, MiB |\n"
    return head + _rule(head) + "\n".join(rows) + "\n"


def users_rows(root: Path, posts: int, ways: tuple[str, ...]) -> list[str]:
    """One row per way; all of them must say the same."""
    ws, _ = workspace(root / f"users-{posts}", posts)
    measured("stage", ws.root, "labels")
    took = {way: measured("users", ws.root, way) for way in ways}
    found = [pl.read_parquet(ws.root / f"users-{way}.parquet").sort("post_id") for way in ways]
    for theirs in found[1:]:
        _refuse_difference(found[0], theirs)
    least = took[ways[0]]["work_cpu"]
    return [
        f"| {way} | {found[0].height:,} | {one['work_cpu']:.1f} | {one['work_cpu'] / least:.1f} | "
        f"{one['seconds']:.1f} | {one['peak']:,.0f} |"
        for way, one in took.items()
    ]


def _refuse_difference(ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
    """A speed counts only where both say the same (deviations to the grid of labels)."""
    for name in ours.columns[1:]:
        one, other = (frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for frame in (ours, theirs))
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=6e-3, err_msg=name)


def matrix_table(root: Path, given: argparse.Namespace) -> str:
    ws, crowd = workspace(root / "matrix", given.posts, vectors=True)
    for stage in ("labels", "aggregate"):
        measured("stage", ws.root, stage)
    full = measured("stage", ws.root, "features")
    reduced = measured("reduce", ws.root)
    size = sum(path.stat().st_size for path in ws.folder("features").glob("*.parquet"))
    take_in(ws, crowd, range(crowd.days - 1, crowd.days), True)
    for stage in ("labels", "aggregate"):
        measured("stage", ws.root, stage)
    night = measured("stage", ws.root, "features")
    head = "| | posts | columns | seconds | CPU seconds | peak memory, MiB | MB on disk |\n"
    lines = [
        f"| {name} | {posts:,} | {columns} | {one['seconds']:.1f} | {one['cpu']:.1f} | {one['peak']:,.0f} | {size} |"
        for name, posts, columns, one, size in (
            ("the matrix, all groups", full["posts"], full["columns"], full, f"{size / 1e6:,.0f}"),
            (f"two vectors of {WIDTH} to {REDUCED}", full["posts"], 2 * REDUCED, reduced, ""),
            ("a night's rows", NIGHT, night["columns"], night, ""),
        )
    ]
    return head + _rule(head) + "\n".join(lines) + "\n"


def _rule(head: str) -> str:
    return "|" + " --- |" * (head.count("|") - 1) + "\n"


def write(parts: dict[str, str]) -> None:
    """Put the tables between their comments in docs/performance.md; a part not measured now keeps its place."""
    text = PAGE.read_text(encoding="utf-8")
    for name, content in parts.items():
        mark = re.compile(rf"(<!-- features: {name} -->\n).*(<!-- end of features: {name} -->)", re.DOTALL)
        text = mark.sub(lambda found, content=content: found[1] + content + found[2], text)
    PAGE.write_text(text, encoding="utf-8")


PARTS: dict[str, Callable[[Path, argparse.Namespace], str]] = {
    "states": states_table,
    "users": users_table,
    "matrix": matrix_table,
}


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        return child(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--posts", type=int, default=LARGE)
    parser.add_argument("--small", type=int, default=SMALL)
    parser.add_argument("--dry", action="store_true", help="print the tables, leave the page as it is")
    given = parser.parse_args()
    machine = f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    done = {}
    for name in [given.only] if given.only else PARTS:
        root = Path(tempfile.mkdtemp(prefix="flickcast-bench-"))
        try:
            when = f"Measured {date.today()} by `python benchmarks/features.py --only {name}`"
            done[name] = f"{when}, {os.cpu_count()} cores ({machine}).\n\n{PARTS[name](root, given)}"
        finally:
            shutil.rmtree(root)
        print(done[name], flush=True)
    if not given.dry:
        write(done)


if __name__ == "__main__":
    main()
