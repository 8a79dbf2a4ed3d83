"""A second opinion on the quick check of tables: pandera refuses the same rows, over damage of every kind of column."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pandera.errors
import polars as pl
import pytest

from flickcast.schemas import TABLES, TIME, VECTOR, Column, Table, _is_sound, _pandera_schema

# pandera cannot print rows with bytes in them: polars 2.1 panics ("not yet implemented: Writing BinaryView to JSON")
LIKE_ANOTHER = {
    f"aggregates/{name}" for name in ("tags", "categories", "subcategories", "concepts", "places", "calendar")
}
PRINTABLE = [name for name in TABLES if pl.Binary not in TABLES[name].dtypes().values() and name not in LIKE_ANOTHER]
Values = dict[str, list[Any]]


def sound(column: Column) -> list[Any]:
    """Two values that keep every rule of a column."""
    if column.dtype == VECTOR or isinstance(column.dtype, pl.List):
        return [None, None]
    if column.dtype == TIME:
        return [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)]
    if column.dtype == pl.String:
        return [column.one_of[0], column.one_of[-1]] if column.one_of else ["a", "b"]
    return [True, False] if column.dtype == pl.Boolean else [1, 1]


def damaged(table: Table) -> Iterator[Values]:
    """Rows as they should be; then one value of one column changed, or a key repeated."""
    base = {name: sound(column) for name, column in table.columns.items()}
    yield base
    yield base | {key: base[key][:1] * 2 for key in table.key}
    alike = {
        (str(column.dtype), column.nullable, column.low, column.high): name for name, column in table.columns.items()
    }
    for name in alike.values():
        column = table.columns[name]
        others: list[Any] = [None, base[name][1]]
        if column.dtype in (pl.Float64, pl.Float32):
            others += [float("nan"), float("inf"), float("-inf"), -1e9, 1e9]
        elif column.dtype in (pl.Int64, pl.Int32, pl.Int8):
            others += [-1, 0, 17, 100]
        elif column.dtype == pl.String:
            others += ["", "zz"]
        elif column.dtype == TIME:
            others += [datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)]
        yield from (base | {name: [other, base[name][1]]} for other in others)


def rows(table: Table, values: Values) -> pl.DataFrame:
    typed = {name: dtype for name, dtype in table.dtypes().items() if dtype != VECTOR}
    vectors = [name for name in table.columns if name not in typed]
    frame = pl.DataFrame({name: values[name] for name in typed}, schema=typed)
    return table.conform(frame.with_columns(pl.lit(None, pl.Array(pl.Float16, 2)).alias(name) for name in vectors))


def pandera_accepts(table: Table, frame: pl.DataFrame) -> bool:
    try:
        _pandera_schema(table).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors:
        return False
    return True


@pytest.mark.parametrize("name", PRINTABLE)
def test_pandera_refuses_the_same_rows(name: str) -> None:
    table = TABLES[name]
    verdicts = []
    for values in damaged(table):
        frame = rows(table, values)
        verdicts.append(_is_sound(table, frame))
        assert verdicts[-1] == pandera_accepts(table, frame), values
    assert verdicts[0], "the rows as they should be are sound"
    assert not verdicts[1], "a repeated key is refused"
