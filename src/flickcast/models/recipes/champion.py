"""The champion: boosted trees on all feature groups and a few reductions, fused by what they do on unseen users."""

from flickcast.models.ensemble import Ensemble


class Champion(Ensemble):
    """No steps of its own yet."""
