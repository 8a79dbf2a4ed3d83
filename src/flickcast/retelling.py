"""What a night's ingest did and was planned to do, in lines that a person reads; the facts themselves stay in JSON."""

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]
POSTS = ("found", "stored", "known", "quarantined", "forgotten")
PICTURES = {"pictures": "stored", "pictures_quarantined": "quarantined"}
USERS = {"users": "asked", "users_waiting": "waiting", "users_gone": "gone"}
AGAIN = {"observations": "counted", "unlisted": "no longer listed", "gone": "gone"}


def told_of(stage: str, facts: dict[str, Any]) -> dict[str, Any]:
    """What is shown of what a stage did: all its facts, but of a night of ingest what a person asks about."""
    return _ingest_lines(facts) if stage == "ingest" and "since" in facts else facts


def _ingest_lines(facts: Facts) -> dict[str, Any]:
    """What came, what it cost beside what was planned, whether it came short."""
    planned = facts.get("planned", {})
    told = {
        "uploaded": f"{_minute(facts['since'])} to {_minute(facts['until'])} UTC",
        "posts": _figures(facts, {name: name for name in POSTS}),
        "counts": _figures(facts, AGAIN),
        "users": _figures(facts, USERS),
        "pictures": _figures(facts, PICTURES),
        "calls": _calls(facts, planned) + _by_method(facts),
        "time": _time(facts, planned),
        "came short": "yes, as the notes say" if facts.get("short") else "no",
    }
    return {name: line for name, line in told.items() if line}


def plan_lines(facts: Facts) -> dict[str, Any]:
    """What the next night will cost; without figures where no past night tells them."""
    told = {
        "night": str(facts["night"]),
        "uploaded": f"{facts['since']} to {facts['until']} UTC",
        "sampling": str(facts["sampling"]),
    }
    if "calls_in_all" not in facts:
        return told | {"calls": "unknown"}
    return told | {
        "posts": f"about {facts['posts']:,}",
        "calls": f"about {facts['calls_in_all']:,}{_by_method(facts)}",
        "pictures": f"about {facts['pictures']:,}",
        "time": f"{_duration(facts['hours'])} at the limits of speed",
        "as on": str(facts["as_on"]),
    }


def _figures(facts: Facts, names: Mapping[str, str]) -> str:
    return ", ".join(f"{facts[name]:,} {word}" for name, word in names.items() if name in facts)


def _calls(facts: Facts, planned: Facts) -> str:
    made = f"{facts['calls_in_all']:,} made"
    return f"{made}, {planned['calls_in_all']:,} planned" if planned else made


def _time(facts: Facts, planned: Facts) -> str:
    if "hours_taken" not in facts:
        return ""
    taken = f"{_duration(facts['hours_taken'])} taken"
    return f"{taken}, {_duration(planned['hours'])} planned" if planned else taken


def _duration(hours: float) -> str:
    """Hours as a person says them.

    >>> _duration(5.23), _duration(0.35), _duration(0.0)
    ('5.2 h', '21 min', 'under a minute')
    """
    minutes = round(hours * 60)
    return f"{hours:.1f} h" if hours >= 1 else f"{minutes} min" if minutes else "under a minute"


def _by_method(facts: Facts) -> str:
    calls = {method.removeprefix("flickr."): number for method, number in facts.get("calls", {}).items()}
    return f" ({', '.join(f'{method} {number:,}' for method, number in calls.items())})" if calls else ""


def _minute(moment: str) -> str:
    """An ISO time without seconds and offset."""
    return moment[:16].replace("T", " ")
