"""Intrinsic popularity (IIPA): one number, what the picture alone adds to a post's popularity on Instagram.

Ding, Ma and Wang, "Intrinsic Image Popularity Assessment" (ACM MM 2019): a ResNet-50 with one output, which Ding, Wang
and Wang (2019) take as a feature. The authors' weights are a pickle, so the user brings a converted copy.
"""

from typing import Any

from flickcast.embeddings.protocol import Choice, Encoder, Family
from flickcast.embeddings.timm_networks import RECIPE, NetworkEncoder, find, pooled, preprocessing

NAME = "iipa-picture"


def build(name: str, choice: Choice) -> Encoder:
    """The network with its one output. UserError if the user's weights are not here."""
    import timm

    weights = find(name, choice, FAMILIES[name], "resnet50")
    network: Any = timm.create_model(weights.architecture, num_classes=1)
    weights.fill(network)
    # As in the authors' test.py (seen 2026-11-22): both sides scaled to 224, numbers from 0 to 1, no normalisation.
    data = preprocessing(
        network,
        weights,
        input_size=(3, 224, 224),
        interpolation="bilinear",
        crop_mode="squash",
        crop_pct=1.0,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    return NetworkEncoder(weights, network, pooled(network), 1, data, choice)


FAMILIES = {
    NAME: Family(
        build,
        meaning="intrinsic popularity: what the picture alone would bring on Instagram",
        facts={
            "reads": ("picture",),
            "dimension": 1,
            "columns": ("intrinsic_popularity",),
            "bring": f"The weights of encoder {NAME} are not here, and `flickcast encoders pull {NAME}` cannot fetch "
            f"them: their authors offer a pickle only (model-resnet50.pth, see "
            f"https://github.com/dingkeyan93/Intrinsic-Image-Popularity). Convert it with `{RECIPE}` and set "
            f"embed.weights.{NAME} in params.yaml to the path of NEW.safetensors.",
        },
    )
}
