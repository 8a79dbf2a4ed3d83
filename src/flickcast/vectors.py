"""How vectors lie in Parquet: packed by byte planes, and read back into one matrix.

The upper bytes of a vector's numbers (sign, exponent) repeat and pack well, the lower ones are noise: split into two
planes before they are packed (BYTE_STREAM_SPLIT of the Parquet format, "Encodings"), they take less room than packed
as they are, and less time to read. Polars reads such files but cannot write them; pyarrow does both.
"""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Matrix = NDArray[np.float16]
READERS = 4  # unpacking and hashing let go of Python's lock; more would only wait for the disk's cache


def of_vectors(rows: pl.DataFrame) -> list[str]:
    """The columns that hold vectors: arrays of one length.

    >>> of_vectors(pl.DataFrame(schema={"post_id": pl.String, "vector": pl.Array(pl.Float16, 2)}))
    ['vector']
    """
    return [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Array)]


def packed(rows: pl.DataFrame) -> bytes:
    """A Parquet file of rows with vectors, in one row group. ValueError if a number within a vector is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = rows.to_arrow()
    for name in of_vectors(rows):
        place = table.schema.get_field_index(name)
        kind = table.schema.field(place).type
        if pc.list_flatten(table[name]).null_count:
            raise ValueError(f"column {name}: a number within a vector is missing")
        # Parquet then keeps no mark for each number of whether it is there, which takes longer to read than the number
        whole = pa.list_(pa.field("element", kind.value_type, nullable=False), kind.list_size)
        table = table.cast(table.schema.set(place, pa.field(name, whole)))
    numbers = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in of_vectors(rows)}
    repeating = [name for name, dtype in rows.schema.items() if dtype == pl.String and rows[name].n_unique() == 1]
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        row_group_size=max(1, rows.height),
        compression="zstd",
        use_dictionary=repeating,
        column_encoding=numbers,
    )
    return buffer.getvalue()


def matrix(
    paths: Sequence[Path], heights: Sequence[int], content: Callable[[Path], bytes], columns: tuple[str, str]
) -> tuple[pl.Series, Matrix]:
    """The keys and vectors of files, in order: rows that have one, and (rows, dimension), read straight to its place.

    `heights` are the files' rows, `content` gives a file's bytes and may refuse them, `columns` name key and vector.
    """
    starts = np.cumsum([0, *heights])
    dimension = _dimension(content(paths[0]), columns[1]) if paths else 0
    whole = np.empty((starts[-1], dimension), np.float16)

    def read(path: Path, start: int, height: int) -> pl.Series:
        return _read(content(path), whole[start : start + height], columns)

    with ThreadPoolExecutor(READERS) as pool:
        keys = list(pool.map(read, paths, starts, heights))
    if any(len(some) != height for some, height in zip(keys, heights, strict=True)):
        whole = np.concatenate([whole[start : start + len(some)] for start, some in zip(starts, keys, strict=False)])
    return pl.concat([pl.Series(columns[0], [], pl.String), *keys]), whole


def _dimension(content: bytes, column: str) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return int(pq.read_schema(pa.BufferReader(content)).field(column).type.list_size)


def _read(content: bytes, place: Matrix, columns: tuple[str, str]) -> pl.Series:
    """Fill the upper rows of `place` with the vectors that are there; their keys."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    key, vector = columns
    found = pq.ParquetFile(pa.BufferReader(content)).read(list(columns), use_threads=False)
    found = found.filter(found[vector].is_valid()) if found[vector].null_count else found
    start = 0
    for chunk in found[vector].chunks:
        place[start : start + len(chunk)] = _numbers(chunk).reshape(len(chunk), -1)
        start += len(chunk)
    return pl.Series(key, pl.from_arrow(found[key]), pl.String)


def _numbers(chunk: Any) -> NDArray[np.float16]:
    numbers: NDArray[np.float16] = chunk.flatten().to_numpy(zero_copy_only=False)
    return numbers
