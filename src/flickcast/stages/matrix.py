"""The model matrix: what feature groups read, put together for the posts that need it, and the stage `features`."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from flickcast.records import StageReport
from flickcast.schemas import TABLES
from flickcast.stages import periods
from flickcast.tables import Parts, publish_json
from flickcast.workspace import Workspace

# Part of what a stored part is made from: raise it when a feature of the same inputs would come out otherwise.
VERSION = 1
WINDOWS = {"users": (1, 7, 30, 365), "world": (7, 30), "tags": (7, 30)}
USUAL_WINDOWS = (7, 30)
FOR_EVER = pl.lit("2100-01-01").str.to_datetime(time_unit="us", time_zone="UTC")
# Of the posts of a user: what `user_behaviour` and `user_popularity` look at one by one.
HISTORY_COLUMNS = (
    "post_id",
    "user_id",
    "posted_at",
    "first_seen_at",
    "title",
    "tags",
    "category",
    "latitude",
    "longitude",
)


def features(ws: Workspace) -> StageReport:
    """The model matrix, one row per post, and the manifest that names each column's group, source and clock.

    A feature of a post never changes once it is known (clock `point_in_time`), so a night adds the rows of its own
    posts; what else changes (a picture embedded late, a post forgotten) makes its period anew. The `transductive` clock
    makes everything anew.
    """
    from flickcast.features import left_out, manifest

    params = ws.params.features
    before = _present(ws)
    found: dict[str, list[str]] = {}
    made = ws.refresh("features", _wanted(ws), lambda missing: _rows(ws, missing, found))
    parts = set(periods.of_parts(ws.digests("posts")))
    present = {part: found.get(part, before.get(part, [])) for part in sorted(parts)}
    columns = manifest(params.groups, sorted({name for names in present.values() for name in names}), params.clock)
    publish_json(ws.folder("features") / "manifest.json", columns)
    publish_json(ws.folder("features") / "present.json", present)
    facts = {"posts": ws.height("features"), "columns": len(columns), "periods": len(present), "made": len(made)}
    return StageReport("features", facts, tuple(left_out(columns, params.groups)))


def _present(ws: Workspace) -> dict[str, list[str]]:
    """Which columns hold a value, by period, as the last run left it."""
    path = ws.folder("features") / "present.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _rows(ws: Workspace, missing: list[str], found: dict[str, list[str]]) -> Parts:
    """The matrix of the posts of these periods, made in one go and cut into them."""
    from flickcast.features import build, present

    named = periods.of_parts(ws.digests("posts"))
    every = tuple(TABLES["posts"].columns)
    targets = {period: ws.read_parts("posts", named[period], every) for period in missing}
    matrix = build(Inputs(ws, pl.concat(targets.values())), ws.params.features.groups)
    for period, posts in targets.items():
        rows = matrix.join(posts.select("post_id"), on="post_id", how="semi")
        found[period] = present(rows)
        yield period, rows


def _wanted(ws: Workspace) -> dict[str, str]:
    """The parts that the matrix should have, each with the digest of all that can change it.

    By the clock `point_in_time` that is what was known before its newest post: later parts of snapshots and states do
    not count.
    """
    posts, spans = ws.digests("posts"), ws.spans("posts", "posted_at")
    known = [(first, table, content) for table, column in _dated(ws) for first, content in _starts(ws, table, column)]
    made_by = [VERSION, pl.__version__, ws.params.features.model_dump(), ws.params.embed.pair]
    vectors = _vector_parts(ws)
    wanted = {}
    for period, parts in periods.of_parts(posts).items():
        until = max(spans[part][1] for part in parts)
        everything = ws.params.features.clock == "transductive"
        theirs = sorted([table, content] for first, table, content in known if everything or first < until)
        content = [
            made_by,
            [posts[part] for part in parts],
            theirs,
            sorted({name for part in parts for name in vectors.get(part, ())}),
        ]
        wanted[period] = periods.digest(content)
    return wanted


def _dated(ws: Workspace) -> Iterator[tuple[str, str]]:
    """The tables that features read, with the column that says from when a row counts."""
    from flickcast.aggregates import ENTITIES

    yield "users", "observed_at"
    yield from ((f"aggregates/{name}", "at") for name in ENTITIES)


def _starts(ws: Workspace, table: str, column: str) -> list[tuple[Any, str]]:
    digests = ws.digests(table)
    return [(first, digests[part]) for part, (first, _) in ws.spans(table, column).items()]


def _vector_parts(ws: Workspace) -> dict[str, list[str]]:
    """The parts of vectors that hold posts of each part of the posts, as contents."""
    found: dict[str, list[str]] = {}
    owners = ws.places("posts", ("post_id",)).rename({"part": "posts_part"})
    for encoder in ws.params.embed.pair:
        table = f"embeddings/{encoder}"
        digests = ws.digests(table)
        pairs = ws.places(table, ("post_id",)).join(owners, on="post_id").select("posts_part", "part").unique()
        for part, vectors in pairs.sort("posts_part", "part").iter_rows():
            found.setdefault(part, []).append(digests[vectors])
    return found


class Inputs(Mapping[str, pl.DataFrame]):
    """What feature groups read, for some posts: each is read when first asked for.

    `labels` are those that may be known (by default all that are). Inputs: `posts`, whose features are wanted;
    `users`, the snapshots of who posted them; `history`, all posts of these users with the moments at which they and
    their labels became known; `<entity>_states`, the merged state of each post's entity before it appeared, with
    `posts_<n>_days` for windows; `cosines` of picture and text.
    """

    def __init__(self, ws: Workspace, posts: pl.DataFrame, labels: pl.DataFrame | None = None) -> None:
        from flickcast.aggregates import ENTITIES

        self._ws = ws
        self._labels = labels
        self._transductive = ws.params.features.clock == "transductive"
        self._read: dict[str, pl.DataFrame] = {"posts": posts}
        self._makers: dict[str, Callable[[], pl.DataFrame]] = {
            "users": self._users,
            "history": self._history,
            "cosines": lambda: cosines(self._ws, posts["post_id"]),
            **{f"{name}_states": partial(self._states, name) for name in ENTITIES},
        }

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name not in self._read:
            self._read[name] = self._makers[name]()
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(["posts", *self._makers])

    def __len__(self) -> int:
        return 1 + len(self._makers)

    def _of_users(self, table: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        wanted = self["posts"].lazy().select("user_id").unique()
        return self._ws.scan(table, columns).join(wanted, on="user_id", how="semi").collect()

    def _users(self) -> pl.DataFrame:
        """Snapshots; by the transductive clock a user's last one, as if it had been known for ever."""
        rows = self._of_users("users").sort("user_id", "observed_at")
        if not self._transductive:
            return rows
        last = rows.unique("user_id", keep="last", maintain_order=True)
        return last.with_columns(observed_at=pl.lit(rows["observed_at"].min() if rows.height else None))

    def _history(self) -> pl.DataFrame:
        """Posts of these users: known_at, and popularity with label_known_at where the label may be known."""
        posts = self._of_users("posts", HISTORY_COLUMNS)
        labels = (self._ws.read("labels") if self._labels is None else self._labels).select(
            "post_id", "popularity", "matured_at"
        )
        seen = pl.max_horizontal("posted_at", "first_seen_at")
        joined = posts.join(labels, on="post_id", how="left").with_columns(
            known_at=pl.col("posted_at") if self._transductive else seen,
            label_known_at=pl.when(pl.col("matured_at").is_not_null()).then(pl.max_horizontal("matured_at", seen)),
            title_chars=pl.col("title").str.len_chars(),
        )
        return joined.drop("first_seen_at", "matured_at", "title").sort("user_id", "known_at", "posted_at", "post_id")

    def _states(self, name: str) -> pl.DataFrame:
        """The merged state of the entities of each post before it appeared; by the transductive clock what is not of
        labels is that of all posts there are.
        """
        from flickcast.aggregates import as_of, targets

        posts, windows = self["posts"], WINDOWS.get(name, USUAL_WINDOWS)
        states = self._stored_states(name)
        found = as_of(targets(posts, name), states, windows)
        if not self._transductive:
            return found
        always = as_of(targets(posts, name, FOR_EVER), states)
        of_labels = [
            column for column in found.columns if column.startswith("popularity_") or column not in always.columns
        ]
        return always.drop(column for column in of_labels if column in always.columns).with_columns(found[of_labels])

    def _stored_states(self, name: str) -> pl.DataFrame:
        from flickcast.aggregates import label_states, targets

        table = f"aggregates/{name}"
        parts = [part for part in self._ws.digests(table) if self._labels is None or part.startswith("posts-")]
        wanted = targets(self["posts"], name).select("entity_id").unique()
        columns = [column for column in TABLES[table].columns if not column.endswith("_sketch")]
        stored = self._ws.read_parts(table, parts, columns).join(wanted, on="entity_id", how="semi")
        if self._labels is None:
            return stored
        theirs = label_states(self._ws.read("posts"), self._labels, name).select(columns)
        return pl.concat([stored, theirs.join(wanted, on="entity_id", how="semi")])


def cosines(ws: Workspace, wanted: pl.Series) -> pl.DataFrame:
    """How alike picture and text are, of the wanted posts that have a picture: post_id, has_picture, cosine."""
    picture, text = (ws.vectors_of(encoder, wanted) for encoder in ws.params.embed.pair)
    rows = picture.join(text, on="post_id", how="left", suffix="_text").sort("post_id")
    both = rows.filter(pl.col("vector_text").is_not_null() & pl.col("vector").is_not_null())
    values = np.empty(both.height, np.float32)
    for first in range(0, both.height, 50_000):  # float32 copies of half a gigabyte each are not needed at once
        some = both.slice(first, 50_000)
        one, other = (some[name].to_numpy().astype(np.float32) for name in ("vector", "vector_text"))
        values[first : first + some.height] = np.einsum("ij,ij->i", one, other)  # unit vectors
    found = both.select("post_id", cosine=pl.Series(values, dtype=pl.Float32))
    return rows.select("post_id", has_picture=pl.col("vector").is_not_null()).join(found, on="post_id", how="left")


def feature_manifest(ws: Workspace) -> dict[str, dict[str, Any]]:
    """What each column of the matrix is."""
    content: dict[str, dict[str, Any]] = json.loads((ws.folder("features") / "manifest.json").read_text())
    return content
