"""What comes in is stored: the batch of a night or of an import, all of it or nothing."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from flickcast import posts as posts_step
from flickcast.console import progress
from flickcast.errors import UserError, nearest
from flickcast.records import Batch, Rejected, StageReport, is_picture_record, named_in, quarantine_rows
from flickcast.schemas import EARLIEST, TABLES
from flickcast.tables import Appender
from flickcast.workspace import Workspace

if TYPE_CHECKING:
    pass


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
        return _store_missing_pictures(ws, batch, name, moment, done)
    batch, forgotten = ws.forgotten().without(batch)
    batch = replace(batch, found=batch.found + forgotten, forgotten=batch.forgotten + forgotten)
    _refuse_shared_ids(ws, batch)
    new = posts_step.split_known(batch, set(ws.keys("posts")["post_id"]))
    rows = {table: ws.unknown(table, getattr(batch, table)) for table in MONTHLY if table != "posts"}
    rows["posts"] = new.posts
    with ws.appending("ingest") as appender:
        for table, by in MONTHLY.items():
            _append(appender, table, rows[table], part, name, by)
        pictures = _append_pictures(ws, appender, batch, name)
        _append_unusable(ws, appender, batch.source, [*batch.rejected, *pictures.rejected], name, moment)
        counts = {"users": rows["users"].height, "observations": rows["observations"].height}
        counts |= {"pictures": len(pictures.stored), "pictures_quarantined": len(pictures.rejected)}
        appender.take_out("quarantine/ingest", pl.col("record_sha256").is_in(_identities(new.posts)))
        facts = {**new.counts, **counts, **batch.facts}
        appender.finish_batch(name, facts)
    short = [f"This night came short: {reason}." for reason in facts.get("short", ())]
    return StageReport("ingest", facts, (*short, *batch.notes, *_kept_labels(ws, batch)))


def _identities(posts: pl.DataFrame) -> list[str]:
    """Under which names in the quarantine these posts lie if they came damaged before."""
    from flickcast.sources.flickr_parse import photo_key

    return [hashlib.sha256(photo_key({"id": post_id}).encode()).hexdigest() for post_id in posts["post_id"]]


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


@dataclass
class _Taken:
    """What became of a batch's pictures: the posts whose picture is stored now, and what is no picture."""

    stored: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def _append_pictures(ws: Workspace, appender: Appender, batch: Batch, name: str) -> _Taken:
    """Store those of a batch's pictures that are not stored yet, chunk by chunk; nothing stored is read again.

    A picture that comes at last leaves the quarantine.
    """
    wanted = batch.pictures.but(ws.keys("images")["post_id"].to_list())
    taken = _Taken()
    with progress("pictures", len(wanted)) as advance:
        for number, chunk in enumerate(wanted):
            appender.append("images", f"{name}-{number:04d}", chunk.images)
            taken.stored += chunk.images["post_id"].to_list()
            taken.rejected += chunk.rejected
            advance(chunk.images.height + len(chunk.rejected))
    if settled := _quarantined_pictures(ws, set(taken.stored)):
        appender.take_out("quarantine/ingest", pl.col("record_sha256").is_in(settled))
    return taken


def _quarantined_pictures(ws: Workspace, post_ids: Collection[str]) -> list[str]:
    """The quarantine's names of the pictures of these posts."""
    if not post_ids:
        return []
    kept = ws.read("quarantine/ingest", ("record_sha256", "record"))
    return [
        name for name, record in kept.iter_rows() if is_picture_record(record) and named_in(record).post_id in post_ids
    ]


def _append_unusable(
    ws: Workspace, appender: Appender, source: str, rejected: list[Rejected], name: str, moment: datetime
) -> int:
    """Keep what is not in the quarantine yet; how many that are."""
    new = ws.unknown("quarantine/ingest", quarantine_rows("ingest", source, rejected, moment))
    appender.append("quarantine/ingest", name, new)
    return new.height


def _store_missing_pictures(
    ws: Workspace, batch: Batch, name: str, moment: datetime, done: dict[str, Any]
) -> StageReport:
    """A batch that is stored already: what may have changed since are pictures that were missing or broken."""
    batch, _ = ws.forgotten().without(batch)
    number = 1 + sum(one.startswith(f"{name}-pictures-") for one in ws.manifest("ingest").batches)
    with ws.appending("ingest") as appender:
        again = f"{name}-pictures-{number}"
        taken = _append_pictures(ws, appender, batch, again)
        unusable = _append_unusable(ws, appender, batch.source, taken.rejected, again, moment)
        if not taken.stored and not unusable:
            return StageReport("ingest", done, (f"{name} is already stored: nothing to do.",))
        facts = {"pictures": len(taken.stored), "pictures_quarantined": len(taken.rejected)}
        appender.finish_batch(again, facts)
    return StageReport("ingest", facts, (f"{name} is already stored; {len(taken.stored)} of its pictures came now.",))


def _kept_labels(ws: Workspace, batch: Batch) -> list[str]:
    """A note where the batch tells another label than the one stored, which is kept."""
    both = batch.imported_labels.join(ws.read("imported_labels"), on="post_id", suffix="_stored")
    differing = both.filter(pl.col("popularity") != pl.col("popularity_stored")).height
    return [f"{differing} labels differ from those stored earlier, which are kept."] if differing else []
