"""ResNet-101, as Ding, Wang and Wang (2019) read pictures: the 2048 numbers before its last layer."""

from typing import Any

from flickcast.embeddings.protocol import Choice, Encoder, Family
from flickcast.embeddings.timm_networks import FILES, NetworkEncoder, find, pooled, preprocessing


def build(name: str, choice: Choice) -> Encoder:
    """The network without its classes. UserError if its weights are not here."""
    import timm

    weights = find(name, choice, FAMILIES[name], "resnet101")
    network: Any = timm.create_model(weights.architecture, num_classes=0)
    weights.fill(network, ignored=network.pretrained_cfg["classifier"])
    data = preprocessing(network, weights)
    return NetworkEncoder(weights, network, pooled(network), network.head_hidden_size, data, choice)


FAMILIES = {
    "resnet101-picture": Family(
        build,
        # Trained on ImageNet-1k by the recipe A1h of "ResNet strikes back"; Apache 2.0.
        repository="timm/resnet101.a1h_in1k",
        files=FILES,
        meaning="what ResNet-101 sees: 2048 pooled features, trained on ImageNet",
        facts={"reads": ("picture",), "dimension": 2048},
    )
}
