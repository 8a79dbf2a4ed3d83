"""What a mergeable state says: mean, spread, skewness, quantiles and distinct counts, from sums that only add.

A state of a fact such as `popularity` is a few columns: how many values, their sum, the sums of their squares and
cubes, minimum and maximum, and for some the number of values in each of 16 buckets. All of them merge exactly, in any
order; the formulas here are applied after merging. Null where there is no value, never infinite or not a number.
"""

import polars as pl

BUCKETS = 16  # of popularity, doublings of the number of views: all below 1, [1, 2), ... and all from 15 on
SKETCH_SIZE = 64  # smallest hashes that are kept; the standard error of a count is about 1 / sqrt(62), 13 %
HASHES = 2.0**64
# Labels are summed on grids (aggregates/states.py): of squares 2**-20, of cubes 2**-14. A variance that the rounding of
# equal labels alone can make is none; a skewness is only told where that rounding moves it by less than about 0.1.
GRID = 2.0**-20
LEAST_SPREAD = 0.1
LEAST_VALUES = 3  # that have a skewness


def ratio(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """The part over the whole; null where the whole is 0 or none."""
    return part / pl.when(whole > 0).then(whole)


def raw(fact: str, power: str) -> pl.Expr:
    """The mean of a power of the values, from the column `<fact>_<power>`: `sum`, `square_sum` or `cube_sum`."""
    return ratio(pl.col(f"{fact}_{power}"), pl.col(f"{fact}_count"))


def mean(fact: str) -> pl.Expr:
    """The mean of the values."""
    return raw(fact, "sum")


def variance(fact: str) -> pl.Expr:
    """The variance (divided by n); 0 for a single value."""
    found = raw(fact, "square_sum") - mean(fact) ** 2
    return pl.when(found <= GRID * (1 + 2 * mean(fact).abs())).then(0.0).otherwise(found)


def deviation(fact: str) -> pl.Expr:
    """The standard deviation (divided by n)."""
    return variance(fact).clip(lower_bound=0).sqrt()


def skewness(fact: str) -> pl.Expr:
    """The third standardised moment; null where the values are too few (fewer than 3) or too alike to have one."""
    spread = deviation(fact)
    enough = (pl.col(f"{fact}_count") >= LEAST_VALUES) & (spread >= LEAST_SPREAD)
    return pl.when(enough).then(third_central(fact) / spread**3)


def third_central(fact: str) -> pl.Expr:
    """The third central moment, from the sums of three powers."""
    first = raw(fact, "sum")
    return raw(fact, "cube_sum") - 3 * first * raw(fact, "square_sum") + 2 * first**3


def bucket_columns(fact: str) -> list[str]:
    """The columns that count values by bucket."""
    return [f"{fact}_bucket_{number:02d}" for number in range(BUCKETS)]


def quantile(fact: str, share: float) -> pl.Expr:
    """The value below which this share of the values lies, as if each bucket were evenly filled.

    It is wrong by no more than the width of a bucket, and lies between the smallest and the largest value.
    """
    columns = bucket_columns(fact)
    wanted = share * pl.sum_horizontal(columns)
    found, below = [], pl.lit(0)
    for (low, high), column in zip(_edges(fact), columns, strict=True):
        inside = pl.when(pl.col(column) > 0).then((wanted - below) / pl.col(column))
        value = low + inside * (high - low)
        found.append(pl.when((pl.col(column) > 0) & (below + pl.col(column) >= wanted)).then(value))
        below = below + pl.col(column)
    return pl.coalesce(found).clip(pl.col(f"{fact}_minimum"), pl.col(f"{fact}_maximum"))


def share_above(fact: str, threshold: pl.Expr) -> pl.Expr:
    """The share of the values above a threshold, as if each bucket were evenly filled."""
    parts = (
        pl.col(column) * ((high - threshold) / (high - low)).clip(0, 1)
        for (low, high), column in zip(_edges(fact), bucket_columns(fact), strict=True)
    )
    return ratio(pl.sum_horizontal(parts, ignore_nulls=False), pl.col(f"{fact}_count"))


def _edges(fact: str) -> list[tuple[pl.Expr, pl.Expr]]:
    """From where to where each bucket goes: the first down to the smallest value, the last up to the largest."""
    lows = [pl.min_horizontal(pl.lit(0.0), f"{fact}_minimum"), *(pl.lit(float(n)) for n in range(1, BUCKETS))]
    return list(zip(lows, [*lows[1:], pl.max_horizontal(pl.lit(float(BUCKETS)), f"{fact}_maximum")], strict=True))


def distinct(sketch: str) -> pl.Expr:
    """About how many different things a sketch has met: exact below its size, then from its largest kept hash.

    The k minimum values sketch: Bar-Yossef et al., Counting distinct elements in a data stream, RANDOM 2002.
    """
    kept = pl.col(sketch).list.len()
    estimate = (SKETCH_SIZE - 1) * HASHES / (pl.col(sketch).list.max().cast(pl.Float64) + 1)
    return pl.when(kept < SKETCH_SIZE).then(kept.cast(pl.Float64)).otherwise(estimate)
