"""Whatever the service does: every post that it ever listed is stored once or quarantined, at few calls too many.

The service's own ledger is the judge. Its clock stands still during a night, ours runs 3,000 times as fast.
"""

from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from simulated_nights import START, Nights, content, simulated_nights

from flickcast.errors import TryAgainError
from flickcast.expectations import shortness
from flickcast.records import StageReport
from flickcast.simulate.faults import Faults
from flickcast.simulate.oddities import Oddities
from flickcast.simulate.world import WorldParams
from flickcast.stages import labels

BIG = WorldParams(seed=0, users=7000, posts_per_day=9400, start=START)
ODD = Oddities(late=0.03, redated=0.02, removed=0.03, unusable=0.02)
SMALL = WorldParams(seed=2, users=150, posts_per_day=120, start=START, oddities=ODD)
WITHOUT_PICTURES = {"pictures": "false", "following": "false"}
MOST_CALLS_PER_NEEDED = 1.35


def tried(nights: Nights, number: int, most: int = 30) -> StageReport:
    """A night, again and again (exit code 75: try later) until it is stored."""
    for _ in range(most):
        with suppress(TryAgainError):
            return nights.ingest(number)
    raise AssertionError(f"night {number} did not come through in {most} tries")


def check_counts(report: StageReport) -> None:
    facts = report.facts
    assert facts["found"] == facts["stored"] + facts["known"] + facts["quarantined"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("per_thousand", [10, 100])
def test_fifty_thousand_posts_over_a_failing_service(
    per_thousand: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated_nights(tmp_path, BIG, monkeypatch, Faults(per_thousand, seed=4), **WITHOUT_PICTURES) as nights:
        stored = 0
        for number in range(6):
            report = tried(nights, number)
            check_counts(report)
            stored += report.facts["stored"]
        assert stored == nights.ws.read("posts").height > 50_000
        assert nights.unaccounted() == set()
        calls = Counter(one["fault"] is not None for one in nights.requests())
        assert calls[True] > 0.6 * per_thousand / 1000 * calls.total(), "the faults must have happened"
        needed = sum(facts["calls_in_all"] for facts in nights.ws.manifest("ingest").batches.values())
        assert calls.total() <= MOST_CALLS_PER_NEEDED * needed


def test_in_a_storm_a_night_comes_through_or_says_75_and_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated_nights(tmp_path, SMALL, monkeypatch, Faults(300, seed=7), oracle="true") as nights:
        for number in range(4):
            report = tried(nights, number)
            check_counts(report)
        assert nights.unaccounted() == set()
        assert nights.ws.read("posts").height > 300


def test_what_a_bad_service_gave_is_what_a_good_one_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults that lose nothing for good change nothing: the same rows, moments included."""
    losing = {"page-repeated", "page-shrunk", "photo-missing", "post-moved", "total-down", "total-up", "rough-order"}
    api = tuple(kind for kind in Faults().kinds if kind not in losing and not kind.startswith("picture-"))
    tables = []
    for folder, faults in (("good", None), ("bad", Faults(200, seed=5, kinds=api))):
        (tmp_path / folder).mkdir()
        with simulated_nights(tmp_path / folder, SMALL, monkeypatch, faults) as nights:
            for number in range(3):
                tried(nights, number)
            tables.append(content(nights.ws))
    for name, rows in tables[0].items():
        # A picture whose host failed six times in a row is quarantined: not the service's posts.
        if name not in ("images", "quarantine/ingest"):
            assert rows.drop("image_url", strict=False).equals(tables[1][name].drop("image_url", strict=False)), name


def test_after_an_outage_the_next_night_makes_up_for_what_was_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service is dead for five nights, longer than a night asks back for late posts; then all is made up for."""
    with simulated_nights(tmp_path, SMALL, monkeypatch, **WITHOUT_PICTURES) as nights:
        nights.ingest(0)
        before = content(nights.ws)
        manifest = (nights.ws.root / "manifests" / "ingest.json").read_bytes()
        nights.faults(1000, kinds=["503"])
        for number in range(1, 6):
            with pytest.raises(TryAgainError, match="is down"):
                nights.ingest(number)
        assert all(rows.equals(content(nights.ws)[name]) for name, rows in before.items())
        assert (nights.ws.root / "manifests" / "ingest.json").read_bytes() == manifest, "the cursor must not move"
        nights.faults(0)
        report = nights.ingest(6)
        days = nights.ws.read("posts")["posted_at"].dt.date().unique()
        assert {START + timedelta(days=number) for number in range(7)} <= set(days)
        assert report.facts["since"].startswith("2026-01-02")


def test_the_answers_of_a_night_that_died_just_after_it_was_stored_go_with_the_next_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated_nights(tmp_path, SMALL, monkeypatch, **WITHOUT_PICTURES) as nights:
        nights.ingest(0)
        answers = nights.ws.state_folder / "ingest"
        for night in (START, START - timedelta(days=40)):  # stored; and never finished, which no later night looked at
            (answers / f"{night}.journal").write_bytes(b"what people wrote")
        unfinished = answers / f"{START + timedelta(days=5)}.journal"
        unfinished.touch()
        nights.ingest(1)
        assert list(answers.iterdir()) == [unfinished]


@pytest.mark.parametrize("kind", ["code-0", "code-105", "part-missing", "html", "photo-missing"])
def test_an_error_inside_a_good_status_never_counts_as_no_data(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated_nights(tmp_path, SMALL, monkeypatch, Faults(1000, kinds=(kind,)), **WITHOUT_PICTURES) as nights:
        if kind != "photo-missing":
            with pytest.raises(TryAgainError):
                nights.ingest(0)
            assert nights.ws.read("posts").is_empty()
            return
        report = nights.ingest(0)  # a list without its photos: the night goes on, and says that posts are lacking
        assert report.facts["short"]
        assert "lets us read 0" in " ".join(report.notes)


def test_a_night_of_which_much_is_lacking_is_marked_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R15: six usual nights, then one with 40 % fewer posts, and one without a certain hour."""
    world = WorldParams(seed=3, users=2000, posts_per_day=2500, start=START)
    with simulated_nights(tmp_path, world, monkeypatch, **WITHOUT_PICTURES) as nights:
        usual = [nights.ingest(number).facts["short"] for number in range(6)]
        batches = nights.ws.manifest("ingest").batches
    assert usual == [[]] * 6
    *past, last = batches.values()
    fewer = last | {"hours": [round(0.4 * min(one["hours"][h] for one in past)) for h in range(24)]}
    busiest = max(range(24), key=lambda hour: min(one["hours"][hour] for one in past))
    gap = last | {"hours": [0 if hour == busiest else number for hour, number in enumerate(last["hours"])]}
    assert shortness(last, past) == []
    assert "are usual" in shortness(fewer, past)[0]
    assert f"from {busiest:02d} to {busiest + 1:02d} UTC" in shortness(gap, past)[0]
    assert "told of 100 posts and gave 60" in shortness(last | {"told": 100, "read": 60}, past)[0]


def test_labels_come_from_counts_at_the_chosen_age_and_keep_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_nights(tmp_path, SMALL, monkeypatch, **WITHOUT_PICTURES) as nights:
        for number in range(9):
            nights.ingest(number)
        labels(nights.ws)
        known = nights.ws.read("labels").join(nights.ws.read("posts"), on="post_id")
    young = pl.col("posted_at").dt.date() == START
    ages = known.filter(young)["age_days"]
    assert ages.len() > 0.8 * nights.ws.read("posts").filter(young).height
    assert (ages.min(), ages.max()) >= (7.0, 7.0)
    assert ages.max() < 8.1  # type: ignore[operator]
    moments = (known["matured_at"] - known["posted_at"]).dt.total_seconds() / 86_400
    assert (moments - known["age_days"]).abs().max() < 1e-6  # type: ignore[operator]
