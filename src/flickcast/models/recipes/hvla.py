"""HVLA (Tu et al., MM'24): CatBoost and LightGBM on all that is known of post and user, captions among it.

"Higher-Order Vision-Language Alignment for Social Media Prediction"; its weight is `fusion.one_lambda`.
"""

from flickcast.models.ensemble import Ensemble


class Hvla(Ensemble):
    """The paper has no steps beside its inputs, its learners and the lambda between them."""
