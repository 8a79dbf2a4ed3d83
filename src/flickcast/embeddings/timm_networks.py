"""Networks that timm builds: where their weights lie, and the encoder around one."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flickcast.embeddings.checkpoints import pull_command
from flickcast.embeddings.passes import device, in_passes, on_device, torch_threads
from flickcast.embeddings.protocol import Choice, Family, Kind, Sample, Vectors
from flickcast.errors import UserError

if TYPE_CHECKING:
    import torch

# What timm's repositories on the hub hold.
CONFIGURATION, WEIGHTS = FILES = ("config.json", "model.safetensors")
# Run by the user, on a file that the user trusts; with weights_only, torch unpickles nothing but tensors.
RECIPE = (
    'python -c "import sys, torch, safetensors.torch as s; '
    "w = torch.load(sys.argv[1], 'cpu', weights_only=True); w = w.get('params', w); "
    "s.save_file({k.removeprefix('module.'): v.clone().contiguous() for k, v in w.items()}, sys.argv[2])\" "
    "OLD.pth NEW.safetensors"
)
# Pictures per pass. `rows` of an encoder may be lowered where memory runs out.
_ROWS = {"cpu": 8, "cuda": 128}
_PREPROCESSING = ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Weights:
    """A safetensors file, the architecture it is for, and what timm's configuration says of the preprocessing."""

    encoder: str
    file: Path
    architecture: str
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    def fill(self, network: "torch.nn.Module", ignored: str | None = None) -> None:
        """Put the weights into the network, all but those below `ignored`. UserError if they are not this network's."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            found = load_file(self.file)
        except SafetensorError as error:
            raise UserError(
                f"{self.file} is no safetensors file ({error}). flickcast reads no pickle; `{RECIPE}` converts one."
            ) from None
        if ignored is not None:
            found = {name: tensor for name, tensor in found.items() if not name.startswith(f"{ignored}.")}
        if problem := _difference(network.state_dict(), found):
            raise UserError(f"{self.file} does not hold weights of {self.encoder} ({self.architecture}): {problem}.")
        network.load_state_dict(found)

    def digest(self) -> str:
        """SHA-256 of the file."""
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def find(name: str, choice: Choice, family: Family, architecture: str) -> Weights:
    """The encoder's weights on this machine, of `architecture` unless they say otherwise. UserError if not here.

    They are a folder or a cached repository in timm's layout, or one safetensors file, whose metadata may name
    another architecture.
    """
    if choice.weights is not None:
        local = choice.root / choice.weights
        if local.is_dir():
            return _configured(name, local / CONFIGURATION, local / WEIGHTS, architecture)
        if local.exists():
            return _single(name, local, architecture)
        if not _REPOSITORY.fullmatch(choice.weights) or local.suffix:
            raise UserError(f"embed.weights.{name} names {local}, which is not there. Correct the path in params.yaml.")
    repository = choice.weights or family.repository
    if repository is None:
        raise UserError(family.facts["bring"])
    configuration, weights = (_cached(repository, file) for file in FILES)
    if configuration is None or weights is None:
        raise UserError(
            f"The weights of encoder {name} ({repository}) are not here: fetch them with "
            f"{pull_command(name, choice.weights)}, or set embed.weights.{name} in params.yaml to the path of a "
            "local copy."
        )
    return _configured(name, configuration, weights, architecture)


def preprocessing(network: "torch.nn.Module", weights: Weights, **changes: Any) -> dict[str, Any]:
    """How timm prepares pictures for this network: its own rule, what the weights say, and then the changes."""
    from timm.data.config import resolve_data_config

    default: Any = network.pretrained_cfg
    return dict(resolve_data_config(pretrained_cfg={**default, **weights.preprocessing, **changes}))


class NetworkEncoder:
    """A network over pictures: timm's own preprocessing, then passes of one shape."""

    reads: tuple[Kind, ...] = ("picture",)

    def __init__(
        self,
        weights: Weights,
        network: "torch.nn.Module",
        apply: "Callable[[torch.Tensor], torch.Tensor]",
        dimension: int,
        data: dict[str, Any],
        choice: Choice,
    ) -> None:
        """`apply` takes the normalised pictures through the network, (n, 3, height, width) -> (n, dimension)."""
        import torch
        from timm.data.transforms_factory import create_transform

        self.name, self.dimension = weights.encoder, dimension
        settings = [weights.architecture, data, choice.number_type, dimension]
        self.weights_sha256 = weights.digest()
        stamp = self.weights_sha256 + json.dumps(settings, sort_keys=True)
        stamp += "compiled" if choice.compile else ""
        self.version = hashlib.sha256(stamp.encode()).hexdigest()[:16]
        self._device = device()
        self.rows = _ROWS[self._device]
        self._type = getattr(torch, choice.number_type)
        self._threads = choice.threads
        self._apply = torch.compile(apply) if choice.compile else apply
        network.eval().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in network.modules():
            # Norms, pooling and heads stay in float32: there sums lose the most.
            if isinstance(module, torch.nn.Conv2d):
                module.to(self._type)
        # As it comes out of timm with use_prefetcher: bytes, a quarter of the memory, normalised on the device.
        self._transform = create_transform(**data, use_prefetcher=True)
        self.shortest_edge: int | None = int(min(data["input_size"][1:]) / data["crop_pct"])
        self._mean, self._deviation = (
            (255 * torch.tensor(data[key], device=self._device)).view(1, 3, 1, 1) for key in ("mean", "std")
        )

    def prepare(self, sample: Sample) -> "torch.Tensor":
        """The picture resized and cropped, as bytes: (3, height, width)."""
        if sample.picture is None:
            raise ValueError(f"{self.name} reads pictures, and this post has none")
        pixels: torch.Tensor = self._transform(sample.picture)
        return pixels

    def encode(self, prepared: "Sequence[torch.Tensor]") -> Vectors:
        """One row per picture, float32; the same row whatever the others are."""
        import torch

        with torch.inference_mode(), torch_threads(self._threads):
            return in_passes(prepared, self.rows, self._pass, self.dimension)

    def _pass(self, prepared: "Sequence[torch.Tensor]") -> "torch.Tensor":
        """Exactly `rows` pictures through the network."""
        import torch

        pictures = (on_device(prepared, self._device).float() - self._mean) / self._deviation
        pictures = pictures.to(self._type, memory_format=torch.channels_last)
        return self._apply(pictures).float()


def pooled(network: Any) -> "Callable[[torch.Tensor], torch.Tensor]":
    """A network of timm from pictures to its head's output, pooled in float32."""
    return lambda pictures: network.forward_head(network.forward_features(pictures).float())


def _single(name: str, file: Path, architecture: str) -> Weights:
    from safetensors import SafetensorError, safe_open

    if file.suffix != ".safetensors":
        raise UserError(
            f"embed.weights.{name} names {file}, but flickcast reads weights as .safetensors only, as a pickle (.pth, "
            f".pt, .bin) can hold code; if you trust it, `{RECIPE}` converts it."
        )
    try:
        with safe_open(file, framework="numpy") as opened:
            architecture = (opened.metadata() or {}).get("architecture", architecture)
    except SafetensorError:
        pass  # Weights.fill says it
    return Weights(name, file, _known(file, architecture))


def _configured(name: str, configuration: Path, file: Path, architecture: str) -> Weights:
    if not (configuration.is_file() and file.is_file()):
        raise UserError(
            f"embed.weights.{name} names {file.parent}, which lacks {' or '.join(FILES)}. Correct params.yaml."
        )
    try:
        said = json.loads(configuration.read_bytes())
        told = said.get("pretrained_cfg", {})
        chosen = {key: told[key] for key in _PREPROCESSING if key in told}
        architecture = said.get("architecture", architecture)
    except (ValueError, AttributeError, TypeError):
        raise UserError(f"{configuration} is no configuration that timm has written.") from None
    return Weights(name, file, _known(configuration, architecture), chosen)


def _known(source: Path, architecture: object) -> str:
    """The architecture, if it is a plain name of timm's; its other names would reach for the network."""
    import timm

    if not isinstance(architecture, str) or ":" in architecture or not timm.is_model(architecture):
        raise UserError(f"{source} names the architecture {architecture!r}, which timm does not know.")
    return architecture


def _cached(repository: str, file: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, file)
    return Path(path) if isinstance(path, str) else None


def _difference(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """In what the found tensors are not the expected ones, in a few words; empty where they are."""
    for problem, names in (
        ("it lacks {} tensors, such as {}", [name for name in expected if name not in found]),
        ("it has {} tensors too many, such as {}", [name for name in found if name not in expected]),
        (
            "{} of its tensors have another shape, such as {}",
            [name for name in expected if name in found and expected[name].shape != found[name].shape],
        ),
    ):
        if names:
            return problem.format(len(names), names[0])
    return ""
