"""Columns of text turned into the types of our tables; what has no meaning becomes null."""

from datetime import UTC, datetime

import polars as pl

from flickcast.schemas import EARLIEST, TIME

NOTHING = ("", "none", "null", "nan", "n/a")  # how public files write "not there", in any case
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
FIRST_PHOTOGRAPH = datetime(1826, 1, 1, tzinfo=UTC)


def text(name: str) -> pl.Expr:
    """A text as it is, null where empty."""
    stripped = pl.col(name).str.strip_chars()
    return pl.when(stripped != "").then(stripped).alias(name)


def value(name: str) -> pl.Expr:
    """A text that stands for one value: null where it says that there is none."""
    stripped = pl.col(name).str.strip_chars()
    return pl.when(~stripped.str.to_lowercase().is_in(NOTHING)).then(stripped).alias(name)


def identifier(name: str) -> pl.Expr:
    """An id as text; ids are compared as text whatever the file made of them."""
    return pl.col(name).str.strip_chars().alias(name)


def words(name: str, separators: str) -> pl.Expr:
    """A text cut at separators (a pattern without spaces), without the empty pieces; null where there is no text."""
    pieces = pl.col(name).str.replace_all(separators, "\t").str.split("\t")
    stripped = pieces.list.eval(pl.element().str.strip_chars())
    return stripped.list.eval(pl.element().filter(pl.element() != "")).alias(name)


def number(name: str) -> pl.Expr:
    """A number, null where there is none."""
    parsed = value(name).cast(pl.Float64, strict=False)
    return pl.when(parsed.is_finite()).then(parsed).alias(name)


def count(name: str) -> pl.Expr:
    """A whole number from 0 up."""
    parsed = number(name)
    return pl.when(parsed >= 0).then(parsed).cast(pl.Int64, strict=False).alias(name)


def flag(name: str) -> pl.Expr:
    """Yes or no, however it is written."""
    lower = value(name).str.to_lowercase()
    yes, no = lower.is_in(["1", "1.0", "true"]), lower.is_in(["0", "0.0", "false"])
    return pl.when(yes).then(True).when(no).then(False).alias(name)


def one_of(name: str, allowed: tuple[str, ...]) -> pl.Expr:
    """A lower-case word of a closed list."""
    lower = value(name).str.to_lowercase()
    return pl.when(lower.is_in(allowed)).then(lower).alias(name)


def unix_time(name: str) -> pl.Expr:
    """A moment given in unix seconds; not bounded, so that the caller can say what is wrong with it."""
    seconds = number(name)
    sane = pl.when(seconds.abs() < 1e11).then(seconds)
    return (sane.round() * 1_000_000).cast(pl.Int64, strict=False).cast(TIME).alias(name)


def sane_time(name: str) -> pl.Expr:
    """A moment in unix seconds that lies in this century, else null (edited times read 1970)."""
    moment = unix_time(name)
    return pl.when(moment.is_between(EARLIEST, LATEST)).then(moment).alias(name)


def odd_date(name: str) -> pl.Expr:
    """A date without separators, from the year down and possibly cut off; else unix seconds; else null.

    The challenge's one published value is 1904010100. Read as YYYYMMDDHH it is the start of 1904, the zero date of
    many cameras; read as unix seconds it would be 2030.
    """
    digits = value(name).str.replace(r"\.0$", "").str.replace_all(r"\D", "")
    padded = pl.when(digits.str.len_chars() >= 8).then(digits.str.slice(0, 14).str.pad_end(14, "0"))
    moment = padded.str.to_datetime("%Y%m%d%H%M%S", time_unit="us", strict=False).dt.replace_time_zone("UTC")
    dated = pl.when(moment.is_between(FIRST_PHOTOGRAPH, LATEST)).then(moment)
    return pl.coalesce(dated, sane_time(name)).alias(name)


def hours(name: str) -> pl.Expr:
    """A distance from UTC in hours, from '1', '-3.5' or '+05:30'; null beyond 14."""
    parts = value(name).str.extract_groups(r"^([+-]?)(\d+)(?::(\d\d))?(\.\d+)?$")
    size = parts.struct[1].cast(pl.Float64) + parts.struct[2].cast(pl.Float64).fill_null(0) / 60
    size = size + ("0" + parts.struct[3].fill_null("")).cast(pl.Float64, strict=False).fill_null(0)
    signed = pl.when(parts.struct[0] == "-").then(-size).otherwise(size)
    return pl.when(signed.abs() <= 14).then(signed).cast(pl.Float32).alias(name)


def place(latitude: pl.Expr, longitude: pl.Expr, accuracy: pl.Expr) -> dict[str, pl.Expr]:
    """The three columns of a place; all null unless accuracy is 1..16 and both degrees make sense.

    Accuracy decides, not (0, 0): posts without a place carry zeros, and a real point may lie at 0, 0.
    """
    known = accuracy.is_between(1, 16) & latitude.is_between(-90, 90) & longitude.is_between(-180, 180)
    return {
        "latitude": pl.when(known).then(latitude),
        "longitude": pl.when(known).then(longitude),
        "geo_accuracy": pl.when(known).then(accuracy).cast(pl.Int8, strict=False),
    }
