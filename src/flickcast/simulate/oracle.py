"""The best possible prediction: the expected label given all that could be observed when a post appeared.

What can be seen is taken from the law itself. What nobody sees of a user is normal; each earlier upload of the user
whose label was known by then tells of it, with the upload's own chance as error, so its posterior is closed-form.
"""

from datetime import timedelta

import numpy as np
import polars as pl

from flickcast.simulate.law import Floats, Law, expected_label, label, level_of
from flickcast.simulate.uploads import FIRST_POST_ID, POSTS_OF_A_DAY
from flickcast.simulate.world import World


def oracle(world: World, posts: pl.DataFrame) -> Floats:
    """The expected label of each post (rows of World.numbers or World.posts), in their order."""
    if posts.is_empty():
        return np.zeros(0)
    last = (int(posts["post"].to_numpy().max()) - FIRST_POST_ID) // POSTS_OF_A_DAY
    return expected(world, posts, evidence_until(world, last))


def evidence_until(world: World, day: int) -> pl.DataFrame:
    """What can be known of users from the labels that matured until the end of a day."""
    history = range(day - int(world.params.maturity_days) + 1)
    return user_evidence(world, pl.concat([world.numbers(-1), *(world.numbers(one) for one in history)]))


def expected(world: World, posts: pl.DataFrame, evidence: pl.DataFrame) -> Floats:
    """The expected label of each post, given evidence on its user that was complete when it appeared."""
    law = world.params.law
    known = posts.select("user", "posted_at", "known").with_row_index("row").sort("posted_at", "row")
    joined = known.join_asof(
        evidence, left_on="posted_at", right_on="known_at", by="user", check_sortedness=False
    ).sort("row")
    precision = 1.0 / law.hidden_user**2 + joined["precision"].fill_null(0.0).to_numpy()
    hidden = joined["weighted"].fill_null(0.0).to_numpy() / precision
    spread = np.sqrt(1.0 / precision + law.upload**2 + law.noise**2)
    return expected_label(joined["known"].to_numpy() + hidden, spread)


def user_evidence(world: World, posts: pl.DataFrame) -> pl.DataFrame:
    """What labels tell of their users: running sums per user, each row from the moment `known_at` on."""
    excess = level_of(label(world.views_at_maturity(posts))) - posts["known"].to_numpy()
    return (
        posts.select("user", "batch", "posted_at", pl.Series("excess", excess))
        .group_by("user", "batch")
        .agg(pl.col("posted_at").max(), pl.col("excess").mean(), pl.len().alias("pictures"))
        .with_columns(known_at=pl.col("posted_at") + timedelta(days=world.params.maturity_days))
        .with_columns(precision=_precision(world.params.law))
        .sort("known_at", "batch")
        .select(
            "user",
            "known_at",
            precision=pl.col("precision").cum_sum().over("user"),
            weighted=(pl.col("precision") * pl.col("excess")).cum_sum().over("user"),
        )
    )


def _precision(law: Law) -> pl.Expr:
    """How well one upload's mean tells what is hidden of its user: its own chance and its pictures' noise disturb."""
    return 1.0 / (law.upload**2 + law.noise**2 / pl.col("pictures"))
