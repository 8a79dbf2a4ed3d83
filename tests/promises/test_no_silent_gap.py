"""In whichever order nights run, and whichever are left out: each moment is covered, or said once to be given up."""

import tempfile
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_nights import START, simulated_nights

from flickcast.simulate.world import WorldParams
from flickcast.sources.flickr_stretches import Span, uncovered
from flickcast.stages.asking import newly_given_up, night_span
from flickcast.workspace import Workspace, create_workspace, night_bounds

HOUR = timedelta(hours=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), max_size=8)


def hours(start: int, length: int) -> Span:
    return Span(FIRST + start * HOUR, FIRST + (start + length) * HOUR)


@given(SPANS, st.integers(0, 50), st.integers(0, 50))
def test_what_is_uncovered_is_every_hour_that_no_span_holds(
    covered: list[tuple[int, int]], first: int, end: int
) -> None:
    gaps = uncovered([hours(*one) for one in covered], FIRST + first * HOUR, FIRST + end * HOUR)
    held = {hour for start, length in covered for hour in range(start, start + length)}
    found = [(gap.since - FIRST) // HOUR + number for gap in gaps for number in range((gap.until - gap.since) // HOUR)]
    assert found == [hour for hour in range(first, end) if hour not in held]
    assert all(before.until < after.since for before, after in pairwise(gaps))


def spans_told(ws: Workspace) -> tuple[list[Span], list[Span]]:
    """What the manifest says is covered, and what it says is given up."""
    nights = ws.manifest("ingest").batches.values()
    covered = [(facts["since"], facts["until"]) for facts in nights]
    given_up = [tuple(gap) for facts in nights for gap in facts["given_up"]]
    return tuple([Span(*map(datetime.fromisoformat, one)) for one in spans] for spans in (covered, given_up))  # type: ignore[return-value]


def check_nothing_is_silent(ws: Workspace, night: date) -> None:
    covered, given_up = spans_told(ws)
    first = min(one.since for one in covered)
    assert uncovered([*covered, *given_up], first, night_bounds(night)[1]) == []
    once = sorted(given_up, key=lambda gap: gap.since)
    assert all(before.until <= after.since for before, after in pairwise(once)), "each gap is told once"


def take(ws: Workspace, night: date) -> Span:
    """A night, as far as its window goes."""
    span, gaps = night_span(ws, night), newly_given_up(ws, night)
    given_up = [[gap.since.isoformat(), gap.until.isoformat()] for gap in gaps]
    facts = {"since": span.since.isoformat(), "until": span.until.isoformat(), "given_up": given_up}
    with ws.appending("ingest") as appender:
        appender.finish_batch(night.isoformat(), facts)
    return span


@settings(max_examples=40, deadline=None)  # a workspace each
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12, unique=True), st.integers(0, 9))
def test_nights_in_any_order_leave_no_gap_that_is_not_told(numbers: list[int], catch_up_days: int) -> None:
    """Nights 1, 5 and then 3: the fourth was never asked for, and nobody said so."""
    with tempfile.TemporaryDirectory() as folder:
        create_workspace(Path(folder), {"ingest.catch_up_days": str(catch_up_days)})
        ws = Workspace(Path(folder))
        for number in numbers:
            night = START + timedelta(days=number)
            span = take(ws, night)
            assert span.until == night_bounds(night)[1]
            assert timedelta(days=1) <= span.until - span.since <= timedelta(days=1 + catch_up_days)
            check_nothing_is_silent(ws, night)


def test_a_gap_between_nights_that_ran_is_made_up_for_and_an_old_one_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = WorldParams(users=12, posts_per_day=8, start=START)
    params = {"pictures": "false", "following": "false", "catch_up_days": "2", "requery_hours": "0"}
    with simulated_nights(tmp_path, world, monkeypatch, **params) as nights:
        reports = {number: nights.ingest(number) for number in (0, 1, 6, 4, 7)}
        assert reports[6].facts["given_up"] == [["2026-01-03T00:00:00+00:00", "2026-01-05T00:00:00+00:00"]]
        assert "uploads from 2026-01-03 00:00 to 2026-01-05 00:00 were not asked for" in reports[6].notes[0]
        assert [reports[number].facts["given_up"] for number in (0, 1, 4, 7)] == [[], [], [], []]
        check_nothing_is_silent(nights.ws, START + timedelta(days=7))
        asked = reports[4].facts
        assert (asked["since"][:10], asked["until"][:10]) == ("2026-01-03", "2026-01-06")  # though given up: asked for
