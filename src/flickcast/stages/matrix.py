"""The model matrix: what feature groups read, put together for the posts that need it, and the stage `features`."""

import json
from collections.abc import Iterator
from typing import Any

import polars as pl

from flickcast.records import StageReport
from flickcast.schemas import TABLES
from flickcast.stages import periods
from flickcast.stages.inputs import Inputs, Stored
from flickcast.tables import Parts, publish_json
from flickcast.workspace import Workspace

# Part of what a stored part is made from: raise it when a feature of the same inputs would come out otherwise.
VERSION = 1


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
    matrix = build(Inputs(Stored(ws), pl.concat(targets.values()), ws.params.features.clock), ws.params.features.groups)
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


def feature_manifest(ws: Workspace) -> dict[str, dict[str, Any]]:
    """What each column of the matrix is."""
    content: dict[str, dict[str, Any]] = json.loads((ws.folder("features") / "manifest.json").read_text())
    return content
