"""FAME (Zhuang et al., MM'25): trees on everything, an autoencoder on vectors alone, in fixed weights.

"FAME: Fusion-Aware Multi-modal Ensemble for Social Media Popularity Prediction"; the autoencoder is
`networks/autoencoder.py`.
"""

from flickcast.models.ensemble import Ensemble


class Fame(Ensemble):
    """The paper has no steps beside its inputs, its learners and their weights."""
