from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from flickcast.errors import UserError
from flickcast.simulate import calibration as facts
from flickcast.simulate.law import label
from flickcast.simulate.text import CONCEPTS, SUBCATEGORIES
from flickcast.simulate.world import World, WorldParams


def test_a_day_is_the_same_alone_and_after_others(world: World):
    fresh = World(world.params)
    for day in range(3):
        world.posts(day)
    assert fresh.posts(2).equals(world.posts(2))


def test_another_seed_is_another_world(world: World):
    other = World(WorldParams(seed=8, users=120, posts_per_day=80.0, start=date(2016, 1, 1)))
    assert not other.numbers(0)["level"].equals(world.numbers(0)["level"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("users", 0),
        ("users", -5),
        ("users", 10**12),
        ("posts_per_day", 0.0),
        ("posts_per_day", -1.0),
        ("posts_per_day", float("nan")),
        ("posts_per_day", 1e9),
        ("seed", -1),
        ("maturity_days", 0.0),
        ("picture_size", 0),
        ("start", date(1, 1, 1)),
        ("start", date(9999, 12, 31)),
    ],
)
def test_a_world_that_cannot_be_is_refused_by_name(name: str, value: object):
    told = "starts on" if name == "start" else name
    with pytest.raises(UserError, match=rf"no world .*{told} .*; choose"):
        WorldParams(**{name: value})


def test_the_smallest_world_has_posts_and_no_warnings(recwarn: pytest.WarningsRecorder):
    world = World(WorldParams(users=1, posts_per_day=0.1))
    assert world.posts(0).height >= 1
    assert not list(recwarn)


def test_nothing_happens_before_the_first_day(world: World):
    assert world.posts(-1).is_empty()
    assert world.posts(-1).schema == world.posts(0).schema


def test_post_ids_are_unique_and_rise_with_time(world: World):
    posts = pl.concat([world.posts(day) for day in range(5)])
    assert posts["post_id"].n_unique() == posts.height
    assert posts.sort("post")["posted_at"].is_sorted()


def test_tags_are_distinct_and_hold_the_concept(world: World):
    posts = world.posts(1)
    assert (posts["tags"].list.n_unique() == posts["tags"].list.len()).all()
    assert (posts["tags"].list.len() == posts["tag_count"]).all()
    concepts = [CONCEPTS[one][1] for one in posts["concept"]]
    assert all(concept in tags for concept, tags in zip(concepts, posts["tags"], strict=True))


def test_concept_subcategory_and_category_agree(world: World):
    for row in world.posts(2).iter_rows(named=True):
        assert CONCEPTS[row["concept"]][0] == row["subcategory"]
        assert SUBCATEGORIES[row["subcategory"]][0] == row["category"]


def test_counts_never_fall_as_time_passes(world: World):
    posts = world.numbers(0)
    moments = [datetime(2016, 1, 1, tzinfo=UTC) + timedelta(days=one) for one in (0, 0.3, 1, 2, 7, 30, 300)]
    counts = [world.counts(posts, moment) for moment in moments]
    assert counts[0]["views"].sum() == 0
    for before, after in pairwise(counts):
        assert all((after[name] >= before[name]).all() for name in ("views", "faves", "comments"))


def test_views_a_week_after_posting_are_those_of_the_label(world: World):
    posts = world.numbers(0)[[0]]
    moment = posts["posted_at"][0] + timedelta(days=7)
    assert world.views(posts, moment).tolist() == world.views_at_maturity(posts).tolist()


def test_photo_count_grows_by_the_posts_of_the_user(world: World):
    start = world.users.numbers["photo_count"]
    posts = pl.concat([world.numbers(0), world.numbers(1)])
    moment = posts["posted_at"][posts.height - 5]
    seen = posts.filter(pl.col("posted_at") <= moment)["user"]
    grown = world.user_numbers(moment)["photo_count"] - start
    assert grown.to_list() == [int((seen == user).sum()) for user in range(120)]


def test_photo_count_of_a_post_is_that_of_its_moment(world: World):
    posts, counts = world.numbers(1), world.photo_counts(1)
    last = posts.height - 1
    told = world.user_numbers(posts["posted_at"][last])["photo_count"][posts["user"][last]]
    assert counts[last] == told


def test_posts_are_found_by_id_once_they_exist(world: World):
    posts = world.posts(1)
    ids = [posts["post_id"][3], "no number", "9" * 40, posts["post_id"][posts.height - 1]]
    assert world.find(ids, posts["posted_at"][3])["post_id"].to_list() == ids[:1]


def test_uploads_of_several_pictures_share_user_and_subject(world: World):
    posts = pl.concat([world.numbers(day) for day in range(10)])
    kinds = posts.group_by("batch").agg(pl.n_unique("user", "concept", "tag_count"), pl.len())
    assert kinds["len"].max() > 1
    assert kinds.select(pl.max("user", "concept", "tag_count")).row(0) == (1, 1, 1)


@pytest.fixture(scope="module")
def labels(big_world: World, big_posts: pl.DataFrame) -> np.ndarray:
    return label(big_world.views_at_maturity(big_posts))


def test_labels_look_like_the_real_ones(labels: np.ndarray):
    assert abs(labels.mean() - 6.41) < 0.35
    assert abs(labels.std() - 2.47) < 0.3
    assert 0.005 < (labels <= 1.0).mean() < 0.03


def test_tag_counts_look_like_the_real_ones(big_posts: pl.DataFrame, labels: np.ndarray):
    counts = big_posts["tag_count"]
    assert abs(counts.median() - 16) <= 2
    assert (counts.min(), counts.max()) == (1, 75)
    assert abs(spearmanr(counts, labels)[0] - 0.343) < 0.07


def test_a_tenth_of_the_posts_has_a_place(big_posts: pl.DataFrame):
    assert abs(big_posts["geotagged"].mean() - 0.114) < 0.04


def test_labels_within_an_upload_are_nearly_equal(big_posts: pl.DataFrame, labels: np.ndarray):
    several = big_posts.with_columns(label=labels).filter(pl.len().over("batch") > 1)
    pairs = several.with_columns(other=pl.col("label").shift(1).over("batch")).drop_nulls("other")
    assert abs(several.height / big_posts.height - 0.243) < 0.05
    assert np.corrcoef(pairs["label"], pairs["other"])[0, 1] > 0.96


def test_account_numbers_have_the_real_joint_ranks(big_world: World):
    numbers = big_world.users.numbers
    ranks = spearmanr(numbers.to_numpy())[0]
    assert np.abs(ranks - np.array(facts.USER_RANK_CORRELATIONS)).max() < 0.08
    assert abs(numbers["photo_count"].median() - 905) < 250


def test_a_few_users_bring_most_posts(big_posts: pl.DataFrame):
    counts = big_posts["user"].value_counts(sort=True)["count"]
    assert counts.head(200).sum() > 0.35 * big_posts.height


def test_the_mix_of_subcategories_follows_the_seasons(big_world: World):
    christmas = next(place for place, (_, name) in enumerate(SUBCATEGORIES) if name == "Christmas")
    share = [
        np.mean([(big_world.numbers(day)["subcategory"] == christmas).mean() for day in range(first, first + 20)])
        for first in (100, 290)
    ]
    assert share[1] > 3 * share[0]


def test_saturday_is_the_busiest_day(big_posts: pl.DataFrame):
    days = big_posts.group_by(pl.col("posted_at").dt.weekday()).len().sort("len")["posted_at"]
    assert days[-1] == 6
