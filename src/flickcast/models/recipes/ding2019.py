"""Ding, Wang and Wang (ACM MM 2019): one network over a picture vector, a text vector and ten numbers.

"Social Media Popularity Prediction: A Multiple Feature Fusion Approach with Deep Neural Networks"; the network is
`networks/ding.py`.
"""

from flickcast.models.ensemble import Ensemble


class Ding2019(Ensemble):
    """The paper has no steps beside its inputs and its network."""
