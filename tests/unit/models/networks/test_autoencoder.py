"""FAME's autoencoder: its equations, what each phase fits, and where noise falls."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from planted import planted, without

from flickcast.errors import LeftOutError
from flickcast.models.networks.autoencoder import Autoencoder, AutoencoderSettings, DenoisingAutoencoder, Noise
from flickcast.models.networks.inputs import Batch, Scaling

DESIGN, TARGET = planted(300)
VECTORS = without(DESIGN, "numbers", "codes")
SMALL: dict[str, Any] = {"code": 8, "hidden_units": 6, "predictor_units": 8, "first_passes": 3, "batch_size": 64}
ENCODER = ("normalised", "encoder", "decoder", "perceptron")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # more only wait for each other on so few rows
    yield
    torch.set_num_threads(before)


def batch() -> Batch:
    data = Scaling.fit(VECTORS).batch(VECTORS)
    data.target = torch.from_numpy(((TARGET - TARGET.mean()) / TARGET.std()).astype(np.float32))
    return data


def module(**own: Any) -> DenoisingAutoencoder:
    torch.manual_seed(0)
    return DenoisingAutoencoder(Scaling.fit(VECTORS).shape.widths, AutoencoderSettings(**{**SMALL, **own}))


def weights(of: DenoisingAutoencoder, parts: tuple[str, ...]) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in of.state_dict().items() if name.startswith(parts)}


def train(of: DenoisingAutoencoder, phase: int, passes: int = 3) -> None:
    of.enter(phase)
    optimiser = torch.optim.Adam([one for one in of.parameters() if one.requires_grad], lr=0.01)
    for _ in range(passes):
        of.train()
        optimiser.zero_grad()
        Autoencoder.loss(of, batch(), None).backward()
        optimiser.step()


def unchanged(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, after[name]) for name, value in before.items())


def test_noise_has_its_deviation_in_training_and_is_none_otherwise() -> None:
    values, noise = torch.zeros(200, 500), Noise(0.1)
    torch.manual_seed(0)
    assert noise(values).std().item() == pytest.approx(0.1, rel=0.02)
    assert torch.equal(noise.eval()(values), values)


def test_code_is_noisy_in_training_alone() -> None:
    trained, inputs = module(), torch.ones(4, 11)
    trained.enter(2)
    trained.train()
    assert not torch.equal(trained.coded(inputs), trained.coded(inputs))
    trained.eval()
    assert torch.equal(trained.coded(inputs), trained.coded(inputs))
    silent = module(noise=0.0)
    silent.enter(2)
    silent.train()
    assert torch.equal(silent.coded(inputs), silent.coded(inputs))


def test_phase_one_leaves_the_predictor_alone() -> None:
    trained = module()
    predictor, encoder = weights(trained, ("predictor",)), weights(trained, ENCODER)
    train(trained, phase=1)
    assert unchanged(predictor, weights(trained, ("predictor",)))
    assert all(not torch.equal(value, weights(trained, ENCODER)[name]) for name, value in encoder.items())


def test_phase_two_leaves_encoder_and_its_statistics_frozen() -> None:
    trained = module()
    train(trained, phase=1)
    predictor, encoder = weights(trained, ("predictor",)), weights(trained, ENCODER)
    train(trained, phase=2)
    assert unchanged(encoder, weights(trained, ENCODER))
    assert not unchanged(predictor, weights(trained, ("predictor",)))


def test_equations_by_hand() -> None:
    """Equations 1 to 5 and 6 to 9 in numpy, without noise and dropout, which are off outside training."""
    trained, data = module().eval(), batch()
    trained.sizes.copy_(torch.tensor([2.0, 0.5]))
    held = {name: value.double().numpy() for name, value in trained.state_dict().items()}
    given = np.column_stack([data.vectors["picture"] / 2, data.vectors["text"] * 2]).astype(np.float64)

    def dense(values: Any, name: str) -> Any:
        return values @ held[f"{name}.weight"].T + held[f"{name}.bias"]

    def normal(values: Any, name: str) -> Any:
        centred = (values - held[f"{name}.running_mean"]) / np.sqrt(held[f"{name}.running_var"] + 1e-5)
        return centred * held[f"{name}.weight"] + held[f"{name}.bias"]

    code = np.maximum(dense(normal(given, "normalised"), "encoder"), 0)
    decoded = np.maximum(dense(code, "decoder"), 0)
    first = dense(normal(np.maximum(dense(decoded, "perceptron.0"), 0), "perceptron.2"), "perceptron.4")[:, 0]
    second = np.column_stack([code, given])
    for layer in ("predictor.0", "predictor.3", "predictor.6"):
        second = dense(second, layer)
    target = data.target.double().numpy()
    with torch.no_grad():
        trained.enter(1)
        error = np.abs(first - target) + np.abs(decoded - given).mean(axis=1)
        np.testing.assert_allclose(trained(data), first, atol=1e-5)
        np.testing.assert_allclose(trained.errors(data), error, atol=1e-5)
        trained.enter(2)
        np.testing.assert_allclose(trained(data), second[:, 0], atol=1e-5)
        np.testing.assert_allclose(trained.errors(data), np.abs(second[:, 0] - target), atol=1e-5)


def test_rebuilding_gets_better_in_phase_one() -> None:
    """What is below 0 cannot be rebuilt by equation 3: half of numbers that lie around 0."""
    trained, inputs = module(dropout=0.0, code=32), module().inputs(batch())
    positive = inputs > 0

    def error() -> float:
        return (trained.eval().rebuilt(inputs) - inputs)[positive].abs().mean().item()

    before = error()
    train(trained, phase=1, passes=300)
    assert error() < 0.65 * before


def test_size_of_an_encoders_numbers_makes_no_difference() -> None:
    small = {name: values * np.float32(2.0**-5) for name, values in DESIGN.vectors.items()}
    one, other = (
        Autoencoder.fit(design, TARGET, settings=AutoencoderSettings(**SMALL), seed=0, threads=1, iterations=3)
        for design in (DESIGN, DESIGN.__class__(**{**vars(DESIGN), "vectors": small}))
    )
    assert one.module.sizes[0].item() == pytest.approx(32 * other.module.sizes[0].item())
    changed = DESIGN.__class__(**{**vars(DESIGN), "vectors": small})
    np.testing.assert_allclose(one.predict(DESIGN), other.predict(changed), atol=1e-4)


def test_reads_vectors_alone() -> None:
    fitted = Autoencoder.fit(
        DESIGN, TARGET, settings=AutoencoderSettings(**SMALL), seed=0, threads=1, validation=(DESIGN, TARGET)
    )
    assert set(fitted.importances()) == {"picture", "text"}
    np.testing.assert_array_equal(fitted.predict(DESIGN), fitted.predict(VECTORS))


def test_has_a_reason_to_be_left_out_without_vectors() -> None:
    with pytest.raises(LeftOutError, match="nothing that it could read"):
        Autoencoder.fit(without(DESIGN, "vectors"), TARGET, settings=AutoencoderSettings(), seed=0, threads=1)


def test_phase_one_has_its_own_passes_and_batches() -> None:
    first = AutoencoderSettings().first()
    assert (first.max_iterations, first.patience, first.batch_size) == (100, 10, 256)
