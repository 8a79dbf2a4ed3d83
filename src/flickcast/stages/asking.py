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
from flickcast.sources.flickr_stretches import Route, Span
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
        short = [*shortness(batch.facts, past), *_given_up(ws, night)]
        batch = replace(batch, facts=batch.facts | {"short": short})
        report = store(ws, batch, night.isoformat(), night_bounds(night)[1], part=night.isoformat())
        source.session.done()
    _discard_journals(journal.parent, span, ws.manifest("ingest").batches)
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
    """What a night takes in: its day, and before it what nights that were missed have left, up to `catch_up_days`.

    What earlier nights have covered stands in the manifest: that is the cursor, and it moves when a night is stored.
    """
    start, end = night_bounds(night)
    covered_until = _covered_until(ws, start)
    if covered_until is None:
        return Span(start, end)
    return Span(max(covered_until, start - timedelta(days=ws.params.ingest.catch_up_days)), end)


def _covered_until(ws: Workspace, start: datetime) -> datetime | None:
    """Where what is covered ends before a night; None where that is the night itself, and for the first of all."""
    covered = [
        (datetime.fromisoformat(facts["since"]), datetime.fromisoformat(facts["until"]))
        for facts in ws.manifest("ingest").batches.values()
        if "until" in facts
    ]
    earlier = [until for _, until in covered if until <= start]
    return max(earlier) if earlier and not any(since < start < until for since, until in covered) else None


def _given_up(ws: Workspace, night: date) -> list[str]:
    """A gap before the night that is too long to be made up for."""
    since, covered_until = night_span(ws, night).since, _covered_until(ws, night_bounds(night)[0])
    if covered_until is None or covered_until >= since:
        return []
    return [
        f"uploads from {covered_until:%Y-%m-%d %H:%M} to {since:%Y-%m-%d %H:%M} were not asked for "
        "(ingest.catch_up_days); `flickcast nightly --date` does that, day by day"
    ]


def _discard_journals(folder: Path, span: Span, stored: Collection[str]) -> None:
    """Of nights that are stored, or given up and whose uploads this night took in: raw answers name people."""
    for path in folder.glob("*.journal"):
        if path.stem in stored or f"{span.since:%Y-%m-%d}" <= path.stem < f"{span.until:%Y-%m-%d}":
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
        users=ws.read("users", ("user_id", "observed_at")),
        tombstones=ws.read("tombstones"),
        forgotten=ws.forgotten(),
        posts_per_second=posts_per_second(past),
    )


def _posts(ws: Workspace) -> pl.LazyFrame:
    """The posts that a night may meet again."""
    posts = ws.scan("posts", ("post_id", "user_id", "posted_at", "source"))
    return posts.filter(pl.col("source") == "flickr").drop("source")
