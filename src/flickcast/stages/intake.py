"""What comes in: the ingest stage, and imports, which write the same tables."""

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from flickcast import posts as posts_step
from flickcast.console import progress
from flickcast.errors import UserError, nearest
from flickcast.records import Batch, Rejected, StageReport, quarantine_rows
from flickcast.schemas import EARLIEST, TABLES
from flickcast.settings import load_settings
from flickcast.tables import Appender
from flickcast.workspace import Workspace, night_bounds


def ingest(ws: Workspace) -> StageReport:
    """The new posts of the night's window, and the counts of posts that have come of age."""
    night = ws.night
    if ws.params.ingest.source == "files" or night is None:
        with ws.appending("ingest"):
            return StageReport("ingest", {"stored": 0}, ("Posts come by `flickcast import`: nothing to ask for.",))
    name = night.isoformat()
    if (done := ws.manifest("ingest").batches.get(name)) is not None:
        return StageReport("ingest", done, (f"The night of {name} is already stored.",))
    from flickcast.sources.flickr import open_flickr

    end = night_bounds(night)[1]
    with open_flickr(load_settings(), ws.params.ingest, ws.params.label) as source:
        known = set(ws.keys("posts")["post_id"])
        batch = source.night(night, known_post_ids=known, fresh_user_ids=_fresh_users(ws, end))
        return store(ws, batch, name, end, part=name)


def read_source(name: str, folder: Path) -> Batch:
    """The posts of a folder in one of the formats we import."""
    from flickcast.sources import FILE_SOURCES

    if name not in FILE_SOURCES:
        raise UserError(f"'{name}' is no source of files; {nearest(name, FILE_SOURCES)}")
    return FILE_SOURCES[name](folder)


def import_batch(ws: Workspace, batch: Batch) -> StageReport:
    """Store an imported batch under a name made from its content, so that the same import again is the same batch."""
    latest = batch.posts["first_seen_at"].max()
    return store(ws, batch, f"{batch.source}-{_digest(batch)}", latest if isinstance(latest, datetime) else EARLIEST)


def store(ws: Workspace, batch: Batch, name: str, moment: datetime, part: str | None = None) -> StageReport:
    """Append a batch: the new goes to the tables, the unusable to the quarantine; all of it counts, or nothing.

    Parts are named after the night, or (`part` None: an import) after the month of posting and the batch. `moment` is
    what the quarantine notes as its time: not the clock's, so that the same input gives the same bytes.
    """
    if (done := ws.manifest("ingest").batches.get(name)) is not None:
        return StageReport("ingest", done, (f"{name} is already stored: nothing to do.",))
    _refuse_shared_ids(ws, batch)
    new = posts_step.split_known(batch, set(ws.keys("posts")["post_id"]))
    rows = {table: ws.unknown(table, getattr(batch, table)) for table in MONTHLY if table != "posts"}
    rows["posts"] = new.posts
    with ws.appending("ingest") as appender:
        for table, by in MONTHLY.items():
            _append(appender, table, rows[table], part, name, by)
        pictures, rejected = _append_pictures(ws, appender, batch, name)
        quarantine = quarantine_rows("ingest", batch.source, [*batch.rejected, *rejected], moment)
        appender.append("quarantine/ingest", name, ws.unknown("quarantine/ingest", quarantine))
        counts = {"users": rows["users"].height, "observations": rows["observations"].height}
        facts = {**new.counts, **counts, "pictures": pictures, "pictures_quarantined": len(rejected)}
        appender.finish_batch(name, facts)
    return StageReport("ingest", facts, (*batch.notes, *_kept_labels(ws, batch)))


def _refuse_shared_ids(ws: Workspace, batch: Batch) -> None:
    """One workspace holds one namespace of ids: another source's post of the same id is another post."""
    stored = ws.read("posts", ("post_id", "source")).join(batch.posts.select("post_id", other="source"), on="post_id")
    shared = stored.filter(pl.col("source") != pl.col("other")).sort("post_id")
    if shared.height:
        post_id, source, other = shared.row(0)
        raise UserError(
            f"Post {post_id} of {other} has the id of a post of {source} that is stored here, and so have "
            f"{shared.height - 1} more. Take another workspace for {other}."
        )


# The tables a batch fills, and the column by whose month an import is cut into parts (None: one part).
MONTHLY = {
    "posts": "posted_at",
    "users": "observed_at",
    "observations": "observed_at",
    "imported_labels": None,
    "oracle": None,
    "tombstones": None,
}


def _digest(batch: Batch) -> str:
    """A short name for what a batch holds, whatever the order of its rows."""
    digest = hashlib.sha256(str(len(batch.pictures)).encode())
    for table in MONTHLY:
        rows = TABLES[table].conform(getattr(batch, table)).sort(TABLES[table].key)
        digest.update(rows.write_ipc(None).getvalue())
    return digest.hexdigest()[:10]


def _append(appender: Appender, table: str, rows: pl.DataFrame, part: str | None, name: str, by: str | None) -> None:
    """Append rows as one part, or, for an import (`part` None), as one part per month of the column `by`."""
    if part is not None or by is None:
        appender.append(table, part or name, rows)
        return
    for month, group in posts_step.partition_by_month(rows, by):
        appender.append(table, f"{month}-{name}", group)


def _append_pictures(ws: Workspace, appender: Appender, batch: Batch, name: str) -> tuple[int, list[Rejected]]:
    """Store a batch's pictures chunk by chunk; how many, and those that are none."""
    known = set(ws.keys("images")["post_id"])
    stored = 0
    rejected: list[Rejected] = []
    with progress("pictures", len(batch.pictures)) as advance:
        for number, chunk in enumerate(batch.pictures):
            new = chunk.images.filter(~pl.col("post_id").is_in(known))
            appender.append("images", f"{name}-{number:04d}", new)
            stored += new.height
            rejected += chunk.rejected
            advance(chunk.images.height + len(chunk.rejected))
    return stored, rejected


def _kept_labels(ws: Workspace, batch: Batch) -> list[str]:
    """A note where the batch tells another label than the one stored, which is kept."""
    both = batch.imported_labels.join(ws.read("imported_labels"), on="post_id", suffix="_stored")
    differing = both.filter(pl.col("popularity") != pl.col("popularity_stored")).height
    return [f"{differing} labels differ from those stored earlier, which are kept."] if differing else []


def _fresh_users(ws: Workspace, now: datetime) -> set[str]:
    """Users whose numbers are recent enough not to be asked for again."""
    oldest = now - timedelta(days=ws.params.ingest.user_refresh_days)
    return set(ws.scan("users", ("user_id", "observed_at")).filter(pl.col("observed_at") > oldest).collect()["user_id"])
