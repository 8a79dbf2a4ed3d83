"""`flickcast compare`: every recipe on the same folds, each row in a process of its own and kept once it is there."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from flickcast.comparison import ROUNDS, Comparison, Entry, Labels, compared
from flickcast.comparison.chart import chart
from flickcast.comparison.text import csv, markdown
from flickcast.console import progress, say
from flickcast.models.budget import Estimate, Plan, in_words, planned, unfinished
from flickcast.stages.contest import Contest
from flickcast.stages.contestants import Contestant, contestants
from flickcast.stages.judging import Task
from flickcast.stages.row_process import run_task
from flickcast.tables import publish
from flickcast.workspace import Workspace

Json = dict[str, Any]
Shown = Callable[[Comparison, pl.DataFrame, pl.DataFrame], None]
TRIAL_SHARE, TRIAL_ROWS = 0.1, 250  # of the training rows, for a small timed fit; at least so many
TRIALS = 0.2  # of the budget, for all of these fits together
RESERVE, RESERVE_SECONDS = 0.03, 5.0  # of the budget, for what follows the last row; at least so many seconds
PROMISE = 0.1  # of the budget: rows that were quicker than estimated must have been so for far longer to be believed
LENT = 0.5  # a row that is slower than estimated may use this share of the time that the rows after it need


def compare_recipes(
    ws: Workspace,
    wanted: Sequence[str] = (),
    split: str = "time",
    *,
    seeds: int = 1,
    budget_seconds: float | None = None,
    extra: Mapping[str, Json] | None = None,
    references: bool = True,
    answers: pl.DataFrame | None = None,
    rounds: int = ROUNDS,
    shown: Shown = lambda comparison, folds, predictions: None,
) -> Comparison:
    """Compare recipes on one split of the workspace's labelled posts; `.as_json()` of the result is all that is known.

    - `wanted`: names of recipes, or of learners to be fitted alone on the whole matrix; none: every recipe
    - `split`: time, user, random or smpd (`splits.PROTOCOLS`)
    - `seeds`: how many seeds of the models, from params `seed` on; the split's own is always 0
    - `budget_seconds`: no more than this in all; learners are left out in each recipe's declared order, and rows say so
    - `extra`: further rows, name to the content of a recipe's YAML with one learner, which is fitted alone; or the
      name of one that is only run when asked for (`references.ASKED_FOR`) to its settings
    - `references`: also ridge, CatBoost and LightGBM with their defaults
    - `answers`: post_id, popularity of the test posts of `smpd`
    - `rounds`: bootstrap resamples
    - `shown`: called after each row with the comparison so far, which fold tests which post (post_id, fold; null where
      a post is only learnt from), and every row's predictions (post_id, fold, popularity, a column per row, of its
      first seed); `write_comparison` is one

    Rows that were finished with the same data, recipe and code are not computed again; runs are kept in
    `.flickcast/comparison`. Naive baselines and, where known, the oracle are always among the rows. A row that fails
    says why in its note. UserError for a wrong name or too few posts. Nothing is locked: hold `ws.lock` around it.
    """
    schedule = Schedule(Contest(ws, split, answers), seeds, budget_seconds)
    entries = (contest := schedule.contest).baselines()
    rows = contestants(ws, wanted, extra or {}, references)
    if budget_seconds is not None:
        schedule.estimate(rows)
    with progress("compare", sum(row.fits * len(contest.todo(row, seeds)) for row in rows)) as advance:
        for place, row in enumerate(rows):
            advance(0, row.name)
            entries.append(schedule.judged(row, rows[place + 1 :], advance))
            figures = [entry.figures(contest.labels) for entry in entries]
            so_far = Comparison(split, figures, notes=contest.notes())
            shown(so_far, contest.folds, contest.predictions(entries))
            say(_line(entries[-1], contest.labels))  # only now: whoever reads it may end the command
    facts = {"posts": contest.tested.height, "folds": len(contest.numbers), "seeds": seeds}
    result = compared(split, entries, contest.labels, contest.notes(), facts, rounds, ws.params.seed)
    shown(result, contest.folds, contest.predictions(entries))
    return result


def write_comparison(folder: Path, comparison: Comparison, folds: pl.DataFrame, predictions: pl.DataFrame) -> None:
    """`<split>.md`, `.csv` and `.svg`, the folds and every row's predictions as CSV, one file each."""
    split = comparison.split
    contents = {
        f"{split}.md": markdown(comparison),
        f"{split}.csv": csv(comparison),
        f"{split}.svg": chart(comparison),
        f"folds-{split}.csv": folds.write_csv(),
        f"predictions-{split}.csv": predictions.write_csv(),
    }
    for name, content in contents.items():
        publish(folder / name, content.encode())


def plan_of_comparison(
    ws: Workspace,
    wanted: Sequence[str],
    split: str,
    *,
    seeds: int = 1,
    budget_seconds: float | None = None,
    references: bool = True,
    answers: pl.DataFrame | None = None,
) -> Json:
    """What a comparison will take, by small timed fits of the rows that are not kept yet; nothing else is computed."""
    schedule = Schedule(Contest(ws, split, answers), seeds, budget_seconds)
    folds = len(schedule.contest.numbers)
    rows = contestants(ws, wanted, {}, references)
    schedule.estimate(rows)
    plan = schedule.plan(rows)
    done = [row.name for row in rows if not schedule.contest.todo(row, seeds)]
    failing = [row.name for row in rows if row.name not in schedule.estimates and row.name not in done]
    each = {name: round(one.seconds(folds, plan.seeds), 1) for name, one in plan.estimates.items()}
    return {
        "split": split,
        "folds": folds,
        "seeds": plan.seeds,
        "seconds": each,
        "seconds_in_all": round(plan.seconds, 1),
        "left_out": {name: list(one.left_out) for name, one in plan.estimates.items() if one.left_out},
        "rows_without_time": list(plan.left_out),
        "done_already": done,
        "failing": failing,
    }


@dataclass
class Schedule:
    """When which row runs, and with what it has to make do so that the budget holds."""

    contest: Contest
    seeds: int
    budget: float | None = None
    estimates: dict[str, Estimate] = field(default_factory=dict)
    paces: list[tuple[float, float]] = field(default_factory=list)  # seconds that rows took and were estimated at
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds that rows may take; infinite without a budget."""
        if self.budget is None:
            return float("inf")
        return self.budget - max(self.budget * RESERVE, RESERVE_SECONDS) - (time.monotonic() - self.began)

    def estimate(self, rows: Sequence[Contestant]) -> None:
        """Small timed fits of the rows that are still to be done; what one leaves of its time is for those after it."""
        waiting = [row for row in rows if self.contest.todo(row, self.seeds)]
        began, most = time.monotonic(), TRIALS * (self.budget or 0.0)
        with progress("trial fits", len(waiting)) as advance:
            for place, row in enumerate(waiting):
                advance(0, row.name)
                share = max(0.0, most - (time.monotonic() - began)) / (len(waiting) - place)
                self._try(row, None if self.budget is None else share)
                advance(1)

    def _try(self, row: Contestant, limit: float | None) -> None:
        """No estimate where the small fit fails: the row itself will say why."""
        fixed = row.fixed_seconds
        if len(fixed) == row.learners:
            self.estimates[row.name] = Estimate.known(fixed)
            return
        training = self.contest.folds.filter(pl.col("fold").ne_missing(self.contest.numbers[0])).height
        sample, trial = max(TRIAL_ROWS, round(TRIAL_SHARE * training)), _Trial()
        tried = row.without(list(fixed))
        self._run(tried, [], limit, trial.hear, sample)
        taken = time.monotonic() - trial.began
        found = trial.told
        if found is None and limit is not None and taken >= limit:
            names = list((tried.recipe or {}).get("learners", []))
            found = trial.stopped(names, {"rows": min(sample, training), "of": training, "reading": 0.0}, taken)
            taken = trial.started + found["seconds"]
        if found is not None:
            drop_first = (row.recipe or {}).get("drop_first", [])
            most_rows = {} if self.contest.ws.params.train.full else row.most_rows
            self.estimates[row.name] = Estimate.of(found, taken, drop_first, most_rows, fixed)

    @property
    def pace(self) -> float:
        """How many times as long as estimated rows take: as those before; quick short ones tell little of long ones."""
        taken, expected = (sum(parts, 1e-9) for parts in zip((0.0, 0.0), *self.paces, strict=True))
        doubt = 0.0 if taken > expected else PROMISE * (self.budget or 0.0)
        return (taken + doubt) / (expected + doubt)

    def plan(self, rows: Sequence[Contestant], pace: float = 0.0) -> Plan:
        """How the rows fit into what is left, in the seconds of their estimates, at this pace or a slower one."""
        there = {row.name: self.estimates[row.name] for row in rows if row.name in self.estimates}
        return planned(there, len(self.contest.numbers), self.seeds, self.left / max(pace, self.pace))

    def judged(self, row: Contestant, after: Sequence[Contestant], advance: Callable[[int], None]) -> Entry:
        """The row, of kept runs and of those that were still to be done, as far as there is time."""
        if not self.contest.todo(row, self.seeds):
            return self.contest.entry(row, self.seeds)
        pace = 0.0
        while self.left > 0:
            plan = self.plan([row, *after], pace)
            try:
                return self._fitted(row, plan, advance)
            except _TooSlowError as slow:  # with what is known now the plan leaves more out
                self.paces.append((slow.taken, slow.expected))
                pace = slow.taken / max(slow.expected, 1e-9)
        return self.contest.entry(row, self.seeds, ["Not run: the budget is spent."])

    def _fitted(self, row: Contestant, plan: Plan, advance: Callable[[int], None]) -> Entry:
        """The row as planned. _TooSlowError once it is seen that time will not do and the row has learners to give."""
        own, folds = plan.estimates.get(row.name), len(self.contest.numbers)
        fewer = row.without(own.left_out) if own else row
        todo = self.contest.todo(fewer, plan.seeds)
        whole = own.seconds(folds, plan.seeds) if own else 0.0
        expected = whole * len(todo) / (folds * plan.seeds)
        limit = None if self.budget is None else max(self.left - LENT * self.pace * (plan.seconds - whole), 1.0)
        watch = _Watch(fewer, len(todo), limit, expected, advance, bool(own and own.dropped < len(own.drop_first)))
        problem = self._run(fewer, todo, limit, watch.hear)
        if own and not problem:
            self.paces.append((watch.taken, expected))
        notes = [own.cost()] if own and own.left_out else []
        notes += [f"{plan.seeds} of {self.seeds} seeds, for time."] if plan.seeds < self.seeds else []
        return self.contest.entry(fewer, plan.seeds, [*notes, *([problem] if problem else [])])

    def _run(
        self,
        row: Contestant,
        todo: Sequence[tuple[int, int]],
        limit: float | None,
        tell: Callable[[Json], None],
        sample: int | None = None,
    ) -> str:
        """Why a row's process did not do all of it, in a sentence, or nothing."""
        about: Json = {"root": self.contest.ws.root, "row": row.name, "kind": row.kind, "recipe": row.recipe}
        folder = self.contest.folder(row)
        task = Task(**about, split=self.contest.split, todo=list(todo), folder=folder, sample=sample)
        return run_task(task, None if limit == float("inf") else limit, tell)


class _TooSlowError(Exception):
    """A row will not be done within its limit."""

    def __init__(self, taken: float, expected: float) -> None:
        super().__init__()
        self.taken, self.expected = taken, expected


@dataclass
class _Trial:
    """What the process of a small fit tells."""

    told: Json | None = None  # of a whole fit
    begun: Json | None = None
    started: float = 0.0  # seconds until it was begun
    prepared: float = 0.0  # and from then on until the first learner was fitted, where that is told
    moments: list[float] = field(default_factory=list)  # it was begun or prepared, and fitted a learner
    began: float = field(default_factory=time.monotonic)

    def hear(self, message: Json) -> None:
        now = time.monotonic()
        if "begun" in message:
            self.begun, self.started, self.moments = message["begun"], now - self.began, [now]
        elif message.get("fitted") == 0 and len(self.moments) == 1:
            self.prepared, self.moments = now - self.moments[0], [now]
        elif "fitted" in message:
            self.moments.append(now)
        self.told = message.get("probe", self.told)

    def stopped(self, names: Sequence[str], known: Json, taken: float) -> Json:
        """Of a fit that was stopped; before it was begun it is said to take just as long."""
        if self.begun is not None:
            return unfinished(self.begun, [*self.moments, self.began + taken], self.prepared)
        even = dict.fromkeys(names, taken / max(len(names), 1))
        return {**known, "seconds": taken, "learners": even, "src_after": []}


@dataclass
class _Watch:
    """How quick a row is while its process runs."""

    row: Contestant
    runs: int
    limit: float | None
    expected: float
    advance: Callable[[int], None]
    can_give: bool
    fitted: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def taken(self) -> float:
        return time.monotonic() - self.began

    def hear(self, message: Json) -> None:
        """Judged whenever every learner was fitted equally often: single ones tell nothing of the others."""
        count = message.get("fitted", 0)
        self.fitted += count
        self.advance(count)
        if not count or not self.can_give or self.limit is None or self.fitted % self.row.learners:
            return
        share = min(self.fitted / (self.row.fits * self.runs), 1.0)
        if self.taken / share > self.limit:
            self.advance(-self.fitted)
            raise _TooSlowError(self.taken / share, self.expected)


def _line(entry: Entry, labels: Labels) -> str:
    """A finished row, for those who wait."""
    row = entry.figures(labels)
    if row["mae"] is None:
        return f"{entry.name}: {row['note'] or 'predicted; there is no label to measure by.'}"
    seconds = f", {in_words(row['total_seconds'])}" if row["total_seconds"] is not None else ""
    return f"{entry.name}: SRC {row['src']:.4f}, MAE {row['mae']:.4f}{seconds}. {row['note']}".rstrip()
