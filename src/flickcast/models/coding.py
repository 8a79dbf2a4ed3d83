"""How columns become arrays: numbers with NaN, classes as codes."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

MISSING_CODE, OTHER_CODE = -1, 0


def frequent(values: pl.Series, least: int) -> list[str]:
    """The values of at least so many rows, in alphabetical order."""
    counts = values.drop_nulls().value_counts(name="rows")
    return sorted(counts.filter(pl.col("rows") >= least)[values.name].to_list())


def numbers_of(rows: pl.DataFrame, names: Sequence[str]) -> NDArray[np.float32]:
    """(rows, names): NaN where missing, or where there is no such column."""
    if not names:
        return np.empty((rows.height, 0), np.float32)
    absent = {name: pl.lit(None, pl.Float32) for name in names if name not in rows.columns}
    found = rows.with_columns(**absent).select(pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in names)
    return np.ascontiguousarray(found.to_numpy(order="c"), np.float32)


def codes_of(values: pl.Series, vocabulary: list[str]) -> NDArray[np.int32]:
    """1, 2, ... for the values of the vocabulary, 0 for any other, -1 for none."""
    codes = {value: code for code, value in enumerate(vocabulary, start=1)}
    coded = values.replace_strict(codes, default=OTHER_CODE, return_dtype=pl.Int32)
    return pl.select(pl.when(values.is_null()).then(MISSING_CODE).otherwise(coded)).to_series().to_numpy()


def side_by_side(codes: Sequence[NDArray[np.int32]], rows: int) -> NDArray[np.int32]:
    """(rows, columns), also of no columns."""
    return np.column_stack(codes) if codes else np.empty((rows, 0), np.int32)
