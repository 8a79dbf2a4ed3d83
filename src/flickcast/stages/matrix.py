"""The model matrix: what feature groups read, put together for the posts that need it, and the stage `features`."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import polars as pl

from flickcast.records import StageReport
from flickcast.schemas import TABLES
from flickcast.stages import periods
from flickcast.stages.inputs import Inputs, Stored
from flickcast.stages.picture_inputs import picture_encoders
from flickcast.tables import Parts, publish_json
from flickcast.workspace import Workspace

# Part of what a stored part is made from: raise it when a feature of the same inputs would come out otherwise.
VERSION = 3
MANIFEST = "manifest.json"
PostsParts = dict[str, list[str]]  # of each period
Spans = Mapping[str, tuple[datetime, datetime]]


def features(ws: Workspace) -> StageReport:
    """The model matrix, one row per post, and the manifest that names each column's group, source and clock.

    What follows a post never changes its features (clock `point_in_time`), so a night adds the rows of its own posts,
    and a picture embedded late makes its post's period anew. A past that turns out otherwise (a post corrected or
    forgotten) may be part of what any later post's features count: every period from there on is made anew. The
    `transductive` clock makes everything anew.
    """
    from flickcast.features import left_out, manifest

    params = ws.params.features
    digests = ws.digests("posts")
    named = periods.of_parts(digests)
    wanted = _wanted(ws, named, digests)
    made = ws.refresh("features", wanted, partial(_rows, ws, named))
    columns = manifest(params.groups, ws.filled("features"), params.clock)
    publish_json(ws.folder("features") / MANIFEST, columns)
    facts = {"posts": ws.height("features"), "columns": len(columns), "periods": len(wanted), "made": len(made)}
    return StageReport("features", facts, tuple(left_out(columns, params.groups)))


def _rows(ws: Workspace, named: PostsParts, missing: list[str]) -> Parts:
    """The matrix of the posts of these periods, made in one go and cut into them."""
    from flickcast.features import build

    every = tuple(TABLES["posts"].columns)
    targets = {period: ws.read_parts("posts", named[period], every) for period in missing}
    matrix = build(Inputs(Stored(ws), pl.concat(targets.values()), ws.params.features.clock), ws.params.features.groups)
    for period, posts in targets.items():
        yield period, matrix.join(posts.select("post_id"), on="post_id", how="semi")


def _wanted(ws: Workspace, named: PostsParts, posts: Mapping[str, str]) -> dict[str, str]:
    """The parts that the matrix should have, each with the digest of all that can change it.

    By the clock `point_in_time` that is what was known when its newest post appeared: parts of tables that begin later
    do not count.
    """
    appeared = ws.spans("posts", "posted_at")
    known = list(_known(ws, posts, appeared))
    made_by = [VERSION, pl.__version__, ws.params.features.model_dump(), _encoders(ws)]
    everything = ws.params.features.clock == "transductive"
    vectors = _vector_parts(ws)
    wanted = {}
    for period, parts in named.items():
        until = max(appeared[part][1] for part in parts)
        theirs = sorted([table, content] for first, table, content in known if everything or first <= until)
        pictured = sorted({name for part in parts for name in vectors.get(part, ())})
        wanted[period] = periods.digest([made_by, [posts[part] for part in parts], theirs, pictured])
    return wanted


def _known(ws: Workspace, posts: Mapping[str, str], appeared: Spans) -> Iterator[tuple[datetime, str, str]]:
    """Every part that features of other posts may be made from: the first moment it tells of, table and content.

    Posts and labels are among them, not only their states: sums of two posts stay as they are when these swap a tag,
    and `history` has the posts one by one.
    """
    from flickcast.aggregates import ENTITIES

    seen = ws.spans("posts", "first_seen_at")
    for part, (first, _) in appeared.items():
        yield max(first, seen[part][0]), "posts", posts[part]
    dated = {"users": "observed_at", "labels": "matured_at", **{f"aggregates/{name}": "at" for name in ENTITIES}}
    for table, column in dated.items():
        digests = ws.digests(table)
        yield from ((first, table, digests[part]) for part, (first, _) in ws.spans(table, column).items())


def _vector_parts(ws: Workspace) -> dict[str, list[str]]:
    """The parts of vectors that hold posts of each part of the posts, as contents."""
    found: dict[str, list[str]] = {}
    owners = ws.places("posts", ("post_id",)).rename({"part": "posts_part"})
    for encoder in _encoders(ws):
        table = f"embeddings/{encoder}"
        digests = ws.digests(table)
        pairs = ws.places(table, ("post_id",)).join(owners, on="post_id").select("posts_part", "part").unique()
        for part, vectors in pairs.sort("posts_part", "part").iter_rows():
            found.setdefault(part, []).append(digests[vectors])
    return found


def _encoders(ws: Workspace) -> list[str]:
    """Those whose vectors feature groups read."""
    return [*ws.params.embed.pair, *picture_encoders(ws.params.embed)]


def feature_manifest(ws: Workspace) -> dict[str, dict[str, Any]]:
    """What each column of the matrix is."""
    content: dict[str, dict[str, Any]] = json.loads((ws.folder("features") / MANIFEST).read_text())
    return content
