"""What a mergeable state says: mean, spread, skewness, quantiles and distinct counts, from sums that only add.

A state of a fact such as `popularity` is a few columns: how many values, their sum, the sums of their squares and
cubes, minimum and maximum, and for some the number of values in each of 16 buckets. All of them merge exactly, in any
order; the formulas here are applied after merging. Null where there is no value, never infinite or not a number.
"""

import polars as pl

BUCKETS = 16  # of popularity: [0, 1), [1, 2), ... and from 15 on: doublings of the number of views
SKETCH_SIZE = 64  # smallest hashes that are kept; the standard error of a count is about 1 / sqrt(62), 13 %
HASHES = 2.0**64
# Labels are summed on grids (aggregates/states.py): of squares 2**-20, of cubes 2**-14. A variance that the rounding of
# equal labels alone can make is none; a skewness is only told where that rounding moves it by less than about 0.1.
GRID = 2.0**-20
LEAST_SPREAD = 0.1


def count(fact: str) -> pl.Expr:
    """How many values; null for none, so that what is divided by it is null too."""
    number = pl.col(f"{fact}_count")
    return pl.when(number > 0).then(number)


def mean(fact: str) -> pl.Expr:
    """The mean of the values."""
    return pl.col(f"{fact}_sum") / count(fact)


def variance(fact: str) -> pl.Expr:
    """The variance (divided by n); 0 for a single value."""
    found = pl.col(f"{fact}_square_sum") / count(fact) - mean(fact) ** 2
    return pl.when(found <= GRID * (1 + 2 * mean(fact).abs())).then(0.0).otherwise(found)


def deviation(fact: str) -> pl.Expr:
    """The standard deviation (divided by n)."""
    return variance(fact).clip(lower_bound=0).sqrt()


def skewness(fact: str) -> pl.Expr:
    """The third standardised moment; null where the values are too few (fewer than 3) or too alike to have one."""
    centre = mean(fact)
    third = (
        pl.col(f"{fact}_cube_sum") / count(fact)
        - 3 * centre * pl.col(f"{fact}_square_sum") / count(fact)
        + 2 * centre**3
    )
    spread = deviation(fact)
    return pl.when((count(fact) >= 3) & (spread >= LEAST_SPREAD)).then(third / spread**3)


def bucket_columns(fact: str) -> list[str]:
    """The columns that count values by bucket."""
    return [f"{fact}_bucket_{number:02d}" for number in range(BUCKETS)]


def quantile(fact: str, share: float) -> pl.Expr:
    """The value below which this share of the values lies, to the width of a bucket (1), linear within it."""
    columns = bucket_columns(fact)
    wanted = share * pl.sum_horizontal(columns)
    found, below = [], pl.lit(0)
    for number, column in enumerate(columns):
        inside = pl.when(pl.col(column) > 0).then((wanted - below) / pl.col(column))
        found.append(pl.when((pl.col(column) > 0) & (below + pl.col(column) >= wanted)).then(number + inside))
        below = below + pl.col(column)
    return pl.coalesce(found)


def distinct(sketch: str) -> pl.Expr:
    """About how many different things a sketch has met: exact below its size, then from its largest kept hash.

    The k minimum values sketch: Bar-Yossef et al., Counting distinct elements in a data stream, RANDOM 2002.
    """
    kept = pl.col(sketch).list.len()
    estimate = (SKETCH_SIZE - 1) * HASHES / (pl.col(sketch).list.max().cast(pl.Float64) + 1)
    return pl.when(kept < SKETCH_SIZE).then(kept.cast(pl.Float64)).otherwise(estimate)
