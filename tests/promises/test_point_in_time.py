"""Promise 3 (R11): nothing that became known after a post appeared moves a byte of its features or of the states.

300 random histories, or as many as FLICKCAST_HISTORIES says (2,000 in the long run).
"""

import os
from collections.abc import Callable

import polars as pl
import pytest
from feature_inputs import inputs
from polars.testing import assert_frame_equal
from random_histories import NOW, History, batches, histories, known_at, poisoned, until
from table_rows import day

from flickcast import features
from flickcast.aggregates import ENTITIES
from flickcast.features.feature import Feature

HISTORIES = int(os.environ.get("FLICKCAST_HISTORIES", "300"))
Frames = dict[str, pl.DataFrame]


def described(history: History, clock: str = "point_in_time") -> Frames:
    """Every state that groups read, and the matrix of all groups."""
    return described_posts(history.stored(), history, clock)


def described_posts(posts: pl.DataFrame, history: History, clock: str = "point_in_time") -> Frames:
    """The same where these posts are what is stored."""
    read = inputs(posts, history.users, history.labels(), history.vectors, clock)
    return {name: read[f"{name}_states"] for name in ENTITIES} | {
        "features": features.build(read, list(features.GROUPS))
    }


def assert_unmoved(before: Frames, after: Frames, posts: pl.DataFrame) -> None:
    """What is said of these posts is the same bytes."""
    for name, rows in before.items():
        first, second = (frame.join(posts, on="post_id", how="semi") for frame in (rows, after[name]))
        assert first.height or name != "features"
        assert_frame_equal(first, second, check_exact=True)


def known(history: History) -> pl.DataFrame:
    """The posts that had appeared and were known at NOW."""
    return history.posts.filter(known_at() <= NOW).select("post_id")


def test_histories_hold_what_they_are_meant_to() -> None:
    """Ties, late arrivals, posts seen before they appeared, facts of the very moment, edits, futures to be poisoned."""
    history = histories(seed=0, count=100)
    posts, labels = history.posts, history.labels()
    ties = posts.group_by("user_id", "posted_at").len().filter(pl.col("len") > 1)
    assert ties.height > 20
    assert posts.filter(pl.col("first_seen_at") > pl.col("posted_at")).height > 50
    assert posts.filter(pl.col("first_seen_at") < pl.col("posted_at")).height > 50
    assert labels.join(posts, left_on="matured_at", right_on="posted_at").height > 10, "a label of the very moment"
    assert 50 < known(history).height < posts.height - 50
    edits = history.corrections.join(known(history), on="post_id", how="semi")
    assert min(edits.filter(known_at() <= NOW).height, edits.filter(known_at() > NOW).height) > 20
    assert labels.filter(pl.col("matured_at") <= NOW).height > 50 < labels.filter(pl.col("matured_at") > NOW).height


def test_the_future_moves_no_byte() -> None:
    """Everything known after NOW is left out, then set to absurd values; posted_at and known_at both count."""
    for number, history in enumerate(batches(HISTORIES)):
        whole = described(history)
        for name, other in (("left out", until(history)), ("absurd", poisoned(history))):
            try:
                assert_unmoved(whole, described(other), known(history))
            except AssertionError as error:
                error.add_note(f"batch {number} of random_histories, the future {name}")
                raise


def test_no_label_of_the_future_moves_a_byte_by_the_transductive_clock() -> None:
    for history in batches(max(HISTORIES // 6, 25)):
        absurd = history._replace(observations=poisoned(history).observations)
        both = (described(one, "transductive") for one in (history, absurd))
        assert_unmoved(*both, known(history))


def posts_ever(posts: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """How many posts the user will ever have."""
    counts = history.group_by("user_id").agg(leak=pl.len())
    return posts.join(counts, on="user_id", how="left").select("post_id", "leak")


def late_arrivals(posts: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Tags of the user's earlier posts, by when they appeared, though some were not known to us then."""
    pairs = posts.join(history, on="user_id", suffix="_other").filter(pl.col("posted_at_other") < pl.col("posted_at"))
    counts = pairs.group_by("post_id").agg(leak=pl.col("tags_other").list.len().sum())
    return posts.select("post_id").join(counts, on="post_id", how="left")


def labels_to_come(posts: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Labels of posts known before, though they matured later."""
    pairs = posts.join(history, on="user_id", suffix="_other").filter(pl.col("known_at") < pl.col("posted_at"))
    means = pairs.group_by("post_id").agg(leak=pl.col("popularity").max())
    return posts.select("post_id").join(means, on="post_id", how="left")


def newest_snapshot(posts: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    """The account as it is today."""
    newest = users.sort("observed_at").group_by("user_id").agg(leak=pl.col("photo_count").last())
    return posts.join(newest, on="user_id", how="left").select("post_id", "leak")


@pytest.mark.parametrize(
    ("leak", "reads"),
    [
        (posts_ever, ("posts", "history")),
        (late_arrivals, ("posts", "history")),
        (labels_to_come, ("posts", "history")),
        (newest_snapshot, ("posts", "users")),
    ],
)
def test_a_planted_leak_is_caught(
    monkeypatch: pytest.MonkeyPatch, leak: Callable[..., pl.DataFrame], reads: tuple[str, ...]
) -> None:
    monkeypatch.setitem(features.GROUPS, "leaky", features.Group(leak, reads, {"leak": Feature("a planted leak")}))
    history = histories(seed=0, count=25)
    for other in (until(history), poisoned(history)):
        with pytest.raises(AssertionError, match="leak"):
            assert_unmoved(described(history), described(other), known(history))


def test_of_posts_found_again_the_first_version_counts() -> None:
    for history in batches(max(HISTORIES // 6, 25)):
        assert_frame_equal(history.stored().sort("post_id"), history.posts.sort("post_id"))


@pytest.mark.parametrize("dated_back", [False, True])
def test_a_correction_that_replaces_the_first_version_is_caught(dated_back: bool) -> None:
    """Known from its own finding on, or as if the words of today had been there from the start."""

    def replaced(one: History) -> Frames:
        newest = one.found().sort("first_seen_at").unique("post_id", keep="last", maintain_order=True)
        return described_posts(newest.update(first_seen, on="post_id") if dated_back else newest, one)

    history = histories(seed=0, count=25)
    first_seen = history.posts.select("post_id", "first_seen_at")
    for other in (until(history), poisoned(history)):
        with pytest.raises(AssertionError):
            assert_unmoved(replaced(history), replaced(other), known(history))


def test_a_snapshot_dated_back_is_caught() -> None:
    history = histories(seed=0, count=25)
    early = history._replace(users=history.users.with_columns(observed_at=pl.lit(day(-50))).unique("user_id"))
    with pytest.raises(AssertionError):
        assert_unmoved(described(until(history)), described(early), known(history))
