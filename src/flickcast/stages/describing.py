"""From posts to the model matrix: embed, labels, aggregate, features."""

from typing import TYPE_CHECKING

import polars as pl

from flickcast.console import progress
from flickcast.records import StageReport, quarantine_rows
from flickcast.tables import Appender, publish_json
from flickcast.workspace import Workspace

if TYPE_CHECKING:
    from flickcast.embeddings.encoders import Encoder


def embed(ws: Workspace) -> StageReport:
    """Vectors for every picture, and its post's words, that this encoder has not seen yet."""
    from flickcast.embeddings import step
    from flickcast.embeddings.encoders import load_encoder

    table = f"embeddings/{ws.params.embed.encoder}"
    facts = {"pictures": 0, "embedded": 0, "quarantined": 0}
    with ws.appending("embed") as appender:
        if not ws.exists("images"):
            return StageReport("embed", facts, ("No pictures here: nothing to embed.",))
        encoder = load_encoder(ws.params.embed, root=ws.root)
        embedded = ws.read(table, ("post_id", "encoder_version", "input_sha256"))
        if (embedded["encoder_version"] != encoder.version).any():
            appender.drop(table)  # other weights under the same name: their vectors do not mix
        images = ws.read("images", ("post_id", "sha256"))
        todo = step.missing(ws.read("posts", ("post_id", "title", "tags")), images, embedded, encoder.version)
        facts["pictures"] = images.height
        with progress("embed", todo.height) as advance:
            for path in ws.parts("images"):
                work = todo.join(ws.read_part("images", path, ("post_id", "bytes")), on="post_id")
                if work.height:
                    embedded_count, rejected_count = _embed_part(ws, appender, table, path.stem, work, encoder)
                    facts["embedded"] += embedded_count
                    facts["quarantined"] += rejected_count
                    advance(work.height)
    return StageReport("embed", facts)


def _embed_part(
    ws: Workspace, appender: Appender, table: str, part: str, work: pl.DataFrame, encoder: "Encoder"
) -> tuple[int, int]:
    """One shard: vectors and quarantine of the pictures of one part of `images`; counts as soon as it is done."""
    from flickcast.embeddings import step

    vectors, rejected = step.embed_shard(work, encoder, ws.params.embed.batch_size)
    part = f"{part}-{encoder.version[:8]}"
    appender.append(table, part, vectors)
    quarantine = quarantine_rows("embed", "images", rejected, ws.latest_seen())
    appender.append("quarantine/embed", part, ws.unknown("quarantine/embed", quarantine))
    appender.checkpoint()
    return vectors.height - len(rejected), len(rejected)


def labels(ws: Workspace) -> StageReport:
    """The labels known so far: counts of posts that have come of age, and those of the challenge's files."""
    from flickcast.labels import popularity_labels

    rows = popularity_labels(
        ws.read("posts", ("post_id", "posted_at")),
        ws.read("observations"),
        ws.read("imported_labels"),
        ws.params.label,
    )
    ws.replace("labels", rows)
    kinds = dict(rows.group_by("kind").len().sort("kind").iter_rows())
    return StageReport("labels", {"labels": rows.height, **kinds})


def aggregate(ws: Workspace) -> StageReport:
    """What each day added to what is known of each user."""
    from flickcast.aggregates import user_days

    rows = user_days(ws.read("posts"), ws.read("labels"))
    ws.replace("aggregates/users", rows)
    return StageReport("aggregate", {"users": rows["user_id"].n_unique(), "user_days": rows.height})


def features(ws: Workspace) -> StageReport:
    """The model matrix, one row per post, and the manifest that names each column's group and clock."""
    from flickcast.aggregates import as_of
    from flickcast.features import build, left_out

    posts, groups = ws.read("posts"), ws.params.features.groups
    states = as_of(posts, ws.read("aggregates/users"))
    matrix, manifest = build(posts, ws.read("users"), states, ws.vectors(), groups)
    ws.replace("features", matrix)
    publish_json(ws.folder("features") / "manifest.json", manifest)
    facts = {"posts": matrix.height, "columns": matrix.width - 1}
    return StageReport("features", facts, tuple(left_out(manifest, groups)))
