"""The users of a night's posts: whom to ask about, in which order, within the calls that are left."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from flickcast.console import track
from flickcast.errors import TryAgainError
from flickcast.params import IngestParams
from flickcast.schemas import TABLES
from flickcast.sources.flickr_client import Answer, RefusedError, Verdict
from flickcast.sources.flickr_found import Memory, frame
from flickcast.sources.flickr_parse import Row, count, user_from_person
from flickcast.sources.journal import Session

MOST_FAILING = 5  # calls of one kind in a row that always fail: the others of the kind wait for the next night
INFO, FOLLOWING = "flickr.people.getInfo", "flickr.contacts.getPublicList"


class People:
    """The users whose numbers are missing or old, asked for in the order of what a call is worth, while calls last."""

    def __init__(
        self, session: Session, params: IngestParams, owners: pl.DataFrame, memory: Memory, at: datetime
    ) -> None:
        self._session = session
        self._params = params
        self._rows: dict[str, Row] = {}
        self._gone: list[Row] = []
        self._skipped: list[Row] = []
        self._waiting = self._failing = 0
        self._at = at
        self._with_numbers = set(memory.users.drop_nulls("photo_count")["user_id"])
        self._new, self._stale = _whom_to_ask(owners, memory, at - timedelta(days=params.user_refresh_days))

    def ask(self) -> None:
        """Those of whom nothing is known, who has most posts here first; those whose numbers are old, oldest first;
        then, with what is left, whom they all follow.
        """
        self._ask(self._new)
        self._ask(self._stale)
        asked = [user_id for user_id in self._rows if self._params.following][: self._left()]
        ask = partial(self._session.call, FOLLOWING, "contacts", per_page=1)
        for user_id, answer in one_by_one(
            self._session, asked, "whom users follow", lambda user_id: ask(user_id=user_id)
        ):
            if isinstance(answer, Answer):
                self._rows[user_id]["following"] = count(answer.content.get("total"))

    def rows(self) -> pl.DataFrame:
        """Rows of `users`; one without any number for who is not for us, so that they are not asked for every night."""
        return frame("users", [*self._rows.values(), *self._skipped])

    def tombstones(self) -> pl.DataFrame:
        """Accounts that are gone."""
        return pl.DataFrame(self._gone, schema=TABLES["tombstones"].dtypes())

    def facts(self) -> dict[str, Any]:
        """How many have to wait for the next night."""
        return {"users_waiting": self._waiting + self._failing, "users_gone": len(self._gone)}

    def notes(self) -> list[str]:
        """What a reader of the night's report should know."""
        lines = []
        if self._gone:
            lines.append(f"{len(self._gone)} users are gone: their numbers stay unknown.")
        if self._skipped:
            lines.append(
                f"{len(self._skipped)} users are not shown to us: those who post after "
                f"{self._params.user_refresh_days} days are asked for again."
            )
        if self._failing:
            lines.append(
                f"{self._failing} users wait for the next night: the service answers others and fails at them."
            )
        if self._waiting:
            lines.append(
                f"{self._waiting} users wait for the next night: the {self._params.calls_per_night} calls of "
                "ingest.calls_per_night are spent."
            )
        return lines

    def _ask(self, user_ids: list[str]) -> None:
        asked = user_ids[: self._left()]
        self._waiting += len(user_ids) - len(asked)
        ask = partial(self._session.call, INFO, "person")
        for user_id, answer in one_by_one(self._session, asked, "users", lambda user_id: ask(user_id=user_id)):
            if answer is Verdict.GONE:
                self._gone.append(tombstone("user", user_id, self._at))
            elif answer is Verdict.RETRY:
                self._failing += 1
            elif answer is Verdict.SKIP and user_id not in self._with_numbers:  # numbers of before stay the latest
                self._skipped.append({"user_id": user_id, "observed_at": self._at})
            elif isinstance(answer, Answer):
                row = user_from_person(answer.content, self._session.moment(answer))
                self._rows[user_id] = row | {"user_id": user_id}

    def _left(self) -> int:
        return max(budget_left(self._session, self._params), 0)


def _whom_to_ask(tonight: pl.DataFrame, memory: Memory, oldest: datetime) -> tuple[list[str], list[str]]:
    """Users of whom nothing is known, and owners of new posts whose numbers are older than that; none that is gone."""
    gone = list(memory.gone("user"))
    latest = memory.users.group_by("user_id").agg(pl.col("observed_at").max())
    owners = pl.concat([memory.posts.select("user_id"), tonight]).group_by("user_id").len()
    owners = owners.filter(~pl.col("user_id").is_in(gone))
    new = owners.join(latest, on="user_id", how="anti").sort("len", "user_id", descending=[True, False])
    stale = owners.join(tonight.unique(), on="user_id", how="semi").join(latest, on="user_id")
    stale = stale.filter(pl.col("observed_at") <= oldest).sort("observed_at", "user_id")
    return new["user_id"].to_list(), stale["user_id"].to_list()


def budget_left(session: Session, params: IngestParams) -> int:
    """The calls that this night may still make."""
    return params.calls_per_night - session.calls.total()


def one_by_one(
    session: Session, names: Sequence[str], doing: str, ask: Callable[[str], Answer]
) -> Iterator[tuple[str, Answer | Verdict]]:
    """Each name with its answer, or why there is none; where calls of this kind always fail, the rest is not asked."""
    failing = 0
    for name in track(names, doing, len(names)):
        answer = _unless_refused(session, partial(ask, name)) if failing < MOST_FAILING else Verdict.RETRY
        failing = failing + 1 if answer is Verdict.RETRY else 0
        yield name, answer


def _unless_refused(session: Session, ask: Callable[[], Answer]) -> Answer | Verdict:
    """An answer, or why there is none: gone (deleted, private), not for us (SKIP), or a call that always fails (RETRY).

    TryAgainError where the service fails at everything, not at this call only.
    """
    try:
        return ask()
    except RefusedError as error:
        if error.verdict in (Verdict.GONE, Verdict.SKIP):
            return error.verdict
        raise
    except TryAgainError:
        if session.is_alive():
            return Verdict.RETRY
        raise


def tombstone(kind: str, name: str, at: datetime) -> Row:
    """A row of `tombstones` for what the service says is gone."""
    return {"kind": kind, "id": name, "gone_at": at, "reason": "gone"}
