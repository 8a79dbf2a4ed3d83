"""The ingest stage: what a night asks the service for, where it begins, what it will cost."""

import time
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from flickcast.errors import UserError
from flickcast.expectations import plan, posts_per_second, shortness
from flickcast.records import StageReport
from flickcast.settings import load_settings
from flickcast.sources.flickr_stretches import Route, Span, uncovered
from flickcast.stages.intake import store
from flickcast.stages.retention import fetch_again, let_go
from flickcast.watchdog import watchdog
from flickcast.workspace import Workspace, night_bounds

if TYPE_CHECKING:
    from flickcast.sources.flickr_found import Memory

STUCK_SECONDS = 600.0  # without a single answer, refusal or picture
UNPLANNED = (
    "No past night tells how many posts there are. 1,000 new posts cost about 10 searches, because nights overlap, "
    "one or two calls for each new user, and a picture each."
)


def ingest(ws: Workspace) -> StageReport:
    """The new posts of the night's window, and the counts of posts that have come of age."""
    if ws.night is None:
        return _take_in(ws)
    dropped = let_go(ws, ws.night)
    report = _take_in(ws)
    if ws.params.ingest.source == "files":
        return replace(report, facts=report.facts | ({"pictures_dropped": dropped} if dropped else {}))
    with watchdog(STUCK_SECONDS, ws.state_folder / "logs" / "ingest-stuck.log"):
        again, notes = fetch_again(ws, ws.night)
    counts = {"pictures_dropped": dropped, **again}
    told = {name: count for name, count in counts.items() if count}
    return replace(report, facts=report.facts | told, notes=(*report.notes, *notes))


def _take_in(ws: Workspace) -> StageReport:
    night = ws.night
    if ws.params.ingest.source != "files" and night is None:
        raise UserError("night.yaml names no night yet. `flickcast nightly` names and runs those that are due.")
    if ws.params.ingest.source == "files" or night is None:
        with ws.appending("ingest"):
            return StageReport("ingest", {"stored": 0}, ("Posts come by `flickcast import`: nothing to ask for.",))
    journal = ws.state_folder / "ingest" / f"{night.isoformat()}.journal"
    with watchdog(STUCK_SECONDS, ws.state_folder / "logs" / "ingest-stuck.log"):
        if (done := ws.manifest("ingest").batches.get(night.isoformat())) is None:
            return _ask_for(ws, night, journal)
        journal.unlink(missing_ok=True)  # there still, if it was killed just after the night was stored
        return StageReport("ingest", done, (f"The night of {night} is already stored.",))


def _ask_for(ws: Workspace, night: date, journal: Path) -> StageReport:
    from flickcast.sources.flickr import open_flickr

    past, started = _past_nights(ws), time.monotonic()
    asking = open_flickr(
        load_settings(),
        ws.params.ingest,
        journal=journal,
        maturity_days=ws.params.label.maturity_days,
        seed=ws.params.seed,
    )
    span = night_span(ws, night)
    with asking as source:
        batch = source.night(span, _memory(ws, past))
        gaps = newly_given_up(ws, night)
        short = [*shortness(batch.facts, past), *map(_not_asked_for, gaps)]
        given_up = [[gap.since.isoformat(), gap.until.isoformat()] for gap in gaps]
        batch = replace(batch, facts=batch.facts | {"short": short, "given_up": given_up})
        report = store(ws, batch, night.isoformat(), night_bounds(night)[1], part=night.isoformat())
        source.session.done()
    _discard_journals(journal.parent, night, ws.manifest("ingest").batches)
    facts = {"planned": planned(ws, night), "hours_taken": round((time.monotonic() - started) / 3600, 2)}
    return StageReport("ingest", report.facts | facts, report.notes)


def plan_of_night(ws: Workspace) -> StageReport:
    """What the next ingest will cost; asks nobody and changes nothing."""
    if ws.params.ingest.source == "files":
        raise UserError("params.yaml has ingest.source: files. A plan is for nights that ask a service (flickr).")
    done = ws.night is not None and ws.night.isoformat() in ws.manifest("ingest").batches
    night = ws.night or datetime.now(UTC).date() - timedelta(days=1)
    night += timedelta(days=1 if done else 0)
    span = night_span(ws, night)
    facts = {
        "night": night.isoformat(),
        "since": f"{span.since:%Y-%m-%d %H:%M}",
        "until": f"{span.until:%Y-%m-%d %H:%M}",
    }
    costs = planned(ws, night)
    unknown = () if costs else (UNPLANNED,)
    return StageReport("ingest", facts | {"sampling": ws.params.ingest.sampling.design} | costs, unknown)


def planned(ws: Workspace, night: date) -> dict[str, Any]:
    """What past nights say that this one will cost; empty where there was none."""
    params, span = ws.params, night_span(ws, night)
    oldest = _posts(ws).select(pl.col("posted_at").min()).collect().item()
    route = Route(span, params.ingest, params.label.maturity_days, params.seed, oldest)
    return plan(_past_nights(ws, night), span.since.weekday(), route.seconds, span.older_by(0).seconds, params.ingest)


def night_span(ws: Workspace, night: date) -> Span:
    """What a night takes in: its day, and all from the first gap on that missed nights have left, up to
    `catch_up_days` before it.

    What earlier nights have covered stands in the manifest: that is the cursor, and it moves when a night is stored.
    """
    start, end = night_bounds(night)
    gaps = uncovered(_told_spans(ws)[0], _horizon(ws, start), start)
    return Span(gaps[0].since if gaps else start, end)


def newly_given_up(ws: Workspace, night: date) -> list[Span]:
    """The gaps that are too long before a night to be made up for, and that no night before has told of."""
    covered, told = _told_spans(ws)
    if not covered:
        return []
    first = min(one.since for one in covered)
    return uncovered([*covered, *told], first, _horizon(ws, night_bounds(night)[0]))


def _horizon(ws: Workspace, start: datetime) -> datetime:
    """Where the time begins that a night makes up for: nothing is missing before the first night of all."""
    earliest = start - timedelta(days=ws.params.ingest.catch_up_days)
    return max(earliest, min((one.since for one in _told_spans(ws)[0]), default=start))


def _told_spans(ws: Workspace) -> tuple[list[Span], list[Span]]:
    """What stored nights have covered, and the gaps that they gave up."""
    nights = [facts for facts in ws.manifest("ingest").batches.values() if "until" in facts]
    given_up = [gap for facts in nights for gap in facts.get("given_up", ())]
    return [_span(facts["since"], facts["until"]) for facts in nights], [_span(*gap) for gap in given_up]


def _span(since: str, until: str) -> Span:
    return Span(datetime.fromisoformat(since), datetime.fromisoformat(until))


def _not_asked_for(gap: Span) -> str:
    return (
        f"uploads from {gap.since:%Y-%m-%d %H:%M} to {gap.until:%Y-%m-%d %H:%M} were not asked for "
        "(ingest.catch_up_days); `flickcast nightly --date` does that, day by day"
    )


def _discard_journals(folder: Path, night: date, stored: Collection[str]) -> None:
    """Of nights that are stored, and of all older ones, taken in by this night or given up: raw answers name people."""
    for path in folder.glob("*.journal"):
        if path.stem in stored or path.stem <= night.isoformat():
            path.unlink(missing_ok=True)


def _past_nights(ws: Workspace, before: date | None = None) -> list[dict[str, Any]]:
    """The facts of stored nights that asked for posts in the way that this one does, oldest first."""
    design = {**ws.params.ingest.sampling.model_dump(mode="json", exclude_defaults=True), "seed": ws.params.seed}
    nights = sorted(ws.manifest("ingest").batches.items())
    limit = (before or date.max).isoformat()
    return [facts for name, facts in nights if facts.get("sampling") == design and name < limit]


def _memory(ws: Workspace, past: list[dict[str, Any]]) -> "Memory":
    from flickcast.sources.flickr_found import Memory

    return Memory(
        posts=_posts(ws).collect(),
        users=ws.read("users", ("user_id", "observed_at", "photo_count")),
        tombstones=ws.read("tombstones"),
        forgotten=ws.forgotten(),
        posts_per_second=posts_per_second(past),
    )


def _posts(ws: Workspace) -> pl.LazyFrame:
    """The posts that a night may meet again."""
    posts = ws.scan("posts", ("post_id", "user_id", "posted_at", "source"))
    return posts.filter(pl.col("source") == "flickr").drop("source")
