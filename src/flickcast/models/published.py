"""What the papers report of leaving a part out, and of one part alone: to stand beside our own figures.

All are of SMPD-Image: other posts than a workspace's, so what compares is the order of the parts, not the figures.
"""

from typing import NamedTuple


class Figures(NamedTuple):
    """SRC and MAE."""

    src: float
    mae: float


WHOLE = ""  # the recipe with all its parts

ABLATIONS: dict[str, dict[str, Figures]] = {
    "ding2019": {  # Tables 1 and 3, time split; text and visual: the deep feature alone was left out
        WHOLE: Figures(0.649, 1.420),
        "user": Figures(0.501, 1.688),
        "text": Figures(0.631, 1.431),
        "visual": Figures(0.640, 1.423),
        "tag_count": Figures(0.650, 1.418),
    },
    "hyperfusion": {  # Table 1, validation set
        WHOLE: Figures(0.7324, 1.2402),
        "visual": Figures(0.6916, 1.3503),
        "text": Figures(0.7196, 1.2663),
        "place": Figures(0.7294, 1.2445),
        "pseudo-labels": Figures(0.7287, 1.2774),
        "filter": Figures(0.7249, 1.2785),
        "folds": Figures(0.7290, 1.2773),
    },
    "fame": {  # Table 2, official split
        WHOLE: Figures(0.7543, 1.1607),
        "catboost": Figures(0.7360, 1.2091),
        "lightgbm": Figures(0.7461, 1.1845),
        "autogluon": Figures(0.7475, 1.1809),
        "autoencoder": Figures(0.7511, 1.1711),
    },
}

# Ding 2019, Table 2: its network given one feature, time split. By theme, or by column of the matrix.
ALONE: dict[str, Figures] = {
    "user": Figures(0.558, 1.521),
    "visual": Figures(0.320, 1.842),
    "text": Figures(0.395, 1.775),
    "time+place": Figures(0.101, 1.942),
    "tag_count": Figures(0.338, 1.860),
    "title_chars": Figures(0.128, 1.954),
}
