"""Who is trained on and who is tested on; nothing here depends on the order of the rows."""

import math

import numpy as np
import polars as pl

TRAIN_SHARE = 0.8


def time_split(posts: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Post ids of the oldest 80 % and of the newest 20 %, in the order (posted_at, post_id)."""
    ids = posts.sort("posted_at", "post_id")["post_id"]
    boundary = math.floor(TRAIN_SHARE * len(ids))
    return ids[:boundary], ids[boundary:]


def user_folds(user_ids: pl.Series, folds: int, seed: int) -> pl.Series:
    """A fold number per row; all posts of a user are in one fold.

    Posts uploaded together have nearly the same label (correlation 0.98 on the challenge's Flickr rows), so a fold
    that tears them apart is told the answer.
    """
    users = user_ids.unique().sort()
    order = np.random.RandomState(seed).permutation(len(users))
    fold_of_user = np.empty(len(users), dtype=np.int64)
    fold_of_user[order] = np.arange(len(users)) % folds
    table = pl.DataFrame({"user_id": users, "fold": fold_of_user})
    return user_ids.to_frame("user_id").join(table, on="user_id", how="left", maintain_order="left")["fold"]


def random_folds(post_ids: pl.Series, folds: int, seed: int) -> pl.Series:
    """A fold number per row, as the data's PROTOCOL.md deals them out (P1): by a permutation of the ids in order."""
    order = np.random.RandomState(seed).permutation(len(post_ids))
    fold_of_rank = np.empty(len(post_ids), dtype=np.int64)
    fold_of_rank[order] = np.arange(len(post_ids)) % folds
    ranks = (post_ids.rank("ordinal") - 1).to_numpy()
    return pl.Series("fold", fold_of_rank[ranks])


def newest_share(posts: pl.DataFrame, share: float) -> pl.Series:
    """Which rows are the newest, by (posted_at, post_id): at least one, never all."""
    count = min(max(round(share * posts.height), 1), posts.height - 1)
    rank = posts.select(pl.struct("posted_at", "post_id").rank("ordinal"))
    return (rank.to_series() > posts.height - count).alias("newest")
