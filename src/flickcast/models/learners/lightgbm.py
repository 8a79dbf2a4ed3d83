"""LightGBM: gradient-boosted trees, stored as text."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flickcast.models.design import Design
from flickcast.models.threads import useful_threads
from flickcast.params import Section

if TYPE_CHECKING:
    import lightgbm

Target = NDArray[np.float64]


class LightGBMSettings(Section):
    """LightGBM's own parameters, under its own names."""

    objective: Literal["l2", "l1", "huber"] = "l2"
    alpha: float = Field(0.9, gt=0, description="huber: errors beyond it count linearly, in units of the label")
    max_iterations: int = Field(600, ge=1)
    patience: int = Field(40, ge=1, description="rounds without a better validation score before it stops")
    learning_rate: float = Field(0.05, gt=0, le=1)
    max_depth: int = Field(-1, ge=-1, description="-1: no limit")
    num_leaves: int = Field(15, ge=2, le=131_072)
    min_child_samples: int = Field(20, ge=1)
    feature_fraction: float = Field(0.5, gt=0, le=1)
    bagging_fraction: float = Field(0.8, gt=0, le=1)
    lambda_l2: float = Field(5.0, ge=0)
    max_bin: int = Field(255, ge=2, le=65_535)


@dataclass(frozen=True)
class LightGBM:
    """A fitted booster. Rows without a category (-1) count as missing."""

    settings: ClassVar[type[Section]] = LightGBMSettings
    suffix: ClassVar[str] = "txt"
    booster: "lightgbm.Booster"

    @property
    def iterations(self) -> int:
        """The rounds it keeps."""
        return self.booster.best_iteration if self.booster.best_iteration > 0 else self.booster.current_iteration()

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
        """Fit for a number of iterations, or stop early by the validation rows."""
        import lightgbm

        params = {**settings.model_dump(exclude={"max_iterations", "patience"}), "bagging_freq": 1, "verbosity": -1}
        # row-wise is forced because LightGBM otherwise chooses by a timing, and the two differ in the last bits
        params |= {
            "seed": seed,
            "num_threads": useful_threads(threads, len(target)),
            "deterministic": True,
            "force_row_wise": True,
        }
        stop = lightgbm.early_stopping(settings.patience, verbose=False)
        train = cls._dataset(design, target, params, weights=weights)
        booster = lightgbm.train(
            params,
            train,
            num_boost_round=iterations or settings.max_iterations,
            valid_sets=[cls._dataset(*validation, params, train)] if validation else [],
            callbacks=[stop] if validation else [],
        )
        return cls(booster)

    @staticmethod
    def _dataset(
        design: Design,
        target: Target,
        params: dict[str, object],
        reference: "lightgbm.Dataset | None" = None,
        weights: Target | None = None,
    ) -> "lightgbm.Dataset":
        import lightgbm

        categories: list[str] | list[int] = design.category_names
        return lightgbm.Dataset(
            design.frame(),
            target,
            weight=weights,
            categorical_feature=categories,
            params=dict(params),
            reference=reference,
        )

    def predict(self, design: Design) -> Target:
        """One prediction per row."""
        return np.asarray(self.booster.predict(design.frame(), num_iteration=self.iterations), np.float64)

    def importances(self) -> dict[str, float]:
        """Share of the total gain per column."""
        gains = self.booster.feature_importance("gain", iteration=self.iterations)
        shares = gains / max(gains.sum(), 1e-12)
        return dict(zip(self.booster.feature_name(), shares.tolist(), strict=True))

    def contributions(self, design: Design) -> dict[str, Target]:
        """SHAP values of the columns and, under "", what is expected of any row; they add up to the predictions."""
        values = np.asarray(
            self.booster.predict(design.frame(), num_iteration=self.iterations, pred_contrib=True), np.float64
        )
        return dict(zip([*self.booster.feature_name(), ""], values.T, strict=True))

    def to_bytes(self) -> bytes:
        """LightGBM's text format."""
        return self.booster.model_to_string(num_iteration=self.iterations).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The booster from its text."""
        import lightgbm

        return cls(lightgbm.Booster(model_str=content.decode()))
