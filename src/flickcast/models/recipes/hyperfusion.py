"""HyperFusion (Ye et al., MM'25): boosted trees and three networks, weighed fold by fold, taught by pseudo-labels."""

from collections.abc import Mapping, Sequence

import polars as pl
from pydantic import Field

from flickcast.models.ensemble import Ensemble
from flickcast.models.ensemble_settings import EnsembleSettings
from flickcast.models.folds import Fitted, Values
from flickcast.models.outliers import within_fences


class HyperFusionSettings(EnsembleSettings):
    """recipes/hyperfusion.yaml."""

    outlier_factor: float | None = Field(
        1.5,
        gt=0,
        description="interquartile ranges beyond the quartiles, from where a label is an outlier; null: never",
    )


class HyperFusion(Ensemble):
    """The paper's own steps: the outlier filter of section 3.3 and the weights of section 3.4."""

    settings_type = HyperFusionSettings

    def chosen(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows whose labels are no outliers among those that a member may be fitted on."""
        factor = self.settings.outlier_factor
        return rows if factor is None else rows.filter(within_fences(rows["popularity"].to_numpy(), factor))

    def fused(self, fitted: Sequence[Fitted], target: Values) -> list[Mapping[str, float]]:
        """For each member weights of its own, by the rows that it was not fitted on (equation 8)."""
        return [weights for one in fitted for weights in super(HyperFusion, self).fused([one], target)]
