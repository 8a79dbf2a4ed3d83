"""The champion: boosted trees and a network on all feature groups and some reductions, and a line through three of
these, weighed on unseen users."""

from flickcast.models.ensemble import Ensemble


class Champion(Ensemble):
    """No steps of its own yet."""
