"""Target encodings of scikit-learn, given our folds, as a second opinion where there is no hierarchy."""

import numpy as np
from reducible import fitted, reducible
from sklearn.preprocessing import TargetEncoder

from flickcast.models.reductions import Training


def test_encodings_are_those_of_scikit_learn() -> None:
    rows, smoothing = reducible(200, users=30), 7.0
    folds = Training(rows, 0).folds(4)
    splits = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(4)]
    values = rows.select("category", "subcategory").to_numpy()
    encoder = TargetEncoder(smooth=smoothing, cv=splits, target_type="continuous")
    expected = encoder.fit_transform(values, rows["popularity"].to_numpy())
    ours, own = fitted(
        "target_encoding", rows, columns={"category": None, "subcategory": None}, smoothing=smoothing, folds=4
    )
    np.testing.assert_allclose(own, expected, rtol=1e-6)
    np.testing.assert_allclose(ours.transform(rows), encoder.transform(values), rtol=1e-6)
