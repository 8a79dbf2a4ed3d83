import numpy as np
import pytest

from flickcast.simulate.law import Law, expected_label, label, level_of


def test_growth_starts_at_nothing_and_never_falls():
    shares = Law().growth(np.linspace(-1.0, 400.0, 2000))
    assert shares[0] == 0.0
    assert (np.diff(shares) >= 0).all()
    assert 0.999 < shares[-1] <= 1.0


def test_views_at_maturity_are_the_level_cut_to_a_whole_number():
    views = Law().views(np.array([0.0, 3.2, -1.0]), np.array([0.5, 1.0, 2.0]), np.full(3, 7.0), 7.0)
    assert views.tolist() == [1, 9, 0]


def test_speed_changes_the_way_but_not_the_views_at_maturity():
    levels, speeds = np.array([8.0, 8.0]), np.array([0.5, 2.0])
    early = Law().views(levels, speeds, np.full(2, 1.0), 7.0)
    assert early[0] < early[1]
    assert Law().views(levels, speeds, np.full(2, 7.0), 7.0).tolist() == [256, 256]


def test_level_of_a_label_lies_within_its_step():
    for views in (0, 1, 2, 100):
        level = level_of(label(np.array([views])))[0]
        assert int(2**level) == views


@pytest.mark.parametrize(("mean", "spread"), [(-1.0, 0.8), (1.0, 1.2), (3.0, 0.3), (6.4, 1.3), (12.0, 2.0)])
def test_expected_label_equals_the_mean_of_many_draws(mean: float, spread: float):
    levels = mean + spread * np.random.default_rng(0).standard_normal(400_000)
    drawn = label(np.floor(np.exp2(levels)).astype(np.int64))
    expected = expected_label(np.array([mean]), np.array([spread]))[0]
    assert abs(expected - drawn.mean()) < 0.01


def test_a_negative_strength_is_refused():
    with pytest.raises(ValueError, match="noise"):
        Law(noise=-1.0)
