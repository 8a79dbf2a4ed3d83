"""What feature groups read, for some posts, put together from tables and states when it is asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Protocol

import polars as pl
import polars.selectors as cs

from flickcast.schemas import TABLES
from flickcast.stages.describing import LABEL_COLUMNS, POST_COLUMNS
from flickcast.stages.picture_inputs import cosines, picture_encoders, picture_statistics
from flickcast.workspace import Workspace

# For how many days back posts are counted, by entity.
WINDOWS = {"users": (1, 7, 30, 60, 365)}
USUAL_WINDOWS = (7, 30)
FOR_EVER = pl.lit("2100-01-01").str.to_datetime(time_unit="us", time_zone="UTC")
FROM_THE_START = pl.lit("1900-01-01").str.to_datetime(time_unit="us", time_zone="UTC")
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


class Tables(Protocol):
    """Where the inputs come from."""

    def rows(self, table: str, columns: Sequence[str]) -> pl.LazyFrame:
        """Columns of `posts`, `users` or `labels`, the latter as far as they may be known."""
        ...

    def states(self, entity: str, wanted: pl.DataFrame) -> pl.DataFrame:
        """The states of the wanted entities (one column, entity_id), of all moments, without sketches."""
        ...

    def cosines(self, posts: pl.Series) -> pl.DataFrame:
        """How alike picture and text are, of these posts that have a picture: post_id, has_picture, cosine."""
        ...

    def picture_statistics(self, posts: pl.Series) -> pl.DataFrame:
        """What was measured on the pictures of these posts: post_id and every column of `picture_columns`."""
        ...


class Inputs(Mapping[str, pl.DataFrame]):
    """The inputs of feature groups for some posts (all columns of the table); each is made when first asked for.

    - `posts`: those whose features are wanted
    - `users`: the snapshots of who posted them
    - `time_zones`: of every user, the first snapshot that tells the time zone (by `transductive` the latest)
    - `history`: all posts of these users, with the moments at which they and their labels became known
    - `<entity>_states`: the merged state of each post's entity before the post appeared, with `posts_<n>_days`; no row
      for a post that has no such entity, several for one that has several tags
    - `cosines`: how alike picture and text are
    - `picture_statistics`: what encoders of params embed.others measured on the pictures; null where none did

    By the clock `transductive` all posts count as known from the start, so that `known_at` is when they appeared, and
    `posts_<n>_days` counts those that appeared in the n days before; labels never do.
    """

    def __init__(self, tables: Tables, posts: pl.DataFrame, clock: str) -> None:
        from flickcast.aggregates import ENTITIES

        self._tables = tables
        self._transductive = clock == "transductive"
        self._read: dict[str, pl.DataFrame] = {"posts": posts}
        self._makers: dict[str, Callable[[], pl.DataFrame]] = {
            "users": self._users,
            "time_zones": self._time_zones,
            "history": self._history,
            "cosines": lambda: tables.cosines(posts["post_id"]),
            "picture_statistics": lambda: tables.picture_statistics(posts["post_id"]),
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

    def _of_users(self, table: str, columns: Sequence[str]) -> pl.DataFrame:
        return _with(self._tables.rows(table, columns), "user_id", self["posts"]["user_id"])

    def _users(self) -> pl.DataFrame:
        rows = self._of_users("users", tuple(TABLES["users"].columns)).sort("user_id", "observed_at")
        if not self._transductive:
            return rows
        first = self["history"].group_by("user_id").agg(pl.col("posted_at").min())
        last = rows.unique("user_id", keep="last", maintain_order=True).join(first, on="user_id", maintain_order="left")
        return last.with_columns(observed_at=pl.min_horizontal("observed_at", "posted_at")).drop("posted_at")

    def _time_zones(self) -> pl.DataFrame:
        rows = self._tables.rows("users", ("user_id", "observed_at", "timezone_offset")).drop_nulls().collect()
        known = rows.sort("user_id", "observed_at")
        if not self._transductive:
            return known.unique("user_id", keep="first", maintain_order=True)
        latest = known.unique("user_id", keep="last", maintain_order=True)
        return latest.with_columns(observed_at=FROM_THE_START)

    def _history(self) -> pl.DataFrame:
        posts = self._of_users("posts", HISTORY_COLUMNS)
        labels = _with(self._tables.rows("labels", LABEL_COLUMNS), "post_id", posts["post_id"])
        seen = pl.max_horizontal("posted_at", "first_seen_at")
        joined = posts.join(labels, on="post_id", how="left").with_columns(
            known_at=pl.col("posted_at") if self._transductive else seen,
            label_known_at=pl.when(pl.col("matured_at").is_not_null()).then(pl.max_horizontal("matured_at", seen)),
            title_chars=pl.col("title").str.len_chars(),
        )
        return joined.drop("first_seen_at", "matured_at", "title").sort("user_id", "known_at", "posted_at", "post_id")

    def _states(self, name: str) -> pl.DataFrame:
        from flickcast.aggregates import as_of, targets

        posts = self["posts"]
        wanted = targets(posts, name)
        states = self._tables.states(name, wanted.select("entity_id").unique())
        windows = WINDOWS.get(name, USUAL_WINDOWS)
        if not self._transductive:
            return as_of(wanted, states, windows)
        always, known = as_of(targets(posts, name, FOR_EVER), states), as_of(wanted, states)
        appeared = as_of(wanted, self._appearances(name), windows)
        return always.with_columns(
            *known.select(cs.starts_with("popularity_")), *appeared.select("moment", cs.matches(r"^posts_\d+_days$"))
        )

    def _appearances(self, name: str) -> pl.DataFrame:
        """How many posts of each entity appeared when: entity_id, at, posts."""
        from flickcast.aggregates import post_states

        return post_states(self._all_posts, name).select("entity_id", "at", "posts")

    @cached_property
    def _all_posts(self) -> pl.DataFrame:
        """As if each had been found the moment it appeared."""
        return self._tables.rows("posts", POST_COLUMNS).with_columns(first_seen_at=pl.col("posted_at")).collect()


class Stored:
    """The tables of a workspace; `labels` in place of its own where a model is judged."""

    def __init__(self, ws: Workspace, labels: pl.DataFrame | None = None) -> None:
        self._ws = ws
        self._labels = labels

    def rows(self, table: str, columns: Sequence[str]) -> pl.LazyFrame:
        """See `Tables`."""
        if table == "labels" and self._labels is not None:
            return self._labels.lazy().select(columns)
        return self._ws.scan(table, columns)

    def states(self, entity: str, wanted: pl.DataFrame) -> pl.DataFrame:
        """See `Tables`; the states of other labels are made here and now."""
        from flickcast.aggregates import label_states

        table = f"aggregates/{entity}"
        columns = [column for column in TABLES[table].columns if not column.endswith("_sketch")]
        stored = self._ws.scan(table, columns)
        if self._labels is None:
            return _with(stored, "entity_id", wanted["entity_id"])
        others = label_states(self._labelled_posts, self._labels, entity).select(columns)
        of_posts = stored.filter(pl.col("posts") > 0)  # those of the workspace's own labels hold none
        return _with(pl.concat([of_posts, others.lazy()]), "entity_id", wanted["entity_id"])

    @cached_property
    def _labelled_posts(self) -> pl.DataFrame:
        ids = pl.Series(dtype=pl.String) if self._labels is None else self._labels["post_id"]
        return _with(self._ws.scan("posts", POST_COLUMNS), "post_id", ids)

    def cosines(self, posts: pl.Series) -> pl.DataFrame:
        """See `Tables`."""
        picture, text = (self._ws.some_vectors(encoder, posts) for encoder in self._ws.params.embed.pair)
        return cosines(picture, text)

    def picture_statistics(self, posts: pl.Series) -> pl.DataFrame:
        """See `Tables`."""
        used = picture_encoders(self._ws.params.embed)
        return picture_statistics({encoder: self._ws.some_vectors(encoder, posts) for encoder in used})


def _with(rows: pl.LazyFrame, column: str, values: pl.Series) -> pl.DataFrame:
    """The rows with one of these values; a filter, not a join, so that the others are let go as each part is read."""
    return rows.filter(pl.col(column).is_in(values.unique().implode())).collect()
