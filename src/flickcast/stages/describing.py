"""From posts to what is known of them: labels and aggregates."""

from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial

import polars as pl

from flickcast.records import StageReport
from flickcast.stages import periods
from flickcast.tables import Parts
from flickcast.workspace import Workspace

# What states are made from, of a post.
POST_COLUMNS = (
    "post_id",
    "user_id",
    "posted_at",
    "first_seen_at",
    "title",
    "description",
    "tags",
    "category",
    "subcategory",
    "concept",
    "latitude",
    "longitude",
)
LABEL_COLUMNS = ("post_id", "popularity", "matured_at")


def labels(ws: Workspace) -> StageReport:
    """The labels known so far: counts of posts that have come of age, and those of the challenge's files."""
    from flickcast.labels import popularity_labels

    rows = popularity_labels(
        ws.read("posts", ("post_id", "posted_at")),
        ws.read("observations"),
        ws.read("imported_labels"),
        ws.params.label,
    )
    parts = periods.of_rows(rows, "matured_at", periods.newest_month(ws.digests("posts")))
    wanted = {name: periods.digest(part.hash_rows(seed=0).to_list()) for name, part in parts.items()}
    ws.refresh("labels", wanted, lambda missing: ((name, parts[name]) for name in missing))
    kinds = dict(rows.group_by("kind").len().sort("kind").iter_rows())
    return StageReport("labels", {"labels": rows.height, **kinds})


def aggregate(ws: Workspace) -> StageReport:
    """Add what new posts and labels say to the states of users, tags, classes, places and times.

    Each part of the states is made from one period of posts or of labels, and made anew only when that changes: a night
    costs what its own posts cost, and a post that is corrected or forgotten what its period costs and those in which
    its label can be.
    """
    from flickcast.aggregates import ENTITIES, VERSION

    theirs = _posts_parts(ws)
    wanted = _wanted(ws, [VERSION, pl.__version__], theirs)  # polars' hashes, in the sketches, may change with it
    inputs = cache(partial(_inputs, ws, theirs))
    made = {name: ws.refresh(f"aggregates/{name}", wanted, partial(_states, name, inputs)) for name in ENTITIES}
    parts = sorted({part for names in made.values() for part in names})
    return StageReport("aggregate", {"entities": len(ENTITIES), "parts": len(wanted), "made": len(parts)})


Inputs = Callable[[str], tuple[pl.DataFrame, pl.DataFrame | None]]
PostsParts = dict[str, list[str]]  # of each part of the labels, the parts of the posts that can hold theirs


def _states(name: str, inputs: Inputs, missing: list[str]) -> Parts:
    from flickcast.aggregates import label_states, post_states

    for part in missing:
        posts, labels = inputs(part)
        yield part, post_states(posts, name) if labels is None else label_states(posts, labels, name)


def _wanted(ws: Workspace, made_by: list[object], theirs: PostsParts) -> dict[str, str]:
    """The parts that the states should have, each with the digest of what it is made from."""
    posts, labels = ws.digests("posts"), ws.digests("labels")
    wanted = {f"posts-{period}": [posts[part] for part in parts] for period, parts in periods.of_parts(posts).items()}
    wanted |= {f"labels-{part}": [labels[part], *(posts[name] for name in theirs[part])] for part in theirs}
    return {part: periods.digest([made_by, content]) for part, content in wanted.items()}


def _inputs(ws: Workspace, theirs: PostsParts, part: str) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """The posts of a part of the states or, for one of labels, the labels with their posts."""
    kind, _, name = part.partition("-")
    if kind == "posts":
        return ws.read_parts("posts", periods.of_parts(ws.digests("posts"))[name], POST_COLUMNS), None
    labels = ws.read_parts("labels", [name], LABEL_COLUMNS)
    posts = ws.read_parts("posts", theirs[name], POST_COLUMNS)
    return posts.join(labels, on="post_id", how="semi"), labels


def _posts_parts(ws: Workspace) -> PostsParts:
    """For each part of the labels the parts of the posts that can hold theirs, by the age at which they mature."""
    params, posts = ws.params.label, ws.spans("posts", "posted_at")
    youngest, oldest = (
        timedelta(days=days) for days in (params.maturity_days, params.maturity_days + params.tolerance_days)
    )
    return {
        part: sorted(name for name, (low, high) in posts.items() if low <= last - youngest and high >= first - oldest)
        for part, (first, last) in ws.spans("labels", "matured_at").items()
    }
