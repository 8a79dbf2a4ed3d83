"""A time limit for several recipes: what small timed fits say of the whole, and what is left out so that it fits."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flickcast.errors import UserError

UNITS = {"h": 3600, "m": 60, "s": 1}
DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


@dataclass(frozen=True)
class Estimate:
    """What a row of a comparison will take: a process of its own and, for each seed and fold, one fit."""

    start: float  # seconds until its process is at work
    reading: float  # seconds to read and prepare the rows of a fold
    fit: float  # seconds of a fit on all rows of a fold, predictions included
    learners: Mapping[str, float]  # of these, each learner's
    drop_first: Sequence[str] = ()  # what may be left out, in this order
    src_after: Sequence[float] = ()  # in the small fit: of all learners, then without the first, the first two, ...
    trial_rows: int = 0
    untried: Sequence[str] = ()  # that had no part in the small fit, as their time is known
    dropped: int = 0  # how many of drop_first are left out

    @classmethod
    def known(cls, fixed: Mapping[str, float]) -> "Estimate":
        """Of a row all of whose learners have a time limit of their own."""
        return cls(0.0, 0.0, sum(fixed.values()), dict(fixed), untried=tuple(fixed))

    @classmethod
    def of(
        cls,
        probe: Mapping[str, Any],
        wall: float,
        drop_first: Sequence[str],
        most_rows: Mapping[str, int] | None = None,
        fixed: Mapping[str, float] | None = None,
    ) -> "Estimate":
        """From a small timed fit that took `wall` seconds in all; a fit's time grows with its rows.

        That of a learner only up to its `most_rows`; one with a time limit of its own takes these `fixed` seconds,
        and has no part in the small fit.
        """
        rows = max(probe["rows"], 1)
        scale = probe["of"] / rows
        most = {name: (most_rows or {}).get(name, probe["of"]) for name in probe["learners"]}
        scales = {name: max(1.0, min(probe["of"], most[name]) / min(rows, most[name])) for name in most}
        learners = {name: seconds * scales[name] for name, seconds in probe["learners"].items()} | dict(fixed or {})
        start = max(0.0, wall - probe["reading"] - probe["seconds"])
        named = tuple(dict.fromkeys(name for name in drop_first if name in learners))[: max(0, len(learners) - 1)]
        other = max(0.0, probe["seconds"] - sum(probe["learners"].values())) * scale
        untried = tuple(fixed or ())
        after = () if untried else tuple(probe["src_after"])
        return cls(start, probe["reading"], other + sum(learners.values()), learners, named, after, rows, untried)

    def seconds(self, folds: int, seeds: int) -> float:
        """Of the whole row."""
        gone = sum(self.learners[name] for name in self.left_out)
        return self.start + folds * seeds * (self.reading + max(self.fit - gone, 0.0))

    @property
    def left_out(self) -> tuple[str, ...]:
        """The learners that it does without."""
        return tuple(self.drop_first[: self.dropped])

    def cost(self) -> str:
        """What is left out and what that cost, in words; empty where nothing is."""
        if not self.left_out:
            return ""
        words = f"Left out for time: {', '.join(self.left_out)}"
        if len(self.src_after) <= self.dropped:
            why = f"did without {', '.join(self.untried)}" if self.untried else "was stopped"
            return f"{words}; what that cost is not known, as its trial fit {why}."
        before, after = self.src_after[0], self.src_after[self.dropped]
        them = "them" if self.dropped > 1 else "it"
        trial = f"in a trial fit of {self.trial_rows} posts SRC went from {before:.3f} to {after:.3f} without {them}."
        return f"{words}; {trial}"


def unfinished(begun: Mapping[str, Any], moments: Sequence[float], prepared: float = 0.0) -> dict[str, Any]:
    """What a small fit that was stopped would have told of its learners, from what it had `begun` with.

    `moments` are those at which it began, at which each fit of a learner ended, in turns, and at which it was stopped;
    `prepared` are seconds before the first of them.
    A learner takes as long as its fits so far; the one that was at work at least as long as it had been, and one that
    was never begun as long as any.
    """
    names, gaps = list(begun["learners"]), np.diff(moments)
    each = begun["fits"] / len(names)
    taken = {name: float(gaps[place :: len(names)].mean()) for place, name in enumerate(names) if place < len(gaps)}
    working = (len(gaps) - 1) % len(names)
    done = gaps[working : len(gaps) - 1 : len(names)]
    taken[names[working]] = max(taken[names[working]], float(done.mean()) if done.size else 0.0)
    learners = {name: taken.get(name, float(gaps.mean())) * each for name in names}
    return {**begun, "learners": learners, "seconds": prepared + sum(learners.values()), "src_after": []}


@dataclass(frozen=True)
class Plan:
    """Rows that fit into the time, with how many seeds each; `left_out`: rows for which there is no time at all."""

    estimates: Mapping[str, Estimate]
    seeds: int
    left_out: tuple[str, ...]
    seconds: float


def planned(estimates: Mapping[str, Estimate], folds: int, seeds: int, available: float) -> Plan:
    """Make it fit: fewer seeds first, then learners in each recipe's declared order, then no row from the end on.

    Of the recipes that still have something to leave out, the one that takes longest gives next. A recipe keeps at
    least one learner. The first row always stays.
    """
    rows = dict(estimates)
    while (needed := _total(rows, folds, seeds)) > available and seeds > 1:
        seeds -= 1
    while (needed := _total(rows, folds, seeds)) > available:
        giving = [name for name, one in rows.items() if one.dropped < len(one.drop_first)]
        if not giving:
            break
        longest = max(giving, key=lambda name: (rows[name].seconds(folds, seeds), name))
        rows[longest] = replace(rows[longest], dropped=rows[longest].dropped + 1)
    left_out: list[str] = []
    while needed > available and len(rows) > 1:
        left_out.insert(0, list(rows)[-1])
        rows.pop(left_out[0])
        needed = _total(rows, folds, seeds)
    return Plan(rows, seeds, tuple(left_out), needed)


def _total(rows: Mapping[str, Estimate], folds: int, seeds: int) -> float:
    return sum(one.seconds(folds, seeds) for one in rows.values())


def seconds_in(text: str) -> float:
    """A duration such as 40m, 1h30m or 90s, in seconds. UserError for anything else.

    >>> seconds_in("1h30m")
    5400.0
    """
    match = DURATION.fullmatch(text.strip())
    numbers = match.groups(0) if match else (0, 0, 0)
    seconds = sum(float(number) * UNITS[unit] for number, unit in zip(numbers, "hms", strict=True))
    if seconds <= 0:
        raise UserError(f"'{text}' is no duration; write it as 40m, 1h30m or 90s.")
    return seconds


def in_words(seconds: float) -> str:
    """Seconds as a person says them.

    >>> in_words(5400), in_words(130), in_words(8.4)
    ('1.5 h', '2 min', '8 s')
    """
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
