"""Pieces of words: the runs of a few bytes within each word of a text, counted by a hash."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

SPACE = ord(" ")
TEXTS_AT_ONCE = 20_000
# Of Knuth's multiplicative hashing, and of murmurhash's finish.
FACTOR, MIXER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFF51AFD7ED558CCD)


def pieces_of(texts: pl.Series, shortest: int, longest: int, buckets: int) -> Any:
    """A sparse matrix (texts, buckets): how often each text has pieces of `shortest` to `longest` bytes of UTF-8.

    Small letters, each word with a space before and behind it, and no piece beyond its word: `sea` has ` se`, `sea`,
    `ea `, ` sea`, `sea `, ` sea `. No vocabulary has to be kept; pieces that share a bucket count as one.
    """
    from scipy.sparse import csr_matrix, vstack

    parts = [
        _counted(texts[start : start + TEXTS_AT_ONCE], shortest, longest, buckets)
        for start in range(0, len(texts), TEXTS_AT_ONCE)
    ]
    return vstack(parts, format="csr") if parts else csr_matrix((0, buckets), dtype=np.float32)


def _counted(texts: pl.Series, shortest: int, longest: int, buckets: int) -> Any:
    from scipy.sparse import csr_matrix

    words = texts.fill_null("").str.to_lowercase().str.replace_all(r"[^\w]+", " ").str.strip_chars()
    clean = " " + words + " "
    content = np.frombuffer("".join(clean).encode(), np.uint8)
    row_of = np.repeat(np.arange(len(texts), dtype=np.int32), clean.str.len_bytes().to_numpy())
    found = list(_hashed(content, row_of, shortest, longest))
    rows = np.concatenate([rows for rows, _ in found])
    places = (np.concatenate([hashes for _, hashes in found]) % np.uint64(buckets)).astype(np.int32)
    counts = csr_matrix((np.ones(len(rows), np.float32), (rows, places)), (len(texts), buckets))
    counts.sum_duplicates()
    return counts


def _hashed(
    content: NDArray[np.uint8], row_of: NDArray[np.int32], shortest: int, longest: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.uint64]]]:
    """For each length, the row and the hash of each piece."""
    is_space = content == SPACE
    spaces = np.concatenate([[0], np.cumsum(is_space)])
    for length in range(shortest, longest + 1):
        starts = max(len(content) - length + 1, 0)
        inner = spaces[length - 1 : length - 1 + starts] - spaces[1 : 1 + starts]  # spaces strictly within
        within = (inner <= 0) & (row_of[:starts] == row_of[length - 1 :])
        hashes = np.full(starts, length, np.uint64)
        for place in range(length):
            hashes = (hashes ^ content[place : place + starts]) * FACTOR
            hashes ^= hashes >> np.uint64(29)
        hashes = (hashes[within] * MIXER) >> np.uint64(20)
        yield row_of[:starts][within], hashes
