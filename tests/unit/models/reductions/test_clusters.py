import numpy as np
import polars as pl
from reducible import fitted, reducible, settings

from flickcast.models.reductions import Training
from flickcast.models.reductions.clusters import Clusters

ROWS = reducible(400)


def test_clusters_find_the_topics() -> None:
    codes = fitted("clusters", ROWS, levels=[4, 12])[1]
    known = ~np.isnan(codes[:, 0])
    topics = ROWS["subcategory"].to_numpy()[known]
    pairs = set(zip(topics, codes[known, 0], strict=True))
    assert len(pairs) == len(set(topics)) == 4


def test_a_finer_class_lies_in_one_coarser_class() -> None:
    codes = fitted("clusters", ROWS, levels=[10, 2, 5])[1]
    codes = codes[~np.isnan(codes[:, 0])]
    assert [len(set(level)) for level in codes.T] == [2, 5, 10]
    for coarse, fine in ((0, 1), (1, 2)):
        assert len({tuple(pair) for pair in codes[:, [coarse, fine]]}) == len(set(codes[:, fine]))


def test_post_without_picture_has_no_class() -> None:
    codes = fitted("clusters", ROWS)[1]
    assert (np.isnan(codes).all(axis=1) == ROWS["picture"].is_null().to_numpy()).all()


def test_few_posts_make_few_classes_or_none() -> None:
    found = Clusters.fit(Training(ROWS.filter(pl.col("picture").is_not_null())[:23], 0), "made", settings("clusters"))
    assert found is not None
    assert len(found[0].centres) == 4  # five posts each
    assert Clusters.fit(Training(ROWS[:9], 0), "made", settings("clusters")) is None
