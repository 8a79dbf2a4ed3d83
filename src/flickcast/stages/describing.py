"""From posts to the model matrix: labels, aggregate, features."""

from flickcast.records import StageReport
from flickcast.tables import publish_json
from flickcast.workspace import Workspace


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
