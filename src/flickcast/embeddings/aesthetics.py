"""Aesthetics (NIMA): mean and spread of the scores from 1 to 10 that people would give a picture.

Talebi and Milanfar, "NIMA: Neural Image Assessment" (2018): a network for pictures, pooled, and ten classes. Built over
timm in the layout of pyiqa 0.1.16, so that its published weights fit once they are converted. pyiqa itself is not used
(looked at on 2026-11-22): it loads its weights with `torch.load(weights_only=False)`, which runs code from the file;
its licence (PolyForm Noncommercial) forbids commercial use; and it brings 27 packages, among them bitsandbytes,
datasets, openai-clip, pytest and pre-commit.
"""

from typing import TYPE_CHECKING, Any

from flickcast.embeddings.protocol import Choice, Encoder, Family
from flickcast.embeddings.timm_networks import RECIPE, NetworkEncoder, find, preprocessing

if TYPE_CHECKING:
    import torch

NAME = "nima-picture"
_SCORES = 10


def network_of(architecture: str) -> "torch.nn.Module":
    """NIMA over a network of timm, with random weights."""
    import timm
    import torch

    base: Any = timm.create_model(architecture, features_only=True)
    classes = torch.nn.Linear(base.feature_info.channels()[-1], _SCORES)
    # Flatten and Identity have no weights: they keep the place that pyiqa's files give the classes, classifier.2.
    classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Identity(), classes, torch.nn.Softmax(dim=1))
    return torch.nn.ModuleDict({"base_model": base, "classifier": classifier})


def build(name: str, choice: Choice) -> Encoder:
    """The network and its two numbers. UserError if the user's weights are not here."""
    import torch

    weights = find(name, choice, FAMILIES[name], "inception_resnet_v2")
    network: Any = network_of(weights.architecture)
    weights.fill(network)

    def apply(pictures: torch.Tensor) -> torch.Tensor:
        features = network["base_model"](pictures)[-1].float()  # (n, channels, height, width)
        return moments(network["classifier"](features.mean((2, 3))))

    # As pyiqa prepares them: the short side scaled to the network's size, then the middle.
    data = preprocessing(network["base_model"], weights, interpolation="bilinear", crop_mode="center", crop_pct=1.0)
    return NetworkEncoder(weights, network, apply, 2, data, choice)


def moments(shares: "torch.Tensor") -> "torch.Tensor":
    """Mean and standard deviation of the scores 1 to 10, from the share of each: (n, 10) -> (n, 2)."""
    import torch

    scores = torch.arange(1, _SCORES + 1, device=shares.device, dtype=shares.dtype)
    mean = (shares * scores).sum(1, keepdim=True)
    variance = (shares * (scores - mean) ** 2).sum(1, keepdim=True)
    return torch.cat([mean, variance.sqrt()], 1)


FAMILIES = {
    NAME: Family(
        build,
        meaning="aesthetics: mean and standard deviation of the scores 1 to 10 (NIMA)",
        facts={
            "reads": ("picture",),
            "dimension": 2,
            "columns": ("aesthetic_mean", "aesthetic_deviation"),
            "bring": f"The weights of encoder {NAME} are not here, and `flickcast encoders pull {NAME}` cannot fetch "
            f"them: they are published as a pickle only (NIMA_InceptionV2_ava-b0c77c00.pth, not for commercial use, "
            f"see https://huggingface.co/chaofengc/IQA-PyTorch-Weights). Convert it with `{RECIPE}` and set "
            f"embed.weights.{NAME} in params.yaml to the path of NEW.safetensors.",
        },
    )
}
