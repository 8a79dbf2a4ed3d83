"""A night's summary: what it gathers, and that text from outside stays text."""

import json
from datetime import date
from pathlib import Path

import pytest

from flows.summary import as_markdown, keep_stage, night_summary

NIGHT = date(2026, 1, 1)
PUBLISHED = {"commit": "0123456789abcdef", "pushed": 4, "on_remote": 9}


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    report = {"stage": "ingest", "facts": {"found": 12, "already_known": 2}, "notes": ["[click](http://bad) <b>"]}
    write(tmp_path / ".flickcast/reports/ingest.json", report)
    evaluation = {"split": "time", "model": {"src": 0.71, "mae": 1.2}, "user_mean": {"src": 0.6, "mae": 1.5}}
    write(tmp_path / "metrics/evaluation.json", evaluation)
    write(tmp_path / "metrics/drift.json", {"verdict": "stable", "summary": "0 of 9 columns have moved."})
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/drift.html").touch()
    keep_stage(tmp_path, NIGHT, "ingest", has_run=True, seconds=3.21)
    return tmp_path


def test_a_summary_has_facts_measures_and_drift(root):
    found = night_summary(root, NIGHT, PUBLISHED)
    assert found["stages"]["ingest"]["facts"] == {"found": 12, "already_known": 2}
    assert found["measures"] == {"model": {"src": 0.71, "mae": 1.2}, "user_mean": {"src": 0.6, "mae": 1.5}}
    assert found["drift"]["verdict"] == "stable"
    assert found["reports"] == [str(root / "reports/drift.html")]
    assert (found["commit"], found["pushed"]) == ("0123456789abcdef", 4)
    json.dumps(found)


def test_markdown_tells_a_stage_in_one_row(root):
    page = as_markdown(night_summary(root, NIGHT, PUBLISHED))
    assert "| ingest | 3.2 | already known 2, found 12 | `dvc repro --single-item ingest` |" in page
    assert "| user mean | 0.6000 | 1.5000 |" in page
    assert "**Drift: stable.** 0 of 9 columns have moved." in page


def test_text_from_outside_is_no_markup(root):
    page = as_markdown(night_summary(root, NIGHT, PUBLISHED))
    assert r"\[click\]\(http\://bad\) &lt;b&gt;" in page


def test_a_stage_that_had_nothing_to_do_keeps_what_it_did_earlier_this_night(root):
    keep_stage(root, NIGHT, "ingest", has_run=False, seconds=0.5)
    assert night_summary(root, NIGHT, PUBLISHED)["stages"]["ingest"]["facts"]["found"] == 12


def test_what_a_stage_did_in_another_night_is_not_told(root):
    keep_stage(root, date(2026, 1, 2), "ingest", has_run=False, seconds=0.5)
    assert night_summary(root, date(2026, 1, 2), PUBLISHED)["stages"]["ingest"]["facts"] == {}


def test_a_night_of_ingest_is_told_in_words_not_in_lists(root):
    facts = {
        "found": 12,
        "stored": 10,
        "since": "2026-01-01T00:00:00+00:00",
        "until": "2026-01-02T00:00:00+00:00",
        "hours": [0] * 24,
        "calls": {"flickr.photos.search": 4},
        "calls_in_all": 4,
        "planned": {"calls_in_all": 5, "hours": 0.2},
        "hours_taken": 0.1,
        "short": [],
    }
    write(root / ".flickcast/reports/ingest.json", {"facts": facts, "notes": []})
    keep_stage(root, NIGHT, "ingest", has_run=True, seconds=3.21)
    page = as_markdown(night_summary(root, NIGHT, PUBLISHED))
    assert (
        r"posts 12 found, 10 stored; calls 4 made, 5 planned \(photos.search 4\); time 6 min taken, 12 min planned"
        in page
    )
    assert "0, 0" not in page
