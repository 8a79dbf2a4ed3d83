"""How derived tables are cut into parts: by month, the nights of the newest month one by one.

A night then makes one small part anew, and the number of parts stays small over the years. At the turn of a month its
nights become one part.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

NIGHT = re.compile(r"\d{4}-\d{2}-\d{2}")


def digest(content: Any) -> str:
    """A name for what something is made from; `content` is anything that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def newest_month(names: Iterable[str]) -> str | None:
    """The month of the newest night among a table's parts; None where no part is a night's.

    >>> newest_month(["2026-02-28", "2026-03-01~1", "2026-04-import"]), newest_month(["2026-04-import"])
    ('2026-03', None)
    """
    return max((name[:7] for name in names if NIGHT.match(name)), default=None)


def of_parts(names: Iterable[str]) -> dict[str, list[str]]:
    """Periods and the parts of a table that fall into each; parts are named by a night or begin with a month.

    >>> of_parts(["2026-02-27", "2026-02-28", "2026-03-01~1", "2026-03-02", "2026-03-import"])
    {'2026-02': ['2026-02-27', '2026-02-28'], '2026-03': ['2026-03-import'], '2026-03-01': ['2026-03-01~1'], \
'2026-03-02': ['2026-03-02']}
    """
    ordered = sorted(names)
    newest = newest_month(ordered)
    periods: dict[str, list[str]] = {}
    for name in ordered:
        is_recent_night = NIGHT.match(name) and name[:7] == newest
        periods.setdefault(name[:10] if is_recent_night else name[:7], []).append(name)
    return dict(sorted(periods.items()))


def of_rows(rows: pl.DataFrame, column: str, newest: str | None) -> Mapping[str, pl.DataFrame]:
    """The rows by the period of a column of times: days from the month `newest` on, months before it.

    What a month's last night learns is dated the day after, so the newest month is told, not read from the rows: else
    that night would put its month together, and the next one would do so again.
    """
    month, day = (pl.col(column).dt.strftime(form) for form in ("%Y-%m", "%Y-%m-%d"))
    period = month if newest is None else pl.when(month >= newest).then(day).otherwise(month)
    parts = rows.with_columns(_period=period).partition_by("_period", as_dict=True, include_key=False)
    return {str(name): part for (name,), part in sorted(parts.items())}
