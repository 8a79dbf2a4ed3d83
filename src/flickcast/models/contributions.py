"""What a prediction is made of: contributions of columns, fusion and calibration, which add up to it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flickcast.models.coding import MISSING_CODE
from flickcast.models.design import Design, Preparation
from flickcast.models.learners import Learner
from flickcast.models.model import Model
from flickcast.models.reductions import apart_of
from flickcast.models.themes import SEVERAL, of_column, of_input, of_reduction

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]
BASE = ""  # in place of a column: what is said of a post of which nothing is known
ORDERS = 4  # of a post's columns, each also in reverse
LINES = 4096  # rows that a predictor is asked about at once, and about the memory that takes


class Column(NamedTuple):
    """A column of the design, its feature group, reduction, vector or text, and its theme."""

    column: str
    group: str
    theme: str


@dataclass(frozen=True)
class Contributions:
    """Of n predictions, each part (n,): base + all columns + fusion + calibration = prediction.

    `fusion` is what a member says beyond its learners in their weights, `calibration` what the model says beyond the
    mean of its members. `said`: per member the learners' own predictions; `weights`: theirs in each member.
    """

    base: Values
    columns: Mapping[Column, Values]
    fusion: Values
    calibration: Values
    prediction: Values
    low: Values
    high: Values
    said: list[dict[str, Values]]
    weights: list[Mapping[str, float]]

    def by(self, part: str) -> dict[str, Values]:
        """The sums of the columns' contributions by `group` or `theme`."""
        total: dict[str, Values] = {}
        for column, values in self.columns.items():
            key = getattr(column, part)
            total[key] = total.get(key, np.zeros_like(values)) + values
        return total


def contributions(model: Model, rows: pl.DataFrame, orders: int = ORDERS) -> Contributions:
    """Take apart the predictions of rows that `gather` made.

    Exact for what is linear: members are averaged, learners weighted. Of a learner see `of_learner`.
    """
    members = model.members_say(rows)
    base, fusion = np.zeros(rows.height), members.mean(axis=1)
    total: dict[Column, Values] = {}
    said = []
    for member in model.members:
        design, named = member.preparation.design(rows), columns_of(member.preparation)
        said.append({name: learner.predict(design) for name, learner in member.learners.items()})
        for name, learner in member.learners.items():
            share = member.weights.get(name, 0.0) / len(model.members)
            fusion -= share * said[-1][name]
            for column, values in of_learner(learner, design, orders).items() if share else ():
                if column == BASE:
                    base += share * values
                else:
                    total[named[column]] = total.get(named[column], np.zeros(rows.height)) + share * values
    finished = model.calibration.finish(rows, members)
    prediction, low, high = (np.asarray(finished[name], np.float64) for name in ("prediction", "low", "high"))
    weights = [member.weights for member in model.members]
    calibration = prediction - members.mean(axis=1)
    return Contributions(base, total, fusion, calibration, prediction, low, high, said, weights)


def columns_of(preparation: Preparation) -> dict[str, Column]:
    """Group and theme of each column of the design; of what tells of two themes, the first."""
    groups = preparation.groups()
    parts = preparation.reductions.items()
    themes = {
        **{name: of_reduction(str(part.facts()["kind"]), part)[0] for name, part in parts},
        **{group: SEVERAL for name, part in parts for group, _ in apart_of(name, part).values()},
        **{
            name: of_input(preparation.instead.get(name, name))[0] for name in (*preparation.widths, *preparation.texts)
        },
    }
    return {
        column: Column(column, group, themes[group] if group in themes else of_column(column, group))
        for column, group in groups.items()
    }


def of_learner(learner: Learner, design: Design, orders: int = ORDERS) -> dict[str, Values]:
    """Contribution of each column of the design, and of BASE, (rows,) each; they add up to the learner's predictions.

    By the learner's own exact method where it has one (trees: SHAP, Lundberg et al. 2020, as LightGBM and CatBoost
    compute it), otherwise by `sampled`.
    """
    own = getattr(learner, "contributions", None)
    return own(design) if own is not None else sampled(learner.predict, design, orders)


def sampled(predict: Callable[[Design], Values], design: Design, orders: int = ORDERS) -> dict[str, Values]:
    """Shapley values of any predictor by sampled orders of the columns (Strumbelj and Kononenko 2014).

    Starting from a row of which all is missing, its columns appear one by one; a column's contribution is what the
    prediction moves by when it appears, averaged over `orders` random orders and their reverses (antithetic, Mitchell
    et al. 2022). Within an order these steps add up to the whole way, so the contributions do, whatever is sampled.
    The orders are the same for any row with the same columns; BASE is the prediction of the empty row.
    """
    whole, there = predict(design), _present(design)
    moved = np.zeros(there.shape)
    for block in _blocks(there, orders):
        ways = {row: _orders(np.flatnonzero(there[row]), orders) for row in block}
        shown = [_shown(own, there.shape[1]) for own in ways.values()]
        lines = [len(one) for one in shown]
        said = predict(_only(design, np.repeat(block, lines), np.concatenate(shown)))
        for row, steps in zip(block, np.split(said, np.cumsum(lines)[:-1]), strict=True):
            moves = np.diff(steps.reshape(len(ways[row]), -1), axis=1)
            np.add.at(moved[row], ways[row], moves / len(moves))
    found = dict(zip(design.names, moved.T, strict=True))
    return found | {BASE: whole - moved.sum(axis=1)}


def _blocks(there: Mask, orders: int) -> Iterator[NDArray[np.int64]]:
    """Rows that are asked about in one go: one at least, and together not many more than LINES."""
    lines = 2 * orders * (there.sum(axis=1) + 1)
    number = np.cumsum(lines) // LINES
    for one in np.unique(number):
        yield np.flatnonzero(number == one)


def _orders(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(2 x count, places): random orders of the places, each followed by its reverse; the same for as many places."""
    random = np.random.default_rng(len(places))
    drawn = [places[random.permutation(len(places))] for _ in range(count)]
    return np.array([way for order in drawn for way in (order, order[::-1])], np.int64)


def _shown(ways: NDArray[np.int64], columns: int) -> Mask:
    """Which columns have appeared at each step of each way, from none to all: (ways x steps, columns)."""
    shown = np.zeros((len(ways), ways.shape[1] + 1, columns), bool)
    for number, way in enumerate(ways):
        for step, place in enumerate(way, start=1):
            shown[number, step:, place] = True
    return shown.reshape(-1, columns)


def _present(design: Design) -> Mask:
    """Which columns are not missing, (rows, columns)."""
    columns = [
        *np.isfinite(design.numbers).T,
        *(design.codes != MISSING_CODE).T,
        *(np.isfinite(values).all(axis=1) for values in design.vectors.values()),
        *(np.array([bool(text) for text in values], bool) for values in design.texts.values()),
    ]
    return np.column_stack(columns) if columns else np.zeros((design.rows, 0), bool)


def _only(design: Design, rows: NDArray[np.int64], shown: Mask) -> Design:
    """A row of the design per line of `shown` (lines, columns); what is not shown is missing."""
    lines = design.take(rows)
    numbers, codes = lines.numbers.shape[1], lines.codes.shape[1]
    parts = iter(shown[:, numbers + codes :].T)
    return replace(
        lines,
        numbers=np.where(shown[:, :numbers], lines.numbers, np.float32(np.nan)),
        codes=np.where(shown[:, numbers : numbers + codes], lines.codes, np.int32(MISSING_CODE)),
        vectors={
            name: np.where(next(parts)[:, None], values, np.float32(np.nan)) for name, values in lines.vectors.items()
        },
        texts={
            name: [text if there else "" for text, there in zip(values, next(parts), strict=True)]
            for name, values in lines.texts.items()
        },
    )
