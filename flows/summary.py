"""What a night did: gathered from the stages' reports and the metrics, as data and as markdown."""

import datetime as dt
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flickcast.console import printable
from flickcast.retelling import told_of
from flickcast.tables import publish_json

Json = dict[str, Any]


def keep_stage(root: Path, date: dt.date, stage: str, *, has_run: bool, seconds: float) -> None:
    """Note what a stage did in this night. One that had nothing to do keeps what it did in an earlier try."""
    path = _night_file(root, date)
    stages = {row["stage"]: row for row in _read(path).get("stages", [])}
    if has_run or stage not in stages:
        report = _read(root / ".flickcast" / "reports" / f"{stage}.json") if has_run else {}
        stages[stage] = {
            "stage": stage,
            "has_run": has_run,
            "seconds": round(seconds, 1),
            "facts": report.get("facts", {}),
            "notes": report.get("notes", []),
        }
    publish_json(path, {"stages": list(stages.values())})


def night_summary(root: Path, date: dt.date, published: Json) -> Json:
    """All that there is to say about a night, ready for JSON."""
    metrics = {path.stem: _read(path) for path in sorted((root / "metrics").glob("*.json"))}
    return {
        "night": date.isoformat(),
        "workspace": str(root),
        "stages": {row["stage"]: row for row in _read(_night_file(root, date)).get("stages", [])},
        "metrics": metrics,
        "measures": {name: values for name, values in _measures(metrics.get("evaluation", {}))},
        "drift": {key: metrics.get("drift", {}).get(key, "not looked at") for key in ("verdict", "summary")},
        "reports": [str(path) for path in sorted((root / "reports").rglob("*.html"))],
        **published,
    }


def as_markdown(summary: Json) -> str:
    """The summary for the Prefect UI. Only our own words are markup."""
    parts = [
        f"# Night of {summary['night']}",
        _table(("stage", "seconds", "what it did", "again with"), _stage_rows(summary)),
        *(f"- {_plain(note)}" for stage in summary["stages"].values() for note in stage["notes"]),
        _table(("prediction", "SRC", "MAE"), _measure_rows(summary["measures"])),
        f"**Drift: {_plain(summary['drift']['verdict'])}.** {_plain(summary['drift']['summary'])}",
        f"Published as `{summary['commit'][:10]}`, {summary['pushed']} files pushed.",
        *(f"Report: {_plain(report)}" for report in summary["reports"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _stage_rows(summary: Json) -> Iterator[tuple[str, ...]]:
    for name, stage in summary["stages"].items():
        told = told_of(name, stage["facts"])
        apart = ", " if told is stage["facts"] else "; "  # lines have commas of their own
        facts = apart.join(f"{_plain(key.replace('_', ' '))} {_plain(value)}" for key, value in told.items())
        did = facts or ("done" if stage["has_run"] else "nothing had changed")
        yield _plain(name), f"{stage['seconds']:.1f}", did, f"`dvc repro --single-item {name}`"


def _measure_rows(measures: Json) -> Iterator[tuple[str, ...]]:
    for name, values in measures.items():
        yield _plain(name.replace("_", " ")), f"{values['src']:.4f}", f"{values['mae']:.4f}"


def _measures(content: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every part of the evaluation that has an SRC and an MAE, under the name of where it stands."""
    if isinstance(content.get("src"), float | int) and isinstance(content.get("mae"), float | int):
        yield path or "model", {"src": content["src"], "mae": content["mae"]}
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _measures(value, f"{path} {key}".strip())


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]
    return "\n".join(lines) if len(lines) > 2 else ""


def _plain(value: Any) -> str:
    """Text that a markdown renderer shows as it is: no markup, no link, no HTML, no second line.

    >>> _plain("<b>[x](http://y)|")
    '&lt;b&gt;\\\\[x\\\\]\\\\(http\\\\://y\\\\)\\\\|'
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    text = html.escape(" ".join(printable(str(value)).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#|!~:@])|(?<=www)\.", lambda found: "\\" + found[0], text)


def _night_file(root: Path, date: dt.date) -> Path:
    return root / ".flickcast" / "nights" / f"{date}.json"


def _read(path: Path) -> Json:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
