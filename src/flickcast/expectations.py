"""What past nights teach about a night: what it will cost, and whether it came short.

`past` are the facts that earlier nights of the same sampling design left, oldest first.
"""

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from flickcast.params import IngestParams

Facts = Mapping[str, Any]

HOUR_SECONDS, DAY_SECONDS = 3600, 86_400
NIGHTS = 28  # so many of the latest tell what is usual
LATEST = 7  # and so many how dense uploads lie
ENOUGH_NIGHTS = 5
SAME_WEEKDAYS = 3
# A night came short with less than this share of what is usual on its weekday, and of the least that was ever seen:
# uploads of one weekday differ by a factor of 1.2 or so from week to week (simulated: up to 2), weekdays by more.
SHORT_SHARE, SHORT_OF_LEAST = 0.7, 0.8
SHORT_READ = 0.97  # so did one that was given less than this share of what it was told of
ENOUGH_POSTS = 200  # a small night differs by chance
EXPECTED_IN_HOUR = 15.0  # an hour without a post is no chance where so many are usual (e^-15)
SEARCH, INFO, FOLLOWING, PHOTO = (
    "flickr.photos.search",
    "flickr.people.getInfo",
    "flickr.contacts.getPublicList",
    "flickr.photos.getInfo",
)
PER_NEW_POST = (INFO, FOLLOWING, PHOTO)


def posts_per_second(past: Sequence[Facts]) -> list[float] | None:
    """How dense uploads lie in each hour of the day (UTC); None where no night has told."""
    days = sum(one["new_seconds"] for one in past[-LATEST:]) / DAY_SECONDS
    if not days:
        return None
    return [(sum(one["hours"][hour] for one in past[-LATEST:]) + 1) / days / HOUR_SECONDS for hour in range(24)]


def plan(
    past: Sequence[Facts], weekday: int, walked_seconds: int, new_seconds: int, params: IngestParams
) -> dict[str, Any]:
    """Calls, pictures and hours that a night will take; empty where no night is past.

    It goes by the latest night of its weekday, else by the latest: uploads have a weekly rhythm, and so have the users
    that are to be asked for again, by default after a week.
    """
    known = [one for one in past[-NIGHTS:] if one["walked_seconds"]]
    if not known:
        return {}
    like = next((one for one in reversed(known) if one["weekday"] == weekday), known[-1])
    new = new_seconds / like["new_seconds"]
    shares = {**dict.fromkeys(PER_NEW_POST, new), SEARCH: walked_seconds / like["walked_seconds"]}
    calls = {method: round(like["calls"].get(method, 0) * share) for method, share in shares.items()}
    pictures = round((like["pictures"] + like["pictures_quarantined"]) * new)
    return {
        "posts": round(like["stored"] * new),
        "calls": {method: number for method, number in sorted(calls.items()) if number},
        "calls_in_all": sum(calls.values()),
        "hours": round(hours(sum(calls.values()), pictures, params), 2),
        "pictures": pictures,
        "as_on": like["since"][:10],
    }


def hours(calls: float, pictures: float, params: IngestParams) -> float:
    """How long that takes at the limits of speed: calls first, then pictures."""
    per_hour = min(params.calls_per_second * 3600, params.calls_per_hour)
    return calls / per_hour + pictures / (params.pictures_per_second * 3600)


def shortness(facts: Facts, past: Sequence[Facts]) -> list[str]:
    """In which ways a night came short of what was to be expected; nothing where all is as usual."""
    reasons = []
    if facts["read"] < SHORT_READ * facts["told"]:
        reasons.append(f"the service told of {facts['told']} posts and gave {facts['read']}")
    if facts["broken_seconds"]:
        reasons.append(f"searches of {facts['broken_seconds']} s of uploads failed")
    known = [one for one in past[-NIGHTS:] if one["new_seconds"] == facts["new_seconds"]]
    same = [one for one in known if one["weekday"] == facts["weekday"]]
    judges = same if len(same) >= SAME_WEEKDAYS else known
    uploads = [sum(one["hours"]) for one in judges]
    if len(known) < ENOUGH_NIGHTS or median(uploads) < ENOUGH_POSTS:
        return reasons
    posts, usual = sum(facts["hours"]), median(uploads)
    if posts < min(
        SHORT_SHARE * (usual if len(same) >= SAME_WEEKDAYS else min(uploads)), SHORT_OF_LEAST * min(uploads)
    ):
        reasons.append(f"{posts} posts were uploaded, {usual:.0f} are usual")
    for hour, number in enumerate(facts["hours"]):
        expected = mean(one["hours"][hour] for one in judges)
        if number == 0 and expected >= EXPECTED_IN_HOUR:
            reasons.append(f"none was uploaded from {hour:02d} to {hour + 1:02d} UTC, {expected:.0f} are usual")
    return reasons
