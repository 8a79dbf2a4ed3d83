"""How columns become arrays: numbers with NaN, classes as codes."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

MISSING_CODE, OTHER_CODE = -1, 0


def frequent(values: pl.Series, least: int) -> list[str]:
    """The values of at least so many rows, in alphabetical order."""
    counts = values.drop_nulls().value_counts(name="rows")
    return sorted(counts.filter(pl.col("rows") >= least)[values.name].to_list())


def number_of(rows: pl.DataFrame, name: str) -> NDArray[np.float32]:
    """(rows,): NaN where missing, or where there is no such column."""
    if name not in rows.columns:
        return np.full(rows.height, np.nan, np.float32)
    return rows[name].cast(pl.Float32).fill_null(float("nan")).to_numpy()


def codes_of(values: pl.Series, vocabulary: list[str]) -> NDArray[np.int32]:
    """1, 2, ... for the values of the vocabulary, 0 for any other, -1 for none."""
    codes = {value: code for code, value in enumerate(vocabulary, start=1)}
    coded = values.replace_strict(codes, default=OTHER_CODE, return_dtype=pl.Int32)
    return pl.select(pl.when(values.is_null()).then(MISSING_CODE).otherwise(coded)).to_series().to_numpy()


def side_by_side(columns: list[Any], rows: int, kind: type[np.generic]) -> NDArray[Any]:
    """(rows, columns), also of no columns."""
    return np.column_stack(columns) if columns else np.empty((rows, 0), kind)
