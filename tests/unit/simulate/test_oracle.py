from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from flickcast.simulate.law import Law, expected_label, label
from flickcast.simulate.oracle import oracle, sight_of_files
from flickcast.simulate.world import World, WorldParams


@pytest.fixture(scope="module")
def judged(big_world: World, big_posts: pl.DataFrame) -> pl.DataFrame:
    """Posts with their label, oracle and the mean of the user's labels known when they appeared."""
    posts = big_posts.with_columns(
        label=label(big_world.views_at_maturity(big_posts)), oracle=oracle(big_world, big_posts)
    )
    running = posts.select(
        "user",
        pl.col("posted_at") + timedelta(days=7),
        user_mean=pl.col("label").cum_sum().over("user") / pl.col("label").cum_count().over("user"),
    )
    joined = posts.join_asof(running, on="posted_at", by="user", check_sortedness=False)
    return joined.with_columns(pl.col("user_mean").fill_null(posts["label"].mean()))


def test_oracle_is_right_on_average(judged: pl.DataFrame):
    assert abs((judged["label"] - judged["oracle"]).mean()) < 0.08


def test_oracle_is_right_in_every_tenth(judged: pl.DataFrame):
    tenth = pl.col("oracle").rank("ordinal") * 10 // (judged.height + 1)
    errors = judged.group_by(tenth).agg(error=(pl.col("label") - pl.col("oracle")).mean())
    assert errors.height == 10
    assert errors["error"].abs().max() < 0.25


def test_oracle_leaves_room_above_the_user_mean(judged: pl.DataFrame):
    late = judged.tail(judged.height // 5)
    oracle_rank, mean_rank = (spearmanr(late[name], late["label"])[0] for name in ("oracle", "user_mean"))
    assert 0.80 < oracle_rank < 0.88
    assert 0.52 < mean_rank < 0.68
    assert 0.85 < (late["oracle"] - late["label"]).abs().mean() < 1.15


def test_nothing_that_can_be_seen_explains_what_the_oracle_misses(judged: pl.DataFrame, big_world: World):
    """A regression of the oracle's errors on all that is visible gains nothing on later posts."""
    told = big_world.users.told[judged["user"].to_numpy()]
    columns = ["oracle", "user_mean", "tag_count", "sharpness", "colourfulness", "brightness", "known"]
    seen = np.column_stack([judged.select(columns).to_numpy(), told, np.ones(judged.height)])
    missed = (judged["label"] - judged["oracle"]).to_numpy()
    half = judged.height // 2
    weights = np.linalg.lstsq(seen[:half], missed[:half], rcond=None)[0]
    corrected = missed[half:] - seen[half:] @ weights
    assert (missed[half:] ** 2).mean() < (corrected**2).mean() * 1.01


def test_no_learner_on_all_that_is_visible_beats_the_oracle(judged: pl.DataFrame, big_world: World):
    import lightgbm

    names = ["user_mean", "tag_count", "sharpness", "colourfulness", "brightness", "subcategory", "concept", "user"]
    seen = np.column_stack([judged.select(names).to_numpy(), big_world.users.told[judged["user"].to_numpy()]])
    labels, cut = judged["label"].to_numpy(), judged.height * 4 // 5
    settings = {"objective": "l2", "num_leaves": 15, "verbose": -1, "num_threads": 1, "seed": 0}
    data = lightgbm.Dataset(seen[:cut], labels[:cut], categorical_feature=[5])
    errors = lightgbm.train(settings, data, 150).predict(seen[cut:]) - labels[cut:]
    best = judged["oracle"].to_numpy()[cut:] - labels[cut:]
    assert (best**2).mean() < 0.9 * (errors**2).mean()


def test_oracle_of_a_post_does_not_change_when_later_days_come(world: World):
    early, both = world.numbers(12), pl.concat([world.numbers(12), world.numbers(20)])
    assert oracle(world, early).tolist() == oracle(world, both)[: early.height].tolist()


def test_oracle_does_not_depend_on_the_order_of_posts(world: World):
    posts = world.numbers(12)
    assert oracle(world, posts.reverse()).tolist() == oracle(world, posts)[::-1].tolist()


def test_without_history_the_oracle_knows_only_what_is_told(world: World):
    posts, law = world.numbers(3), world.params.law
    spread = np.full(posts.height, np.sqrt(law.hidden_user**2 + law.upload**2 + law.noise**2))
    assert np.allclose(oracle(world, posts), expected_label(posts["known"].to_numpy(), spread))


def test_with_much_history_the_hidden_part_is_found():
    law = Law(upload=0.1, noise=0.01)
    world = World(WorldParams(seed=3, users=3, posts_per_day=60.0, law=law))
    posts = world.numbers(30)
    truth = posts["known"].to_numpy() + world.users.hidden[posts["user"].to_numpy()]
    high = truth > 5.0  # below, labels are too coarse for this
    assert np.abs(oracle(world, posts) - truth)[high].max() < 0.15


def test_the_oracle_of_the_files_makes_the_best_of_what_they_show(judged: pl.DataFrame, big_world: World):
    """It is right in every tenth, never as good as with the contacts, and nothing that the files show explains more."""
    user = judged["user"].to_numpy()
    files = pl.Series("files", oracle(big_world, judged, sight_of_files(big_world)))
    missed = (judged["label"] - files).to_numpy()
    tenths = pl.DataFrame({"tenth": files.rank("ordinal") * 10 // (len(files) + 1), "missed": missed})
    assert tenths.group_by("tenth").agg(pl.col("missed").mean())["missed"].abs().max() < 0.3
    assert (missed**2).mean() > 1.02 * ((judged["label"] - judged["oracle"]) ** 2).mean()
    photos = np.log1p(big_world.users.numbers["photo_count"].to_numpy()[user])
    told = big_world.users.told[user]
    shown = [files.to_numpy(), judged["user_mean"], judged["known"].to_numpy() - told, photos, judged["tag_count"]]
    seen = np.column_stack([*shown, big_world.users.profiles["is_pro"].to_numpy()[user], np.ones(judged.height)])
    half = judged.height // 2
    weights = np.linalg.lstsq(seen[:half], missed[:half], rcond=None)[0]
    corrected = missed[half:] - seen[half:] @ weights
    assert (missed[half:] ** 2).mean() < (corrected**2).mean() * 1.01
