"""PPCL (Zhang et al. 2024): a network that learns beside popularity what is alike in content, influence and user.

A contrast without labels, or without the encoder that it teaches, is left out.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from threadpoolctl import threadpool_limits
from torch import nn

from flickcast.models.networks.inputs import UNSEEN, Batch, Scaling, Shape
from flickcast.models.networks.network import NetworkLearner, NetworkSettings, weighted_mean
from flickcast.models.networks.ppcl_losses import Heaviest, hierarchical_contrast, supervised_contrast
from flickcast.models.networks.ppcl_module import PPCLModule, Views
from flickcast.models.networks.ppcl_sampler import hierarchical_batches

INFLUENCE = "influence"  # the label of influence levels

# With 2 to 8 outputs the last bits of a layer's sums depend on the row's place in its batch (MKL, seen 2026-11-22).
NARROWEST = 12


class PPCLSettings(NetworkSettings):
    """The paper's numbers (section 6.1.4); where it has none, a choice."""

    learning_rate: float = Field(2e-3, gt=0)
    width: int = Field(512, ge=2 * NARROWEST, description="of what each encoder gives")
    bottleneck: int = Field(64, ge=NARROWEST)
    embedding: int = Field(32, ge=1, description="of each category")
    cross_layers: int = Field(4, ge=0)
    temperature: float = Field(0.1, gt=0)
    regression: float = Field(0.9, gt=0, le=1, description="lambda: the share of the loss that the regression has")
    content: float = Field(3.0, ge=0, description="weight of the contrast of category levels")
    influence: float = Field(1.0, ge=0, description="weight of the contrast of influence levels")
    identity: float = Field(0.1, ge=0, description="weight of the contrast of users")
    levels: list[str] = Field(
        ["category", "subcategory", "concept"], description="coarsest first; no inputs, labels of the content alone"
    )
    heaviest: Heaviest = Field("finest", description="the level whose penalty is 1; the others' are 1/4, 1/9")
    followers: str = Field("log_followers", description="the number whose clusters are the influence levels")
    clusters: int = Field(40, ge=2)
    sampling: Literal["hierarchical", "random"] = "hierarchical"


class PPCL(NetworkLearner):
    """The joint loss of regression and three contrasts, over batches in which each anchor finds its like."""

    settings = PPCLSettings

    @staticmethod
    def build(shape: Shape, settings: Any) -> nn.Module:
        """Encoders for what there is to read."""
        return PPCLModule(shape, settings)

    @classmethod
    def prepare(
        cls, module: Any, data: Batch, scaling: Scaling, centre: tuple[float, float], seed: int
    ) -> dict[str, torch.Tensor]:
        """Ranges of the numbers; the class of each row at each level, and its level of influence, -1 for none."""
        if module.user is not None:
            module.user.powers.learn(data, scaling)
        module.label_variance = centre[1] ** 2
        names, settings = module.shape.category_names, module.settings
        levels = {name: data.codes[:, names.index(name)] for name in settings.levels if name in names}
        labels = {name: torch.where(codes > UNSEEN, codes, -1) for name, codes in levels.items()}
        return {name: found for name, found in labels.items() if (found >= 0).any()} | _influence(module, data, seed)

    @staticmethod
    def loss(module: Any, batch: Batch, settings: Any) -> torch.Tensor:
        """Equation 25, each loss as a mean over its rows or views."""
        views = module.views(batch)
        error = weighted_mean((views.said - batch.target) ** 2, batch.weights) * module.label_variance
        parts = [getattr(settings, name) * part for name, part in contrasts(views, batch, settings).items()]
        joint: torch.Tensor = settings.regression * error + (1 - settings.regression) * sum(parts, torch.zeros(()))
        return joint

    @staticmethod
    def batches(data: Batch, settings: Any, generator: torch.Generator) -> Iterator[torch.Tensor]:
        """Anchors with their like at each level of classes; random ones where there is no content to tell apart."""
        levels = _levels(data, settings)
        if not levels or not data.vectors or settings.sampling == "random":
            yield from NetworkLearner.batches(data, settings, generator)
            return
        random = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        for rows in hierarchical_batches(torch.stack(levels, dim=1).numpy(), settings.batch_size, random):
            yield torch.from_numpy(rows)


def contrasts(views: Views, batch: Batch, settings: PPCLSettings) -> dict[str, torch.Tensor]:
    """The losses of content, influence and identity, as far as the batch has what they are made of."""
    levels, influence, found = _levels(batch, settings), batch.labels.get(INFLUENCE), {}
    if views.post is not None and levels:
        found["content"] = hierarchical_contrast(views.post, levels, settings.temperature, settings.heaviest)
    if views.user is not None and influence is not None:
        found["influence"] = supervised_contrast(views.user, influence, settings.temperature)
    if batch.users is not None:
        found["identity"] = supervised_contrast(views.popularity, batch.users, settings.temperature)
    return found


def _levels(batch: Batch, settings: PPCLSettings) -> list[torch.Tensor]:
    return [batch.labels[name] for name in settings.levels if name in batch.labels]


def _influence(module: Any, data: Batch, seed: int) -> dict[str, torch.Tensor]:
    """Clusters of the counts themselves, not of their logarithms, as in section 5.3 and the published code."""
    settings, names = module.settings, module.shape.number_names
    if settings.followers not in names:
        return {}
    place = names.index(settings.followers)
    known = (data.numbers[:, place] != 0).numpy()  # 0 is a missing one, or all are equal
    counts = module.user.powers.counts(data.numbers)[:, place].double().numpy()
    values, weights = np.unique(counts[known], return_counts=True)
    if len(values) < 2:
        return {}
    with threadpool_limits(1):  # of a few thousand numbers: a second thread would only wait
        centres = _centres(values, weights, settings.clusters, seed)
    levels = np.searchsorted((centres[1:] + centres[:-1]) / 2, counts)
    return {INFLUENCE: torch.from_numpy(np.where(known, levels, -1))}


def _centres(values: NDArray[np.float64], weights: NDArray[np.int64], levels: int, seed: int) -> NDArray[np.float64]:
    """k-means of the distinct values (n,), ascending: the same as of all of them, and no order of rows in it."""
    from sklearn.cluster import KMeans

    if levels >= len(values):
        return values
    means = KMeans(levels, random_state=seed, n_init=1).fit(values[:, None], sample_weight=weights)
    return np.unique(means.cluster_centers_[:, 0])
