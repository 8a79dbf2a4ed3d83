import numpy as np
import polars as pl
from reducible import fitted

ROWS = pl.DataFrame({"log_followers": [0.0, 0.1, 5.0, 5.2, 9.0, None]}, schema_overrides={"log_followers": pl.Float32})


def test_levels_are_ordered_and_distances_from_the_centre() -> None:
    columns = fitted("influence", ROWS, levels=3)[1]
    assert columns[:5, 0].tolist() == [0, 0, 1, 1, 2]
    np.testing.assert_allclose(columns[:5, 1], [-0.05, 0.05, -0.1, 0.1, 0], atol=1e-6)
    assert np.isnan(columns[5]).all()


def test_more_followers_never_mean_a_lower_level() -> None:
    random = np.random.default_rng(0)
    many = pl.DataFrame({"log_followers": random.gamma(2, 2, 5000)})
    columns = fitted("influence", many, levels=40)[1]
    levels = columns[np.argsort(many["log_followers"].to_numpy()), 0]
    assert (np.diff(levels) >= 0).all()
    assert len(set(levels)) == 40


def test_fewer_values_than_levels_are_levels_themselves() -> None:
    assert fitted("influence", ROWS, levels=40)[1][:5, 0].tolist() == [0, 1, 2, 3, 4]
