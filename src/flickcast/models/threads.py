"""How many threads are of use: for little work a second one only waits at barriers."""

# Measured on 2 cores shared with other work (2026-11-22): for 3,000 rows LightGBM took 15 times the processor time with
# two threads, k-means of 1,000 vectors 14 times, a network's pass over 3,000 rows 10 times.
ROWS_PER_THREAD = 10_000


def useful_threads(threads: int, rows: int) -> int:
    """At most `threads`, and no more than one for each 10,000 rows.

    >>> useful_threads(4, 3_000), useful_threads(4, 25_000)
    (1, 2)
    """
    return max(1, min(threads, rows // ROWS_PER_THREAD))
