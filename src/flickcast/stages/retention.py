"""Retention: the service's pictures are kept until every encoder has seen them, and fetched again for a new one.

The service's terms ask for that. Pictures of imported files are the user's own and stay. What is left of a picture that
went is its row in `dropped_images`: whose it was, and its hash, by which it is known when it comes again.
"""

import hashlib
from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial

import polars as pl

from flickcast.console import progress
from flickcast.errors import TryAgainError
from flickcast.records import Rejected, is_picture_record, named_in, quarantine_rows
from flickcast.sources.pictures import Fetch, NoPictureError, Pictures, Wanted
from flickcast.stages.quarantine import fetching
from flickcast.tables import Appender
from flickcast.workspace import Workspace, night_bounds

FINISHED = "finished"  # in embed's manifest: the parameters by which it last saw all pictures
KEPT_OF_A_PICTURE = ("post_id", "sha256", "width", "height", "mode")
CHUNK_POSTS = 100  # what a kill costs at most: four minutes at the image host's pace
SERVICE = "flickr"


def note_finished(ws: Workspace, appender: Appender) -> None:
    """Note in embed's manifest that all encoders have seen all pictures, by the parameters of now."""
    appender.finish_batch(FINISHED, {"params": ws.params.embed.model_dump(mode="json")})


NONE_WANTED = pl.DataFrame(schema={"post_id": pl.String, "image_url": pl.String, "sha256": pl.String})


def let_go(ws: Workspace, night: date) -> int:
    """Delete the service's pictures that every encoder has seen and that are older than `images.keep_days`; how many.

    None goes as long as embed has not finished with the parameters as they stand: they may name another encoder.
    """
    days = ws.params.images.keep_days
    if days is None or not _has_finished(ws):
        return 0
    rows = _seen_by_all(ws, night, days)
    if rows.is_empty():
        return 0
    with ws.appending("ingest") as appender:
        known = ws.unknown("dropped_images", rows)
        appender.append("dropped_images", _free_part(ws, "dropped_images", night.isoformat()), known)
        appender.take_out("images", pl.col("post_id").is_in(rows["post_id"].to_list()))
    return rows.height


def _has_finished(ws: Workspace) -> bool:
    done = ws.manifest("embed").batches.get(FINISHED, {})
    return bool(done.get("params") == ws.params.embed.model_dump(mode="json"))


def _seen_by_all(ws: Workspace, night: date, days: int) -> pl.DataFrame:
    """What is to be kept of each picture that may go. A picture that an encoder refused is seen, too."""
    from flickcast.embeddings.encoders import place_of

    latest = night_bounds(night)[1] - timedelta(days=days)
    posts = ws.scan("posts", ("post_id", "source", "first_seen_at"))
    done = posts.filter(pl.col("source") == SERVICE, pl.col("first_seen_at") <= latest).select("post_id")
    for name in _readers_of_pictures(ws):
        done = done.join(ws.scan(place_of(name).table, ("post_id",)), on="post_id", how="semi")
    return ws.scan("images", KEPT_OF_A_PICTURE).join(done, on="post_id", how="semi").sort("post_id").collect()


def _readers_of_pictures(ws: Workspace) -> list[str]:
    """The encoders of params.yaml that read pictures. UserError for a name that is none.

    Names with which embed has finished are not looked up: the list of open_clip's models takes 5 s to import.
    """
    names = ws.params.embed.names
    if not _has_finished(ws):
        from flickcast.embeddings.encoders import family_named

        for name in names:
            family_named(name)
    return [name for name in names if _reads_pictures(name)]


def _reads_pictures(name: str) -> bool:
    from flickcast.embeddings.encoders import reads

    return "picture" in reads(name)


def to_fetch_again(ws: Workspace, name: str, version: str | None = None) -> pl.Series:
    """The posts whose picture was deleted and of which an encoder (of a version) has made no vector."""
    from flickcast.embeddings.encoders import place_of

    if not _reads_pictures(name) or not ws.exists("dropped_images"):
        return pl.Series("post_id", [], dtype=pl.String)
    place = place_of(name)
    seen = ws.scan(place.table, ("post_id", place.version))
    seen = seen.filter(pl.col(place.version) == version) if version else seen
    gone = ws.scan("dropped_images", ("post_id",))
    missing = gone.join(seen, on="post_id", how="anti").join(ws.scan("images", ("post_id",)), on="post_id", how="anti")
    return missing.collect()["post_id"]


def about_fetching_again(ws: Workspace, name: str, version: str | None = None) -> list[str]:
    """What a new encoder costs besides its own work, in a sentence; none where it costs nothing."""
    count = to_fetch_again(ws, name, version).len()
    nightly = ws.params.images.again_per_night
    if not count:
        return []
    nights = f"in {-(-count // nightly)} nights" if nightly else "not before images.again_per_night allows it"
    return [
        f"{name} has not seen {count} pictures that were deleted after embedding: ingest fetches them again, {nights} "
        f"(images.again_per_night: {nightly})."
    ]


def fetch_again(ws: Workspace, night: date) -> tuple[dict[str, int], tuple[str, ...]]:
    """Fetch pictures that an encoder lacks, newest first, at most `images.again_per_night`: counts and notes.

    Each chunk counts as soon as it is there. A picture that is gone, or another one now, is quarantined and not asked
    for again; an image host that is down leaves the rest for another night.
    """
    wanted = _wanted_again(ws)
    facts = {"fetched_again": 0, "left_to_fetch": wanted.height}
    if wanted.is_empty() or not ws.params.ingest.pictures:
        return facts, ()
    notes: tuple[str, ...] = ()
    tonight = wanted.head(ws.params.images.again_per_night)
    with ws.appending("ingest") as appender:
        try:
            for images, rejected in _chunks(ws, tonight):
                appender.append("images", _free_part(ws, "images", f"{night.isoformat()}-again"), images)
                moment = night_bounds(night)[1]
                unusable = ws.unknown("quarantine/ingest", quarantine_rows("ingest", SERVICE, list(rejected), moment))
                part = _free_part(ws, "quarantine/ingest", f"{night.isoformat()}-again")
                appender.append("quarantine/ingest", part, unusable)
                appender.checkpoint()
                facts["fetched_again"] += images.height
                facts["left_to_fetch"] -= images.height + len(rejected)
        except TryAgainError as error:
            notes = (f"Not all pictures that encoders lack came again: {error}",)
    return facts, notes


def _wanted_again(ws: Workspace) -> pl.DataFrame:
    """post_id, image_url, sha256 of the pictures that some encoder lacks, newest first, without those given up."""
    if not ws.exists("dropped_images"):
        return NONE_WANTED
    ids = {one for name in _readers_of_pictures(ws) for one in to_fetch_again(ws, name)}
    if not ids:
        return NONE_WANTED
    ids -= _given_up(ws) | ws.forgotten().post_ids
    posts = ws.scan("posts", ("post_id", "image_url", "posted_at")).filter(pl.col("post_id").is_in(list(ids)))
    known = ws.scan("dropped_images", ("post_id", "sha256"))
    found = posts.drop_nulls("image_url").join(known, on="post_id").collect()
    return found.sort("posted_at", "post_id", descending=True).select("post_id", "image_url", "sha256")


def _given_up(ws: Workspace) -> set[str]:
    records = ws.read("quarantine/ingest", ("record",))["record"]
    return {str(named_in(record).post_id) for record in records if is_picture_record(record)}


def _chunks(ws: Workspace, wanted: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, tuple[Rejected, ...]]]:
    with fetching(ws) as fetch, progress("pictures again", wanted.height) as advance:
        rows = [Wanted(one, url, partial(_same, fetch, sha256)) for one, url, sha256 in wanted.iter_rows()]
        for chunk in Pictures(rows, CHUNK_POSTS):
            yield chunk.images, chunk.rejected
            advance(chunk.images.height + len(chunk.rejected))


def _same(fetch: Fetch, sha256: str, url: str) -> bytes:
    """The picture, if it is the one that was deleted: vectors of two encoders must be of one picture."""
    content = fetch(url)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise NoPictureError("is another one than before", content)
    return content


def _free_part(ws: Workspace, table: str, name: str) -> str:
    """A name that no part of the table has had yet: the night was tried before, or ingests twice."""
    number = 0
    while (ws.folder(table) / f"{name}-{number:04d}.parquet").exists() or ws.part_named(table, f"{name}-{number:04d}"):
        number += 1
    return f"{name}-{number:04d}"
