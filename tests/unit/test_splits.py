import numpy as np
import polars as pl
import pytest
from table_rows import day, posts

from flickcast.errors import UserError
from flickcast.splits import dealt, time_split, user_folds


def test_time_split_puts_the_newest_fifth_aside() -> None:
    rows = posts(*({"post_id": f"p{number}", "posted_at": day(number)} for number in range(9)))
    oldest, newest = time_split(rows.sample(fraction=1, shuffle=True, seed=1))
    assert oldest.to_list() == ["p0", "p1", "p2", "p3", "p4", "p5", "p6"]  # floor(0.8 * 9)
    assert newest.to_list() == ["p7", "p8"]


def test_posts_of_one_moment_are_split_by_id() -> None:
    rows = posts(*({"post_id": name, "posted_at": day(0)} for name in "ecbda"))
    assert time_split(rows)[1].to_list() == ["e"]


def test_posts_of_a_user_share_a_fold_in_any_order() -> None:
    users = pl.Series([f"u{number % 7}" for number in range(40)])
    folds = dict(zip(users, user_folds(users, 3, seed=0), strict=True))
    backwards = dict(zip(users.reverse(), user_folds(users.reverse(), 3, seed=0), strict=True))
    assert folds == backwards
    assert sorted(set(folds.values())) == [0, 1, 2]
    assert all(folds[user] == fold for user, fold in zip(users, user_folds(users, 3, seed=0), strict=True))


def dealable(count: int = 53, users: int = 17) -> pl.DataFrame:
    """Posts in no order of ids or times."""
    generator = np.random.default_rng(1)
    rows = pl.DataFrame(
        {
            "post_id": [f"POST{number:04d}" for number in generator.permutation(count)],
            "user_id": [f"USER{number:02d}" for number in generator.integers(0, users, count)],
            "posted_at": [day(int(number)) for number in generator.integers(0, 12, count)],
        }
    )
    return rows.with_columns(is_labelled=pl.lit(True))


def judged_in(folds: pl.DataFrame) -> dict[str, int]:
    return {post_id: fold for post_id, fold in folds.iter_rows() if fold is not None}


def test_random_folds_are_those_of_the_protocol() -> None:
    """P1 word for word: row perm[i], of rows in pid order, is in fold i % 5."""
    rows = dealable()
    ids = sorted(rows["post_id"])
    permutation = np.random.RandomState(0).permutation(len(ids))
    assert judged_in(dealt(rows, "random")) == {ids[row]: place % 5 for place, row in enumerate(permutation)}


def test_user_folds_are_those_of_the_protocol() -> None:
    """P2 word for word: the user at position i of the permuted sorted users is in fold i % 5, its posts with it."""
    rows = dealable()
    users = sorted(set(rows["user_id"]))
    of_user = {users[row]: place % 5 for place, row in enumerate(np.random.RandomState(0).permutation(len(users)))}
    expected = {post_id: of_user[user] for post_id, user in rows.select("post_id", "user_id").iter_rows()}
    assert judged_in(dealt(rows, "user")) == expected


def test_the_time_split_is_that_of_the_protocol() -> None:
    """P3 word for word: sorted by (post_time, pid) as text, the first 80 % train and the last 20 % test."""
    rows = dealable()
    order = sorted(
        (f"{moment:%Y-%m-%d %H:%M}", post_id) for post_id, moment in rows.select("post_id", "posted_at").iter_rows()
    )
    folds = dealt(rows, "time")
    assert judged_in(folds) == {post_id: 0 for _, post_id in order[int(0.8 * len(order)) :]}
    assert folds.height == len(order)


@pytest.mark.parametrize("split", ["time", "user", "random", "smpd"])
def test_the_order_of_the_rows_deals_nothing_otherwise(split: str) -> None:
    rows = dealable().with_columns(is_labelled=pl.col("post_id") < "POST0040")
    assert dealt(rows, split).equals(dealt(rows.reverse(), split))


def test_the_official_split_tests_the_posts_without_label() -> None:
    rows = dealable().with_columns(is_labelled=pl.col("post_id") < "POST0040")
    assert sorted(judged_in(dealt(rows, "smpd"))) == [f"POST{number:04d}" for number in range(40, 53)]
    assert dealt(rows, "random")["post_id"].max() == "POST0039"


@pytest.mark.parametrize(
    ("split", "labelled", "said"),
    [("smpd", True, "53 posts with a label and 0 without"), ("random", False, "0 labelled posts are too few")],
)
def test_what_cannot_be_split_is_one_sentence(split: str, labelled: bool, said: str) -> None:
    with pytest.raises(UserError, match=said):
        dealt(dealable().with_columns(is_labelled=pl.lit(labelled)), split)


def test_a_wrong_split_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'user'"):
        dealt(dealable(), "users")


def test_one_user_alone_cannot_be_split_by_user() -> None:
    with pytest.raises(UserError, match="are of one user"):
        dealt(dealable(users=1), "user")
