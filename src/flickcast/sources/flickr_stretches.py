"""Which stretches of upload time a night asks for: its own, the hours before it, and where posts come of age."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from flickcast.params import IngestParams, SamplingParams

HOUR, DAY = 3600, 86_400
Filters = Mapping[str, str]  # what limits a search besides the time


@dataclass(frozen=True)
class Stretch:
    """A stretch of upload time, in unix seconds: [start, end)."""

    start: int
    end: int

    @property
    def seconds(self) -> int:
        """Its length."""
        return self.end - self.start


@dataclass(frozen=True)
class Span:
    """The time whose posts a night takes in: [since, until), usually a day."""

    since: datetime
    until: datetime

    def older_by(self, days: int) -> Stretch:
        """When posts were uploaded that reach an age of so many days during this span."""
        return Stretch(int(self.since.timestamp()) - days * DAY, int(self.until.timestamp()) - days * DAY)


@dataclass(frozen=True)
class Route:
    """What a night walks. `known_since`: the upload of the oldest post known here; None where none is known."""

    span: Span
    params: IngestParams
    maturity_days: int = 7
    seed: int = 0
    known_since: datetime | None = None

    @property
    def stretches(self) -> list[Stretch]:
        """All of it, oldest first, each second once."""
        new = self.span.older_by(0)
        wanted = [Stretch(new.start - self.params.requery_hours * HOUR, new.end), *self._aged()]
        return sampled(merged(wanted), self.params.sampling, self.seed)

    @property
    def aged(self) -> list[Stretch]:
        """The part of it whose posts are to be counted again, whether a search lists them or not."""
        return sampled(merged(self._aged()), self.params.sampling, self.seed)

    @property
    def seconds(self) -> int:
        """How much upload time it covers."""
        return sum(stretch.seconds for stretch in self.stretches)

    def _aged(self) -> list[Stretch]:
        """Where known posts reach the age of a count; that of the label always is one of them."""
        if self.known_since is None:
            return []
        first = int(self.known_since.timestamp())
        days = sorted({*self.params.observe_at_days, self.maturity_days} - {0})
        wanted = [self.span.older_by(number) for number in days]
        return [Stretch(max(one.start, first), one.end) for one in wanted if one.end > first]


def merged(wanted: Iterable[Stretch]) -> list[Stretch]:
    """The same time as stretches that neither touch nor overlap, oldest first.

    >>> merged([Stretch(5, 9), Stretch(0, 2), Stretch(8, 12)])
    [Stretch(start=0, end=2), Stretch(start=5, end=12)]
    """
    joined: list[Stretch] = []
    for one in sorted(wanted, key=lambda stretch: stretch.start):
        if joined and one.start <= joined[-1].end:
            joined[-1] = Stretch(joined[-1].start, max(joined[-1].end, one.end))
        else:
            joined.append(one)
    return joined


def uncovered(covered: Iterable[Span], since: datetime, until: datetime) -> list[Span]:
    """The parts of [since, until) that none of these spans holds, oldest first."""
    gaps, reached = [], since
    for one in sorted(covered, key=lambda span: span.since):
        if reached < min(one.since, until):
            gaps.append(Span(reached, min(one.since, until)))
        reached = max(reached, one.until)
    return gaps + ([Span(reached, until)] if reached < until else [])


def sampled(wanted: list[Stretch], sampling: SamplingParams, seed: int) -> list[Stretch]:
    """What the sampling design leaves of it: for `hours` a part of every hour, the same whoever asks and whenever."""
    if sampling.design != "hours":
        return wanted
    seconds = sampling.minutes_per_hour * 60
    windows = []
    for one in wanted:
        for hour in range(one.start // HOUR, -(-one.end // HOUR)):
            start = hour * HOUR + _offset(hour, seconds, seed)
            first, last = max(start, one.start), min(start + seconds, one.end)
            windows += [Stretch(first, last)] if first < last else []
    return windows


def searches(wanted: list[Stretch], sampling: SamplingParams) -> list[tuple[Stretch, Filters]]:
    """The stretches with what limits their searches; `follow` asks once per user, for all the time between, too."""
    if sampling.design != "follow":
        return [(one, {}) for one in wanted]
    whole = Stretch(wanted[0].start, wanted[-1].end)
    return [(whole, {"user_id": user_id}) for user_id in sorted(set(sampling.users))]


def _offset(hour: int, seconds: int, seed: int) -> int:
    """Where in an hour its sampled part begins: even chances, fixed by the seed."""
    digest = hashlib.sha256(f"{seed} {hour}".encode()).digest()
    return int.from_bytes(digest[:8]) % (HOUR - seconds + 1)
