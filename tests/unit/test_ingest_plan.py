"""`flickcast ingest --plan`, and plan and truth side by side in what ingest says."""

import json
from datetime import date

import pytest
from simulated_nights import START, simulated_nights

from flickcast.demo import move_service_clock
from flickcast.simulate.world import WorldParams

WORLD = WorldParams(users=12, posts_per_day=8, start=START)


@pytest.fixture
def nights(tmp_path, monkeypatch):
    with simulated_nights(tmp_path, WORLD, monkeypatch, pictures="false") as running:
        running.ws.set_night(START)
        yield running


def test_before_the_first_night_nothing_is_known(nights, flickcast):
    done = flickcast("ingest", "--plan", "-w", nights.ws.root)
    assert done.code == 0
    assert "calls: unknown" in done.out
    assert "No past night tells" in done.err
    assert nights.requests() == []


def test_later_a_plan_has_figures_and_asks_nobody(nights, flickcast):
    truth = nights.ingest(0).facts
    asked = len(nights.requests())
    done = flickcast("ingest", "--plan", "--json", "-w", nights.ws.root)
    planned = json.loads(done.out)["facts"]
    assert planned["night"] == "2026-01-02"
    assert (planned["calls"], planned["calls_in_all"]) == (truth["calls"], truth["calls_in_all"])
    assert len(nights.requests()) == asked
    assert nights.ws.night == START


def test_a_plan_reads_as_text(nights, flickcast):
    calls = nights.ingest(0).facts["calls_in_all"]
    said = flickcast("ingest", "--plan", "-w", nights.ws.root).out
    assert f"calls: about {calls} (" in said
    assert "time: " in said
    assert "as on: 2026-01-01" in said


def test_a_night_sets_its_plan_and_the_truth_side_by_side(nights, flickcast):
    calls = nights.ingest(0).facts["calls_in_all"]
    nights.ws.set_night(date(2026, 1, 2))
    move_service_clock(nights.address, nights.ws.night)
    done = flickcast("ingest", "-w", nights.ws.root)
    assert f" made, {calls} planned (" in done.out
    assert "came short: no" in done.out
    assert "[" not in done.out  # no list is printed
    assert "walked" not in done.out


def test_files_have_no_plan(workspace, flickcast):
    done = flickcast("ingest", "--plan", "-w", workspace.root)
    assert done.code == 2
    assert "A plan is for nights that ask a service" in done.err
