"""Who is trained on and who is tested on; nothing here depends on the order of the rows."""

import math

import numpy as np
import polars as pl

from flickcast.errors import UserError, nearest

TRAIN_SHARE = 0.8
FOLDS, FOLD_SEED = 5, 0
# By which recipes are compared, and what is said beside the figures.
PROTOCOLS = {
    "time": "trained on the oldest 80 % of the labelled posts, tested on the newest 20 % (P3)",
    "user": "five folds, all posts of a user in one (P2)",
    "random": "five random folds (P1); posts of one upload may be on both sides, which flatters every row",
    "smpd": "trained on the official train files, tested on the posts of the test files",
}


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


def dealt(posts: pl.DataFrame, split: str) -> pl.DataFrame:
    """Which fold tests a post: post_id and fold (0, 1, ...), by post_id; null where a post is only learnt from.

    `posts` hold post_id, user_id, posted_at and is_labelled. A fold learns from the labelled posts outside it. Splits
    are those of the data's PROTOCOL.md, seed 0, whatever the seed of the models. UserError where there is too little.
    """
    if split not in PROTOCOLS:
        raise UserError(f"there is no split '{split}'; {nearest(split, PROTOCOLS)}")
    ordered = posts.sort("post_id")
    labelled, others = ordered.filter("is_labelled"), ordered.filter(~pl.col("is_labelled"))
    if split == "smpd":
        return _official(ordered, labelled.height, others.height)
    if split == "time":
        _, newest = time_split(labelled)
        tested = labelled["post_id"].is_in(newest.implode())
        folds = labelled.select("post_id", fold=pl.when(tested).then(pl.lit(0, pl.Int64)))
    elif split == "user":
        count = min(FOLDS, labelled["user_id"].n_unique())
        folds = labelled.select("post_id", fold=user_folds(labelled["user_id"], max(count, 1), FOLD_SEED))
    else:
        folds = labelled.select("post_id", fold=random_folds(labelled["post_id"], FOLDS, FOLD_SEED))
    if split == "user" and labelled["user_id"].n_unique() == 1:
        raise UserError(
            f"split user: all {labelled.height} labelled posts are of one user; it tests on users that were not learnt "
            "from. Import or ingest posts of others, or choose another split."
        )
    return _enough(folds, split)


def _official(posts: pl.DataFrame, labelled: int, others: int) -> pl.DataFrame:
    if not labelled or not others:
        raise UserError(
            f"split smpd: {labelled} posts with a label and {others} without are stored; it learns from the former and "
            "predicts the latter. Import the official train files with their labels and the test files without."
        )
    return posts.select("post_id", fold=pl.when(~pl.col("is_labelled")).then(pl.lit(0, pl.Int64)))


def _enough(folds: pl.DataFrame, split: str) -> pl.DataFrame:
    """UserError where a fold has nothing to test, or nothing to learn from."""
    tested = folds["fold"].drop_nulls()
    if tested.is_empty() or (tested.len() == folds.height and tested.n_unique() < 2):
        raise UserError(
            f"split {split}: {folds.height} labelled posts are too few to learn from some and test on others. "
            "Import or ingest more posts, or wait until they have matured."
        )
    return folds
