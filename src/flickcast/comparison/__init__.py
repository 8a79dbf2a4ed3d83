"""What a comparison says: measures of each row with spread and interval, paired tests, gains of ensemble members."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flickcast.metrics import measures

Json = dict[str, Any]
Values = NDArray[np.float64]
Labels = Mapping[int, Values]  # of each fold, (posts,), in the order of their ids; NaN where unknown
MEASURES = ("src", "mae", "mse", "mape")
ROUNDS = 1000
CELLS = 2_000_000  # so many resampled posts are ranked at once
LEVEL = 0.95


@dataclass(frozen=True)
class Run:
    """What one fit said of the posts of one fold, (posts,), in the order of their ids."""

    fold: int
    seed: int
    prediction: Values
    without: Mapping[str, Values] = field(default_factory=dict)  # by learner: the recipe's prediction without it
    weights: Mapping[str, float] = field(default_factory=dict)  # by learner, mean over the members
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    peak_bytes: int = 0
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Entry:
    """A row: a name, what kind of row it is, the runs of every fold and seed, and what must be said of it."""

    name: str
    kind: str  # recipe, learner, reference, baseline or oracle
    runs: Sequence[Run] = ()
    notes: Sequence[str] = ()

    def figures(self, labels: Labels) -> Json:
        """Mean and spread (standard deviation) of each measure over folds and seeds, and what it cost."""
        found = [one for run in self.runs if (one := _measured(labels[run.fold], run.prediction))]
        row: Json = {"row": self.name, "kind": self.kind, "runs": len(self.runs)}
        for measure in MEASURES:
            values = [one[measure] for one in found]
            row[measure] = float(np.mean(values)) if values else None
            row[f"{measure}_spread"] = float(np.std(values)) if values else None
        told = dict.fromkeys([*self.notes, *(note for run in self.runs for note in run.notes)])
        return row | self._costs() | {"note": " ".join(told)}

    def _costs(self) -> Json:
        """Mean seconds of a fit and of its predictions, all of them together, and the largest memory of the process."""
        if not any(run.peak_bytes for run in self.runs):
            return {"fit_seconds": None, "predict_seconds": None, "total_seconds": None, "peak_mib": None}
        return {
            "fit_seconds": float(np.mean([run.fit_seconds for run in self.runs])),
            "predict_seconds": float(np.mean([run.predict_seconds for run in self.runs])),
            "total_seconds": float(np.sum([run.fit_seconds + run.predict_seconds for run in self.runs])),
            "peak_mib": max(run.peak_bytes for run in self.runs) / 2**20,
        }


def _measured(label: Values, prediction: Values) -> dict[str, float]:
    """Over the posts that have both; nothing where none has."""
    known = np.isfinite(label) & np.isfinite(prediction)
    return measures(label[known], prediction[known]) if known.any() else {}


def drawn(
    entry: Entry,
    labels: Labels,
    rounds: int = ROUNDS,
    seed: int = 0,
    said: Callable[[Run], Values] = lambda run: run.prediction,
) -> Values | None:
    """The measures in resampled posts: (rounds, measures), each the mean over folds and seeds.

    In a round every fold's posts are drawn with replacement, the same for all rows and seeds, so that two rows'
    differences are paired (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 16). None where a
    prediction or all labels are missing.
    """
    total, count = np.zeros((rounds, len(MEASURES))), 0
    for run in entry.runs:
        known = np.isfinite(labels[run.fold])
        label, prediction = labels[run.fold][known], said(run)[known]
        if not known.any() or not np.isfinite(prediction).all():
            return None
        parts = [_in_rows(label[rows], prediction[rows]) for rows in _resampled(len(label), rounds, [seed, run.fold])]
        total, count = total + np.concatenate(parts), count + 1
    return total / count if count else None


def _resampled(posts: int, rounds: int, seed: Sequence[int]) -> Iterator[NDArray[np.int64]]:
    generator, step = np.random.default_rng(list(seed)), max(1, CELLS // posts)
    for start in range(0, rounds, step):
        yield generator.integers(0, posts, (min(step, rounds - start), posts))


def _in_rows(label: Values, prediction: Values) -> Values:
    """`metrics.measures` of each row of two matrices (rounds, posts): (rounds, measures)."""
    from scipy.stats import rankdata

    first, second = (_centred(np.asarray(rankdata(values, axis=1))) for values in (label, prediction))
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    src = np.divide((first * second).sum(axis=1), scale, out=np.zeros(len(scale)), where=scale > 0)
    error, nonzero = label - prediction, label != 0
    relative = np.divide(np.abs(error), np.abs(label), out=np.zeros_like(error), where=nonzero)
    mape = relative.sum(axis=1) / np.maximum(nonzero.sum(axis=1), 1)
    return np.column_stack([src, np.abs(error).mean(axis=1), (error**2).mean(axis=1), mape])


def _centred(ranks: Values) -> Values:
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True))


def interval(samples: Values) -> Json:
    """The 95 % interval of each measure, as `<measure>_low` and `<measure>_high`."""
    low, high = _ends(samples)
    return {
        f"{name}_{end}": float(value)
        for end, values in (("low", low), ("high", high))
        for name, value in zip(MEASURES, values, strict=True)
    }


def _ends(samples: Values) -> tuple[Values, Values]:
    tail = (1 - LEVEL) / 2
    return np.quantile(samples, tail, axis=0), np.quantile(samples, 1 - tail, axis=0)


def paired(first: Json, second: Json, samples: Values, others: Values) -> Json:
    """A row's figures less another's, per measure, with the 95 % interval and whether that is clear of zero."""
    low, high = _ends(samples - others)
    differences = {
        name: {
            "difference": first[name] - second[name],
            "low": float(low[place]),
            "high": float(high[place]),
            "clear": bool(low[place] > 0 or high[place] < 0),
        }
        for place, name in enumerate(MEASURES)
    }
    return {"first": first["row"], "second": second["row"], **differences}


def gains(entry: Entry, labels: Labels, samples: Values, rounds: int = ROUNDS, seed: int = 0) -> list[Json]:
    """What each learner adds: the recipe's figures less those it has without the learner, others weighed anew."""
    whole, found = entry.figures(labels), []
    for learner in sorted({name for run in entry.runs for name in run.without}):
        runs = [Run(run.fold, run.seed, run.without.get(learner, run.prediction)) for run in entry.runs]
        less = Entry(entry.name, entry.kind, runs)
        others = drawn(less, labels, rounds, seed)
        assert others is not None
        row = paired(whole, less.figures(labels) | {"row": learner}, samples, others)
        weight = float(np.mean([run.weights.get(learner, 0.0) for run in entry.runs]))
        found.append({"row": entry.name, "learner": learner, "weight": weight, **{key: row[key] for key in MEASURES}})
    return found


@dataclass(frozen=True)
class Comparison:
    """All rows of a split, the paired tests, the gains of ensemble members, and what holds for all of them."""

    split: str
    rows: Sequence[Json]
    tests: Sequence[Json] = ()
    members: Sequence[Json] = ()
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> Json:
        """The whole of it."""
        parts = {"rows": self.rows, "tests": self.tests, "members": self.members, "notes": self.notes}
        return {"split": self.split, **self.facts, **{name: list(value) for name, value in parts.items()}}


def compared(
    split: str,
    entries: Sequence[Entry],
    labels: Labels,
    notes: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Comparison:
    """The comparison of these rows: tests of the first recipe, and of the best (lowest MAE), against every other."""
    samples = {entry.name: found for entry in entries if (found := drawn(entry, labels, rounds, seed)) is not None}
    figures = {entry.name: entry.figures(labels) for entry in entries}
    for name, found in samples.items():
        figures[name] |= interval(found)
    tests = [
        paired(figures[one], figures[other], samples[one], samples[other])
        for one in _tested(entries, figures, samples)
        for other in samples
        if other != one
    ]
    members = [
        row for one in entries if one.name in samples for row in gains(one, labels, samples[one.name], rounds, seed)
    ]
    return Comparison(split, _with_fronts(list(figures.values())), tests, members, notes, facts or {})


def _tested(entries: Sequence[Entry], figures: Mapping[str, Json], samples: Mapping[str, Values]) -> list[str]:
    there = [one for one in entries if one.name in samples]
    kind = "recipe" if any(one.kind == "recipe" for one in there) else "learner"
    recipes = [one.name for one in there if one.kind == kind]
    best = sorted(recipes, key=lambda name: (figures[name]["mae"], name))[:1]
    return list(dict.fromkeys([*recipes[:1], *best]))


def _with_fronts(rows: list[Json]) -> list[Json]:
    """Rows with `front`: no other is both more exact (MAE) and quicker (fit and predict)."""
    timed = [row for row in rows if row["mae"] is not None and row["total_seconds"] is not None]

    def beaten(row: Json) -> bool:
        return any(
            one["mae"] <= row["mae"]
            and one["total_seconds"] <= row["total_seconds"]
            and (one["mae"], one["total_seconds"]) != (row["mae"], row["total_seconds"])
            for one in timed
        )

    return [{**row, "front": row in timed and not beaten(row)} for row in rows]
