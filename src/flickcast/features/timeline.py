"""Along a user's history: running figures after each row, and the last row that was known before a moment."""

from collections.abc import Sequence

import polars as pl

from flickcast.moments import LEAST_VALUES, raw, third_central

SECONDS_PER_DAY = 86_400
MICROSECONDS = 1e6
# Shares and entropies are summed on this grid: exact in a float64 (up to two million rows of one user), so that the
# order of rows that became known together does not matter.
GRID = 2.0**-27


def places(
    targets: pl.DataFrame,
    events: pl.DataFrame,
    moment: pl.Expr | None = None,
    known: str = "known_at",
    by: Sequence[str] = ("user_id",),
) -> pl.Series:
    """For each target the row number of the last event of its user that was known strictly before its moment.

    `targets` have the columns of `by` and posted_at, which is the moment unless told otherwise; `events` are sorted by
    `by` and `known`. Null where nothing was known.
    """
    numbered = events.select(*by, known, place=pl.int_range(pl.len(), dtype=pl.UInt32)).sort(known, "place")
    wanted = targets.select(
        *by, moment=pl.col("posted_at") if moment is None else moment, target=pl.int_range(pl.len(), dtype=pl.UInt32)
    )
    found = wanted.sort("moment").join_asof(
        numbered, left_on="moment", right_on=known, by=list(by), allow_exact_matches=False, check_sortedness=False
    )
    return found.sort("target")["place"]


def at(rows: pl.DataFrame, found: pl.Series) -> pl.DataFrame:
    """The rows at these places; nulls where there is none."""
    return rows.select(pl.all().gather(found))


def with_snapshot(posts: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    """post_id, user_id and posted_at of the posts, with the user's latest snapshot known then; nulls before any."""
    known = posts.select("post_id", "user_id", "posted_at").sort("posted_at", "post_id")
    return known.join_asof(
        users.sort("observed_at", "user_id"),
        left_on="posted_at",
        right_on="observed_at",
        by="user_id",
        check_sortedness=False,
    )


def summed(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Numbers as running sums of each user; a null adds nothing."""
    return rows.with_columns(pl.col(columns).fill_null(0).cum_sum().over("user_id"))


def powers(rows: pl.DataFrame, fact: str, origin: pl.Expr | None = None) -> pl.DataFrame:
    """Running sums of powers of a column, of each user, for `mean`, `deviation` and `skewness`.

    They are of the differences to an origin, the first value of the user: a value of the sample keeps them as small as
    the spread, however large the values are. It must not depend on the order of rows that became known together: where
    it could, another origin is given.
    """
    if origin is None:
        first = rows.drop_nulls(fact).group_by("user_id").agg(pl.col(fact).first().alias(f"{fact}_origin"))
        rows = rows.join(first, on="user_id", how="left", maintain_order="left")
    else:
        rows = rows.with_columns(origin.alias(f"{fact}_origin"))
    shifted = pl.col(fact).cast(pl.Float64) - pl.col(f"{fact}_origin")
    sums = {"sum": 1, "square_sum": 2, "cube_sum": 3}
    terms = rows.with_columns(
        pl.col(fact).is_not_null().cast(pl.Int64).alias(f"{fact}_count"),
        *((shifted**power).alias(f"{fact}_{name}") for name, power in sums.items()),
    )
    return summed(terms, f"{fact}_count", *(f"{fact}_{name}" for name in sums))


def mean(fact: str) -> pl.Expr:
    """The mean of a column that `powers` has summed; null where there is no value."""
    return pl.col(f"{fact}_origin") + raw(fact, "sum")


def deviation(fact: str) -> pl.Expr:
    """Its standard deviation (divided by n)."""
    return (raw(fact, "square_sum") - raw(fact, "sum") ** 2).clip(lower_bound=0).sqrt()


def skewness(fact: str) -> pl.Expr:
    """Its third standardised moment; null where the values are all the same or fewer than 3."""
    spread = deviation(fact)
    enough = (pl.col(f"{fact}_count") >= LEAST_VALUES) & (spread > 0)
    return pl.when(enough).then(third_central(fact) / spread**3)


def entropy_term(number: pl.Expr) -> pl.Expr:
    """What the n-th use of a thing adds to the sum of n log n over all things, which `entropy` reads."""
    term = number * number.log() - pl.when(number > 1).then((number - 1) * (number - 1).log()).otherwise(0)
    return on_grid(term)


def on_grid(value: pl.Expr) -> pl.Expr:
    """The value to the nearest step of the grid: sums of such values are exact in any order."""
    return (value / GRID).round() * GRID


def entropy(total: pl.Expr, terms: pl.Expr) -> pl.Expr:
    """Shannon's entropy (nats) of counts that add up to `total`, from the sum of their entropy terms."""
    found = total.log() - terms / total
    return pl.when(total > 0).then(found.clip(lower_bound=0))


def seconds(span: pl.Expr) -> pl.Expr:
    """A duration in seconds."""
    return span.dt.total_microseconds() / MICROSECONDS


def days(span: pl.Expr) -> pl.Expr:
    """A duration in days."""
    return seconds(span) / SECONDS_PER_DAY
