"""CatBoost: gradient-boosted symmetric trees, stored as cbm."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flickcast.errors import LeftOutError
from flickcast.models.design import Design
from flickcast.params import Section

if TYPE_CHECKING:
    import catboost

Target = NDArray[np.float64]


class CatBoostSettings(Section):
    """CatBoost's own parameters, under its own names."""

    loss_function: str = Field("RMSE", pattern=r"^(RMSE|MAE|Huber:delta=\d+(\.\d+)?)$")
    max_iterations: int = Field(600, ge=1)
    patience: int = Field(40, ge=1, description="rounds without a better validation score before it stops")
    learning_rate: float = Field(0.06, gt=0, le=1)
    depth: int = Field(6, ge=1, le=16)
    l2_leaf_reg: float = Field(3.0, ge=0)
    rsm: float = Field(1.0, gt=0, le=1)
    border_count: int = Field(254, ge=1, le=65_535)


@dataclass(frozen=True)
class CatBoost:
    """A fitted model; CatBoost encodes the categories itself, each row by the rows before it in a random order."""

    settings: ClassVar[type[Section]] = CatBoostSettings
    suffix: ClassVar[str] = "cbm"
    model: "catboost.CatBoostRegressor"

    @property
    def iterations(self) -> int:
        """The rounds it keeps."""
        return int(self.model.tree_count_)

    @classmethod
    def fit(
        cls,
        design: Design,
        target: Target,
        *,
        settings: Any,
        seed: int,
        threads: int,
        iterations: int | None = None,
        validation: tuple[Design, Target] | None = None,
        weights: Target | None = None,
    ) -> Self:
        """Fit for a number of iterations, or stop early by the validation rows.

        LeftOutError where all labels, or all rows, are equal.
        """
        import catboost

        if (target == target[0]).all():
            raise LeftOutError("all labels of its training rows are equal")
        if not design.varies:
            raise LeftOutError("no column differs between its training rows")
        # CatBoost 1.2.10 starts the Huber loss from 0, not from the mean, and its first hundred rounds only climb there
        start = float(target.mean()) if settings.loss_function.startswith("Huber") else 0.0
        model = catboost.CatBoostRegressor(
            **settings.model_dump(exclude={"max_iterations", "patience"}),
            iterations=iterations or settings.max_iterations,
            early_stopping_rounds=settings.patience if validation else None,
            random_seed=seed,
            thread_count=threads,
            allow_writing_files=False,
            verbose=False,
        )
        stopping = _pool(validation[0], validation[1] - start) if validation else None
        model.fit(_pool(design, target - start, weights), eval_set=stopping)
        scale, bias = model.get_scale_and_bias()
        model.set_scale_and_bias(scale, bias + start)
        return cls(model)

    def predict(self, design: Design) -> Target:
        """One prediction per row."""
        return np.asarray(self.model.predict(_pool(design)), np.float64)

    def importances(self) -> dict[str, float]:
        """How far predictions move with each column, as a share."""
        moves = np.asarray(self.model.get_feature_importance())
        shares = moves / max(moves.sum(), 1e-12)
        return dict(zip(self.model.feature_names_, shares.tolist(), strict=True))

    def contributions(self, design: Design) -> dict[str, Target]:
        """SHAP values of the columns and, under "", what is expected of any row; they add up to the predictions."""
        values = np.asarray(self.model.get_feature_importance(_pool(design), type="ShapValues"), np.float64)
        return dict(zip([*self.model.feature_names_, ""], values.T, strict=True))

    def to_bytes(self) -> bytes:
        """CatBoost's binary format, without what differs from run to run."""
        metadata = self.model.get_metadata()
        for key in ("train_finish_time", "model_guid"):  # 1.2.10 stamps each fit with a clock and a random id
            metadata[key] = ""
        # What was fitted is written otherwise than what was read; the latter is always written alike (1.2.10).
        return _written(self.from_bytes(_written(self.model)).model)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The model from its binary format."""
        import catboost

        return cls(catboost.CatBoostRegressor().load_model(blob=content))


def _written(model: "catboost.CatBoostRegressor") -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model.{CatBoost.suffix}"
        model.save_model(str(path))
        return path.read_bytes()


def _pool(design: Design, target: Target | None = None, weights: Target | None = None) -> "catboost.Pool":
    import catboost

    return catboost.Pool(design.frame(), target, weight=weights, cat_features=design.category_names)
