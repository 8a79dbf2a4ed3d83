import polars as pl
from table_rows import day, posts

from flickcast.splits import time_split, user_folds


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
