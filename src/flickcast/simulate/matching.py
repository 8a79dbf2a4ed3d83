"""Which posts a search finds: its arguments read as the real API reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

import polars as pl

from flickcast.simulate.world import World

Arguments: TypeAlias = Mapping[str, str]

EPOCH = datetime.fromtimestamp(0, UTC)
INDEX_LAG_DAYS = 2  # posts of a deleted account are still found for this long


@dataclass(frozen=True)
class FoundUsers:
    """Rows of the users: of all by id, and those whose posts are no longer found."""

    places: Mapping[str, int]
    vanished: list[int]


class RefusedError(Exception):
    """The service says no, with the real API's code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def matching(world: World, now: datetime, arguments: Arguments, users: FoundUsers) -> pl.DataFrame:
    """Posts to be seen now that fit the arguments, in the asked order."""
    low = _moment(arguments.get("min_upload_date")) or EPOCH
    high = _moment(arguments.get("max_upload_date")) or now
    wanted = _conditions(arguments, users.places)
    if users.vanished:
        wanted &= ~pl.col("user").is_in(users.vanished)
    found = world.shown(low, high, now).filter(wanted)
    order = arguments.get("sort", "date-posted-desc")
    if order.startswith("interestingness"):
        found = found.with_columns(pl.Series("interest", world.views(found, now)))
        return found.sort("interest", "post", descending=order.endswith("desc")).drop("interest")
    return found if order.endswith("asc") else found.reverse()


def _conditions(arguments: Arguments, places: Mapping[str, int]) -> pl.Expr:
    wanted = pl.lit(True)
    if user_id := arguments.get("user_id"):
        if user_id not in places:
            raise RefusedError(2, "Unknown user")
        wanted &= pl.col("user") == places[user_id]
    if licences := arguments.get("license"):
        wanted &= pl.col("licence").is_in(licences.split(","))
    if (media := arguments.get("media", "all")) != "all":
        wanted &= pl.col("media_type") == media.removesuffix("s")
    if (has_geo := arguments.get("has_geo")) is not None:
        wanted &= pl.col("geotagged") == (has_geo not in ("0", "false", ""))
    if text := arguments.get("text"):
        wanted &= pl.col("title").str.contains(text, literal=True) | pl.col("tags").list.contains(text)
    if tags := arguments.get("tags"):
        together = pl.all_horizontal if arguments.get("tag_mode") == "all" else pl.any_horizontal
        wanted &= together([pl.col("tags").list.contains(tag.strip()) for tag in tags.split(",")])
    return wanted


def vanished(world: World, now: datetime) -> list[int]:
    """Rows of the accounts that are deleted for so long that their posts are no longer found."""
    lag = pl.duration(days=INDEX_LAG_DAYS)
    gone = world.users.profiles.with_row_index("user").filter(pl.col("deleted_at") + lag <= now)
    return gone["user"].to_list()


def _moment(text: str | None) -> datetime | None:
    """A time argument: unix seconds, or a date and time, which we read as UTC."""
    if not text:
        return None
    try:
        if text.isdecimal():
            return datetime.fromtimestamp(int(text), UTC)
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        raise RefusedError(18, f"Illogical arguments: {text} is not a time") from None
