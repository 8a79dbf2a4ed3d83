"""Vectors in Parquet: what is written comes back, by both readers, whole and in order, in less room."""

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flickcast.errors import CheckError
from flickcast.schemas import TABLES
from flickcast.vectors import matrix, packed
from flickcast.workspace import Workspace, create_workspace

DIMENSION = 16
COLUMNS = ("post_id", "vector")


def rows(first: int, count: int, without: tuple[int, ...] = ()) -> pl.DataFrame:
    """Posts named by their number; `without` of them have no vector."""
    numbers = np.random.default_rng(first).normal(size=(count, DIMENSION)).astype(np.float16)
    there = pl.Series([number not in without for number in range(first, first + count)])
    found = pl.DataFrame({"post_id": [f"{number:04}" for number in range(first, first + count)]}).with_columns(
        vector=pl.Series(numbers, dtype=pl.Array(pl.Float16, DIMENSION)),
        input_sha256=pl.lit("0" * 64),
        encoder_version=pl.lit("v"),
    )
    return found.with_columns(pl.when(there).then("vector").alias("vector"))


def read(paths: list[Path], heights: list[int]) -> tuple[list[str], np.ndarray]:
    ids, found = matrix(paths, heights, Path.read_bytes, COLUMNS)
    return ids.to_list(), found


@pytest.mark.parametrize("without", [(), (0,), (3, 7, 9), tuple(range(10))])
def test_both_readers_give_back_what_was_written(tmp_path: Path, without: tuple[int, ...]) -> None:
    written = rows(0, 10, without)
    path = tmp_path / "a.parquet"
    path.write_bytes(packed(written))
    assert pl.read_parquet(path).equals(written)
    there = written.drop_nulls()
    ids, found = read([path], [10])
    assert ids == there["post_id"].to_list()
    assert found.dtype == np.float16
    assert np.array_equal(found, there["vector"].to_numpy().reshape(-1, DIMENSION))


def test_parts_keep_their_order_and_those_that_polars_wrote_are_read_too(tmp_path: Path) -> None:
    parts = [rows(0, 5), rows(5, 1, without=(5,)), rows(6, 30, without=(6, 35)), rows(36, 4)]
    paths = [tmp_path / f"{number}.parquet" for number in range(4)]
    for number, (path, part) in enumerate(zip(paths, parts, strict=True)):
        if number % 2:
            part.write_parquet(path, row_group_size=2)
        else:
            path.write_bytes(packed(part))
    there = pl.concat(parts).drop_nulls()
    ids, found = read(paths, [part.height for part in parts])
    assert ids == there["post_id"].to_list()
    assert np.array_equal(found, there["vector"].to_numpy())


def test_no_file_is_no_vector() -> None:
    ids, found = read([], [])
    assert (ids, found.shape) == ([], (0, 0))


def test_equal_rows_give_equal_bytes() -> None:
    assert packed(rows(0, 50, without=(3,))) == packed(rows(0, 50, without=(3,)))


def test_a_vector_with_a_hole_is_not_written() -> None:
    holed = pl.DataFrame({"vector": pl.Series([[1.0, None]], dtype=pl.Array(pl.Float16, 2))})
    with pytest.raises(ValueError, match="column vector: a number within a vector is missing"):
        packed(holed)


def test_random_unit_vectors_take_less_room_than_packed_as_they_are() -> None:
    numbers = np.random.default_rng(0).normal(size=(500, 512)).astype(np.float32)
    unit = (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype(np.float16)
    some = pl.DataFrame({"vector": pl.Series(unit)})
    buffer = io.BytesIO()
    some.write_parquet(buffer, compression="zstd")
    assert len(packed(some)) < 0.95 * len(buffer.getvalue())
    assert len(packed(some)) < 0.9 * unit.nbytes


def test_a_workspace_gives_the_matrix_of_an_encoder_and_refuses_a_damaged_part(tmp_path: Path) -> None:
    create_workspace(tmp_path, {"embed.encoder": "flickcast-tiny"})
    ws = Workspace(tmp_path)
    table = "embeddings/flickcast-tiny-picture"
    with ws.appending("embed") as appender:
        for first in (0, 10):
            appender.append(table, f"p{first:02}", TABLES["embeddings"].conform(rows(first, 10, without=(4, 11))))
    ids, found = ws.matrix("flickcast-tiny-picture")
    assert ids.to_list() == [f"{number:04}" for number in range(20) if number not in (4, 11)]
    vectors = ws.vectors()
    assert vectors["post_id"].equals(ids)
    assert np.array_equal(np.stack(vectors["picture"].to_list()), found.astype(np.float32))
    assert vectors["text"].null_count() == 18
    for part in ("p10", "p00"):  # the first one's length is read first
        path = ws.folder(table) / f"{part}.parquet"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(CheckError, match=rf"{part}\.parquet is damaged"):
            Workspace(tmp_path).matrix("flickcast-tiny-picture")
