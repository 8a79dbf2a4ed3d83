"""PPCL (Zhang, Qiu and Xie 2024): one network that learns what posts have in common beside what they show.

"Contrastive Learning for Implicit Social Factors in Social Media Popularity Prediction"; the network is
`networks/ppcl.py`.
"""

from flickcast.models.ensemble import Ensemble


class PPCL(Ensemble):
    """The paper's steps are those of its network: losses, views, batches."""
