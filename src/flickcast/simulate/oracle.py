"""The best possible prediction: the expected label given all that its source shows when a post appears.

What can be seen is taken from the law itself. What nobody sees of a user is normal; each earlier upload of the user
whose label was known by then tells of it, with the upload's own chance as error, so its posterior is closed-form.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from flickcast.simulate.law import Floats, Law, expected_label, label, level_of
from flickcast.simulate.uploads import FIRST_POST_ID, POSTS_OF_A_DAY
from flickcast.simulate.world import World


@dataclass(frozen=True)
class Sight:
    """What a source shows of accounts: the part of the level that follows from it, and how far the rest is spread."""

    told: Floats  # (users,)
    hidden: float


def sight_of_api(world: World) -> Sight:
    """All counts of a profile."""
    return Sight(world.users.told, world.params.law.hidden_user)


def sight_of_files(world: World) -> Sight:
    """The official files have photo counts and memberships, not how many an account follows.

    What these two let expect of the whole told part is found by least squares over the accounts, as they post. The rest
    is taken as normal, which it is not quite (skewness 1.3): of new users one could say a little more.
    """
    users = world.users
    photos = np.log1p(users.numbers["photo_count"].to_numpy().astype(np.float64))
    shown = np.column_stack([np.ones_like(photos), photos, users.profiles["is_pro"].to_numpy()])
    weights = np.sqrt(users.activity)
    effects, *_ = np.linalg.lstsq(shown * weights[:, None], users.told * weights, rcond=None)
    told = shown @ effects
    rest = np.average((users.told - told) ** 2, weights=users.activity)
    return Sight(told, float(np.sqrt(world.params.law.hidden_user**2 + rest)))


def oracle(world: World, posts: pl.DataFrame, sight: Sight | None = None) -> Floats:
    """The expected label of each post (rows of World.numbers or World.posts), in their order."""
    if posts.is_empty():
        return np.zeros(0)
    last = (int(posts["post"].to_numpy().max()) - FIRST_POST_ID) // POSTS_OF_A_DAY
    sight = sight or sight_of_api(world)
    return expected(world, posts, evidence_until(world, last, sight), sight)


def evidence_until(world: World, day: int, sight: Sight) -> pl.DataFrame:
    """What can be known of users from the labels that matured until the end of a day."""
    history = range(day - int(world.params.maturity_days) + 1)
    return user_evidence(world, pl.concat([world.numbers(-1), *(world.numbers(one) for one in history)]), sight)


def expected(world: World, posts: pl.DataFrame, evidence: pl.DataFrame, sight: Sight) -> Floats:
    """The expected label of each post, given evidence on its user that was complete when it appeared."""
    law = world.params.law
    known = posts.select("user", "posted_at", "known").with_row_index("row").sort("posted_at", "row")
    joined = known.join_asof(
        evidence, left_on="posted_at", right_on="known_at", by="user", check_sortedness=False
    ).sort("row")
    precision = 1.0 / sight.hidden**2 + joined["precision"].fill_null(0.0).to_numpy()
    hidden = joined["weighted"].fill_null(0.0).to_numpy() / precision
    spread = np.sqrt(1.0 / precision + law.upload**2 + law.noise**2)
    return expected_label(_seen(world, posts, sight) + hidden, spread)


def user_evidence(world: World, posts: pl.DataFrame, sight: Sight) -> pl.DataFrame:
    """What labels tell of their users: running sums per user, each row from the moment `known_at` on."""
    excess = level_of(label(world.views_at_maturity(posts))) - _seen(world, posts, sight)
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


def _seen(world: World, posts: pl.DataFrame, sight: Sight) -> Floats:
    """The known part of the level of each post, of what its account shows."""
    unseen = (world.users.told - sight.told)[posts["user"].to_numpy()]
    return np.asarray(posts["known"].to_numpy() - unseen)


def _precision(law: Law) -> pl.Expr:
    """How well one upload's mean tells what is hidden of its user: its own chance and its pictures' noise disturb."""
    return 1.0 / (law.upload**2 + law.noise**2 / pl.col("pictures"))
