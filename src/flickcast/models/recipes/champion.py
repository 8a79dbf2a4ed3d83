"""The champion: boosted trees, a network and a ridge regression on few numbers, weighed on unseen users."""

from flickcast.models.ensemble import Ensemble


class Champion(Ensemble):
    """No steps of its own yet."""
