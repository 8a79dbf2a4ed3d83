from collections import Counter

import numpy as np
import polars as pl
import pytest
from reducible import fitted, reducible
from sklearn.linear_model import Ridge

from flickcast.models.reductions.latent import inverse_frequency, weighted
from flickcast.models.reductions.pieces import pieces_of
from flickcast.models.reductions.wording import Wording

BUCKETS = 2**20


def test_pieces_stay_within_their_words() -> None:
    counts = pieces_of(pl.Series(["Sea, sea!", "sea", "se a", None]), 3, 5, BUCKETS)
    one = {" se": 1, "sea": 1, "ea ": 1, " sea": 1, "sea ": 1, " sea ": 1}
    assert sorted(counts[1].data) == sorted(one.values())
    assert sorted(counts[0].data) == [2] * len(one)
    assert set(counts[0].indices) == set(counts[1].indices)
    assert counts[2].nnz == 4  # ' se', 'se ', ' se ' and ' a '
    assert counts[3].nnz == 0


def test_pieces_are_those_of_a_loop_over_words() -> None:
    texts = ["Snow in the Größe city 2023", "日本 snow", "aa"]
    counts = pieces_of(pl.Series(texts), 2, 4, BUCKETS)
    for number, text in enumerate(texts):
        words = [f" {word} ".encode() for word in text.lower().split()]
        pieces = Counter(
            word[start : start + n] for word in words for n in (2, 3, 4) for start in range(len(word) - n + 1)
        )
        assert sorted(counts[number].data) == sorted(pieces.values())


def test_word_shorter_than_any_piece_has_none() -> None:
    assert pieces_of(pl.Series(["a"]), 5, 6, BUCKETS).nnz == 0


def test_texts_beside_each_other_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pl.Series(["sea snow", "", "snow", "cake"])
    together = pieces_of(texts, 3, 5, 512)
    monkeypatch.setattr("flickcast.models.reductions.pieces.TEXTS_AT_ONCE", 2)
    assert (pieces_of(texts, 3, 5, 512) != together).nnz == 0


def test_effects_are_those_of_ridge_regression() -> None:
    rows = reducible()
    made, _ = fitted("wording", rows, penalty=2.0, min_posts=1)
    counts = pieces_of(rows["words"], 3, 5, 4096)
    matrix = weighted(counts, inverse_frequency(np.bincount(counts.indices, minlength=4096), rows.height))
    labels = rows["popularity"].to_numpy()
    ridge = Ridge(2.0, fit_intercept=False, tol=1e-8).fit(matrix.astype(np.float64), labels - labels.mean())
    expected = labels.mean() + ridge.predict(matrix)
    np.testing.assert_allclose(made.transform(rows)[:, 0], expected, atol=1e-3)


def test_training_rows_are_not_told_their_own_label() -> None:
    rows = reducible()
    poisoned = rows.with_columns(popularity=pl.when(pl.col("user_id") == "u003").then(1e6).otherwise("popularity"))
    own = (rows["user_id"] == "u003").to_numpy()
    (_, before), (_, after) = fitted("wording", rows), fitted("wording", poisoned)
    np.testing.assert_array_equal(before[own], after[own])
    assert not np.allclose(before[~own], after[~own])


def test_words_of_the_same_stem_share_what_is_known() -> None:
    made, _ = fitted("wording", reducible())
    new = pl.DataFrame({"words": ["snowboarding", "seashore", "unheard", ""]})
    snow, sea, unheard, none = made.transform(new)[:, 0]
    assert snow - sea > 0.5  # topics: sea 0, snow 2
    assert isinstance(made, Wording)
    assert unheard == pytest.approx(made.mean, abs=0.3)
    assert np.isnan(none)


def test_only_the_newest_posts_are_learnt_from() -> None:
    rows = reducible()
    newest = rows.sort("posted_at").tail(100)
    made, _ = fitted("wording", rows, most_posts=100)
    assert isinstance(made, Wording)
    assert made.mean == pytest.approx(newest["popularity"].mean())
