"""params.yaml and night.yaml: what is accepted, and what a mistake is told."""

from datetime import date
from pathlib import Path

import pytest

from flickcast.errors import UserError
from flickcast.params import Params, read_night, read_params, read_yaml


def written(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def test_the_packaged_file_says_exactly_the_defaults() -> None:
    assert read_params(Path(__file__).parents[2] / "params.yaml") == Params()


def test_an_unknown_key_is_named_with_its_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown key 'label.maturity_day'; did you mean 'maturity_days'\?"):
        read_params(written(tmp_path, "label: {maturity_day: 3}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: x", "'seed' is 'x'"),
        ("label: {formula: ln}", "'label.formula' is 'ln'"),
        ("label: {maturity_days: 1000000000}", "'label.maturity_days' is 1000000000"),
        ("ingest: {observe_at_days: [1, -5]}", "'ingest.observe_at_days.1' is -5"),
        ("ingest: {user_refresh_days: 1000000000}", "'ingest.user_refresh_days' is 1000000000"),
        ("ingest: {catch_up_days: 1000000000}", "'ingest.catch_up_days' is 1000000000"),
        ("ingest: {requery_hours: 1000000000}", "'ingest.requery_hours' is 1000000000"),
        ("ingest: {calls_per_hour: 10000000000000000000}", "'ingest.calls_per_hour' is 10000000000000000000"),
        ("ingest: {calls_per_second: 1.0e-9}", "'ingest.calls_per_second' is 1e-09"),
        ("ingest: {sampling: {users: ['']}}", "'ingest.sampling.users.0' is ''"),
        ("ingest: {sampling: {users: [' ']}}", "'ingest.sampling.users.0' is ' '"),
        ('ingest: {sampling: {users: ["\\uD800"]}}', "'ingest.sampling.users.0' is '\\ud800'"),
        ("images: {keep_days: 1000000000}", "'images.keep_days' is 1000000000"),
        ("a: [", "line 1 is not valid YAML"),
        (
            "seed: 1\nlabel: {maturity_days: 3, maturity_days: 4}",
            "line 2 is not valid YAML ('maturity_days' is there twice)",
        ),
        ("ingest: {calls_per_second: .inf}", "'ingest.calls_per_second' is inf"),
        ("- 1", "must hold keys"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        read_params(written(tmp_path, text))
    assert said in str(raised.value)


def test_anchors_may_be_merged_and_overridden(tmp_path: Path) -> None:
    text = "a: &first {x: 1, y: &second {<<: {z: 3}, z: 4}}\nb: {<<: *first, x: 2}\nc: {<<: *second}\n'1': q\n1: r"
    content = read_yaml(written(tmp_path, text))
    assert content == {"a": (a := {"x": 1, "y": {"z": 4}}), "b": a | {"x": 2}, "c": {"z": 4}, "1": "q", 1: "r"}


def test_the_night_is_a_date_or_none(tmp_path: Path) -> None:
    path = tmp_path / "night.yaml"
    assert read_night(path) is None
    path.write_text("date: null")
    assert read_night(path) is None
    path.write_text("date: '2026-03-01'")
    assert read_night(path) == date(2026, 3, 1)
    path.write_text("date: yesterday")
    with pytest.raises(UserError, match="YYYY-MM-DD"):
        read_night(path)


@pytest.mark.parametrize("far", ["0001-01-01", "1969-12-31", "9999-12-31"])
def test_a_night_with_which_times_cannot_be_reckoned_is_refused(tmp_path: Path, far: str) -> None:
    path = tmp_path / "night.yaml"
    path.write_text(f"date: '{far}'")
    with pytest.raises(UserError, match=f"date is '{far}'; choose one from 1980-01-01 to"):
        read_night(path)
