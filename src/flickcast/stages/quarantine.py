"""What could not be used: what it is, and trying it again with the code and the service of today."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from flickcast.console import progress
from flickcast.errors import UserError
from flickcast.records import Rejected, StageReport, is_picture_record, named_in, quarantine_record, quarantine_rows
from flickcast.schemas import TABLES
from flickcast.settings import load_settings
from flickcast.sources.flickr_parse import observation_from_photo, post_from_photo
from flickcast.sources.pictures import Fetch, Pictures, Wanted
from flickcast.tables import Appender
from flickcast.workspace import Workspace

STAGES = ("ingest", "embed")
SERVICE = "flickr"
OUTCOMES = ("stored", "known", "unusable")
CHUNK_POSTS = 50  # pictures: what a service that goes down costs at most
SHORTEST_HASH = 6


@dataclass(frozen=True)
class Entry:
    """A row of the quarantine."""

    stage: str
    source: str
    record_sha256: str
    record: bytes  # without the bytes of a picture, which follow its first line
    reason: str
    quarantined_at: datetime
    size_bytes: int  # of the whole record

    @property
    def post_id(self) -> str | None:
        """The post that it is about, if it says so."""
        return named_in(self.record).post_id

    @property
    def kind(self) -> str:
        """The reason without the post's id, for counting."""
        return re.sub(r"\bpost \S+?(?=:? )", "post", self.reason)

    @property
    def header(self) -> dict[str, Any]:
        """The JSON object that the record is or begins with."""
        try:
            content = json.loads(self.record.partition(b"\n")[0])
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def as_json(self) -> dict[str, Any]:
        """All but the record itself, whose size is told."""
        return {
            "stage": self.stage,
            "source": self.source,
            "record_sha256": self.record_sha256,
            "post_id": self.post_id,
            "reason": self.reason,
            "quarantined_at": self.quarantined_at.isoformat(),
            "bytes": self.size_bytes,
        }


def raw_record(ws: Workspace, record_hash: str) -> bytes:
    """The one record with this hash, whole."""
    entry = next(entries(ws, hashes=[record_hash]))
    is_it = pl.col("record_sha256") == entry.record_sha256
    found: bytes = ws.scan(f"quarantine/{entry.stage}").filter(is_it).select("record").collect().item(0, 0)
    return found


def entries(ws: Workspace, stage: str | None = None, hashes: Sequence[str] = ()) -> Iterator[Entry]:
    """The rows of the quarantine, of one stage or of all, those with one of the hashes if some are given.

    A hash may be cut short. UserError for one that is unknown or stands for several.
    """
    if stage is not None and stage not in STAGES:
        raise UserError(f"'{stage}' has no quarantine; known stages: {', '.join(STAGES)}.")
    stages = STAGES if stage is None else (stage,)
    wanted = _complete(ws, stages, hashes)
    columns = ("source", "record_sha256", "record", "reason", "quarantined_at")
    for name in stages:
        for path in ws.parts(f"quarantine/{name}"):
            rows = ws.read_part(f"quarantine/{name}", path, columns)
            yield from (_entry(name, row) for row in rows.iter_rows() if not hashes or row[1] in wanted)


def _entry(stage: str, row: tuple[Any, ...]) -> Entry:
    source, key, record, reason, quarantined_at = row
    kept = record.partition(b"\n")[0] if is_picture_record(record) else record
    return Entry(stage, source, key, kept, reason, quarantined_at, len(record))


def _complete(ws: Workspace, stages: Sequence[str], hashes: Sequence[str]) -> set[str]:
    known = {one for stage in stages if hashes for one in ws.keys(f"quarantine/{stage}")["record_sha256"]}
    complete = set()
    for one in hashes:
        found = sorted(full for full in known if full.startswith(one.lower())) if len(one) >= SHORTEST_HASH else []
        if len(found) != 1:
            many = f"{len(found)} records of the quarantine begin" if found else "no record of the quarantine begins"
            raise UserError(f"{many} with '{one}'. `flickcast quarantine list` names them; give 6 characters or more.")
        complete.add(found[0])
    return complete


def totals(listed: Sequence[Entry]) -> dict[str, int]:
    """How many of each reason, the most frequent first."""
    return dict(Counter(entry.kind for entry in listed).most_common())


def retry(ws: Workspace, hashes: Sequence[str] = ()) -> StageReport:
    """Try again what is quarantined, all of it or what is named; what fails again stays.

    The service's photos are parsed anew, pictures of its posts are downloaded, and what embed refused is left to its
    next run. TryAgainError where the image host is down: what worked until then counts. Of the photos and pictures,
    tried = stored + known + unusable.
    """
    chosen = list(entries(ws, hashes=hashes))
    told = [entry for entry in chosen if entry.stage == "ingest" and entry.source == SERVICE]
    photos = [entry for entry in told if "photo" in entry.header]
    pictures = [entry for entry in told if "picture" in entry.header]
    released = _release(ws, [entry for entry in chosen if entry.stage == "embed"])
    posts, waiting = _retry_photos(ws, photos)
    images = _retry_pictures(ws, pictures)
    facts = {name: posts[name] + images[name] for name in OUTCOMES}
    extra = _retry_pictures(ws, waiting)["stored"]
    others = len(chosen) - len(photos) - len(pictures) - released
    facts = {"tried": len(photos) + len(pictures), **facts, "pictures": images["stored"] + extra}
    return StageReport(
        "quarantine", facts | {"left_to_embed": released, "not_retried": others}, _notes(released, others)
    )


def _notes(released: int, others: int) -> tuple[str, ...]:
    again = "What embed refused is tried again by the next `flickcast embed`, or night."
    imported = f"{others} records came with imported folders: put those right and import them again."
    return (*([again] if released else []), *([imported] if others else []))


def _retry_photos(ws: Workspace, photos: list[Entry]) -> tuple[dict[str, int], list[Entry]]:
    """Parse photos anew; and the pictures of new posts, which stand in the quarantine until they are downloaded."""
    rows = {entry.record_sha256: _post(ws, entry) for entry in photos}
    usable = [entry for entry in photos if rows[entry.record_sha256] is not None]
    parsed = pl.DataFrame([rows[entry.record_sha256] for entry in usable], schema=TABLES["posts"].dtypes())
    new = ws.unknown("posts", parsed.unique("post_id", keep="first").sort("post_id"))
    counts = {"stored": new.height, "known": len(usable) - new.height, "unusable": len(photos) - len(usable)}
    if not usable:
        return counts, []
    name = f"retry-{_digest(usable)}"
    waiting = quarantine_rows("ingest", SERVICE, _pictures_of(ws, new), ws.latest_seen())
    with ws.appending("ingest") as appender:
        appender.append("posts", name, new)
        appender.append("observations", name, ws.unknown("observations", _observations(usable)))
        appender.append("quarantine/ingest", name, ws.unknown("quarantine/ingest", waiting))
        _leave(appender, "ingest", usable)
        appender.finish_batch(
            name,
            {"found": len(photos), "stored": new.height, "known": counts["known"], "quarantined": counts["unusable"]},
        )
    return counts, list(entries(ws, "ingest", waiting["record_sha256"].to_list())) if waiting.height else []


def _post(ws: Workspace, entry: Entry) -> dict[str, Any] | None:
    """The row of `posts` that a quarantined photo gives today."""
    row = post_from_photo(entry.header["photo"], _seen_at(entry), ws.params.ingest.image_size)
    return None if isinstance(row, str) or ws.forgotten().names(row["post_id"], row["user_id"]) else row


def _seen_at(entry: Entry) -> datetime:
    """When the service told of it: only since then it is known."""
    try:
        return datetime.fromisoformat(str(entry.header["seen_at"])).astimezone(UTC)
    except (KeyError, ValueError):
        return entry.quarantined_at


def _observations(usable: list[Entry]) -> pl.DataFrame:
    rows = [observation_from_photo(entry.header["photo"], _seen_at(entry)) for entry in usable]
    counted = [row for row in rows if any(row[name] is not None for name in ("views", "faves", "comments"))]
    table = TABLES["observations"]
    return pl.DataFrame(counted, schema=table.dtypes()).unique(table.key, keep="first").sort(table.key)


def _pictures_of(ws: Workspace, posts: pl.DataFrame) -> list[Rejected]:
    addresses = posts.select("post_id", "image_url").drop_nulls().iter_rows() if ws.params.ingest.pictures else ()
    return [
        Rejected(quarantine_record(one, url, b""), f"picture of post {one} has not been asked for yet")
        for one, url in addresses
    ]


def _retry_pictures(ws: Workspace, pictures: list[Entry]) -> dict[str, int]:
    """Download pictures of stored posts; each chunk counts as soon as it is there."""
    stored, posts = set(ws.keys("images")["post_id"]), set(ws.keys("posts")["post_id"])
    known = [entry for entry in pictures if entry.post_id in stored]
    wanted = {str(entry.post_id): entry for entry in pictures if entry.post_id in posts - stored}
    new: set[str] = set()
    if known or wanted:
        with ws.appending("ingest") as appender:
            _leave(appender, "ingest", known)
            for images in _downloaded(ws, wanted) if wanted else ():
                done = [entry for entry in pictures if entry.post_id in set(images["post_id"])]
                appender.append("images", f"retry-{_digest(done)}", images)
                _leave(appender, "ingest", done)
                appender.checkpoint()
                new |= set(images["post_id"])
    left = sum(entry.post_id in stored | new for entry in pictures)
    return {"stored": len(new), "known": left - len(new), "unusable": len(pictures) - left}


def _downloaded(ws: Workspace, wanted: dict[str, Entry]) -> Iterator[pl.DataFrame]:
    """Rows of `images`, chunk by chunk; of pictures that are still not to be had there are none."""
    with fetching(ws) as fetch, progress("pictures", len(wanted)) as advance:
        for chunk in Pictures(
            [Wanted(one, str(entry.header["picture"]), fetch) for one, entry in wanted.items()], CHUNK_POSTS
        ):
            yield chunk.images
            advance(chunk.images.height + len(chunk.rejected))


@contextmanager
def fetching(ws: Workspace) -> Iterator[Fetch]:
    """What downloads a picture, within the budget of the image host."""
    from flickcast.sources.flickr import open_clients

    client, images = open_clients(load_settings(), ws.params.ingest)
    try:
        yield images.fetch
    finally:
        client.close()
        images.close()


def _release(ws: Workspace, refused: list[Entry]) -> int:
    """Let embed forget that it has tried: the quarantine's rows go, and the rows that hold no vector."""
    if not refused:
        return 0
    is_refused = pl.col("post_id").is_in([entry.post_id for entry in refused if entry.post_id is not None])
    with ws.appending("embed") as appender:
        for table in [name for name in ws.manifest("embed").parts if not name.startswith("quarantine/")]:
            made = pl.col("caption" if table == "captions" else "vector")
            appender.take_out(table, is_refused & made.is_null())
        _leave(appender, "embed", refused)
    return len(refused)


def _leave(appender: Appender, stage: str, done: list[Entry]) -> None:
    """Take records out of the quarantine."""
    if done:
        is_done = pl.col("record_sha256").is_in([entry.record_sha256 for entry in done])
        appender.take_out(f"quarantine/{stage}", is_done)


def _digest(done: list[Entry]) -> str:
    """A name for what was done; a record that is quarantined once more is another one."""
    keys = sorted(f"{entry.record_sha256} {entry.quarantined_at}" for entry in done)
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:10]
