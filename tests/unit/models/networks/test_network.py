"""What every network has from its base, shown on the smallest one there is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from planted import Target, planted, without
from torch import nn

from flickcast.errors import LeftOutError
from flickcast.models.design import Design
from flickcast.models.networks.inputs import Batch, Scaling, Shape
from flickcast.models.networks.network import NetworkLearner, NetworkSettings

ROWS = 300
DESIGN, TARGET = planted(ROWS)
HELD = planted(ROWS, seed=1)


class SmallSettings(NetworkSettings):
    learning_rate: float = 0.01
    batch_size: int = 64


class SmallModule(nn.Module):
    """All inputs side by side, one hidden layer with batch norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.categories = nn.ModuleList(nn.Embedding(size, 4) for size in shape.sizes)
        self.names = list(shape.widths)
        wide = len(shape.number_names) + 4 * len(shape.sizes) + sum(shape.widths.values())
        self.dense = nn.Sequential(nn.Linear(wide, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, batch: Batch) -> torch.Tensor:
        categories = [known(batch.codes[:, place]) for place, known in enumerate(self.categories)]
        vectors = [batch.vectors[name] for name in self.names]
        return self.dense(torch.cat([batch.numbers, *categories, *vectors], dim=1))[:, 0]


class Small(NetworkLearner):
    settings = SmallSettings

    @staticmethod
    def build(shape: Shape, settings: Any) -> nn.Module:
        return SmallModule(shape)


def fit(design: Design = DESIGN, target: Target = TARGET, seed: int = 0, own: dict[str, Any] | None = None, **how: Any):
    how = {"iterations": 20, "threads": 1, **how}
    return Small.fit(design, target, settings=SmallSettings(**own or {}), seed=seed, **how)


def error(fitted: Small) -> float:
    return float(np.abs(fitted.predict(HELD[0]) - HELD[1]).mean())


def test_learns() -> None:
    assert error(fit()) < 0.3 * np.abs(HELD[1] - TARGET.mean()).mean()


def test_loaded_network_predicts_the_same_whatever_its_vectors_are_called() -> None:
    """Facts are stored with sorted keys: a module built in another order would read the wrong vectors."""
    renamed = replace(DESIGN, vectors={"z": DESIGN.vectors["picture"], "a": DESIGN.vectors["text"]})
    for design in (DESIGN, renamed):
        fitted = fit(design)
        loaded = Small.from_bytes(fitted.to_bytes())
        np.testing.assert_array_equal(loaded.predict(design), fitted.predict(design))
        assert loaded.to_bytes() == fitted.to_bytes()
        assert (loaded.iterations, loaded.importances()) == (20, fitted.importances())


def test_row_says_the_same_alone_among_others_and_at_any_place() -> None:
    fitted = fit()
    said = fitted.predict(DESIGN)
    many = np.resize(np.arange(ROWS), 5 * ROWS)
    np.testing.assert_array_equal(fitted.predict(DESIGN.take(many)), said[many])
    np.testing.assert_array_equal(fitted.predict(DESIGN.take(np.array([7]))), said[7:8])


def test_predictions_do_not_depend_on_the_threads_that_are_free() -> None:
    fitted, before = fit(), torch.get_num_threads()
    said = fitted.predict(DESIGN)
    torch.set_num_threads(2)
    np.testing.assert_array_equal(fitted.predict(DESIGN), said)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_fit_leaves_torch_as_it_was() -> None:
    state, strict = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    fit(iterations=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.are_deterministic_algorithms_enabled() == strict


def test_stops_at_the_best_pass_and_keeps_its_weights() -> None:
    fitted = fit(iterations=None, validation=(HELD[0], np.random.default_rng(0).permutation(HELD[1])))
    assert fitted.iterations < 15
    assert fitted.to_bytes() == fit(iterations=fitted.iterations).to_bytes()


def test_row_of_weight_0_teaches_nothing_and_of_weight_2_counts_twice() -> None:
    module = SmallModule(Scaling.fit(DESIGN).shape).eval()
    batch = Scaling.fit(DESIGN).batch(DESIGN).take(torch.arange(3))
    batch.target = torch.tensor([1.0, 2.0, 3.0])
    each = (module(batch) - batch.target) ** 2
    batch.weights = torch.tensor([0.0, 1.0, 2.0])
    torch.testing.assert_close(Small.loss(module, batch, None), (each[1] + 2 * each[2]) / 3)
    poisoned = np.where(np.arange(ROWS) < 30, 1e3, TARGET)
    assert error(fit(target=poisoned, weights=np.where(np.arange(ROWS) < 30, 1e-9, 1.0))) < 0.2 * error(
        fit(target=poisoned)
    )


def test_vectors_and_columns_are_read_as_the_settings_say() -> None:
    fitted = fit(own={"vectors": ["text"], "numbers": False})
    assert set(fitted.importances()) == {"kind", "text"}
    other = replace(DESIGN, vectors={"text": DESIGN.vectors["text"]}, numbers=np.zeros_like(DESIGN.numbers))
    np.testing.assert_array_equal(fitted.predict(other), fitted.predict(DESIGN))


def test_importances_tell_signal_from_noise() -> None:
    shares = fit().importances()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["noise"] < 0.2 * min(share for name, share in shares.items() if name != "noise")


@pytest.mark.parametrize("rows", [1, 2, 10, 65, 129])
def test_few_rows_and_a_last_batch_of_one(rows: int) -> None:
    fitted = fit(DESIGN.take(np.arange(rows)), TARGET[:rows], iterations=3)
    assert np.isfinite(fitted.predict(DESIGN)).all()


@pytest.mark.parametrize("rows", [1, 2, 64, 65, 66, 129])
def test_every_row_is_in_one_batch_and_no_batch_is_of_one_row(rows: int) -> None:
    data = Scaling.fit(DESIGN).batch(DESIGN.take(np.arange(rows)))
    drawn = list(Small.batches(data, SmallSettings(), torch.Generator().manual_seed(0)))
    assert set(torch.cat(drawn).tolist()) == set(range(rows))
    assert min(map(len, drawn)) > 1
    assert sum(map(len, drawn)) == max(rows, 2)


@pytest.mark.parametrize("label", [6.1, 0.0])
def test_equal_labels_give_that_label(label: float) -> None:
    fitted = fit(target=np.full(ROWS, label), iterations=40, own={"learning_rate": 0.02})
    np.testing.assert_allclose(fitted.predict(DESIGN), label, atol=0.2)


@pytest.mark.parametrize("missing", [["numbers"], ["codes"], ["vectors"], ["codes", "vectors"]])
def test_whole_parts_may_be_missing(missing: list[str]) -> None:
    design = without(DESIGN, *missing)
    fitted = fit(design)
    loaded = Small.from_bytes(fitted.to_bytes())
    assert np.isfinite(fitted.predict(design)).all()
    np.testing.assert_array_equal(loaded.predict(design), fitted.predict(design))


def test_nothing_to_read_is_one_sentence() -> None:
    with pytest.raises(LeftOutError, match="nothing that it could read"):
        fit(own={"vectors": [], "numbers": False, "categories": False})


def test_constant_infinite_and_huge_columns_do_no_harm() -> None:
    odd = np.column_stack([np.full(ROWS, 3.3), np.full(ROWS, np.nan), np.full(ROWS, 1e38), np.arange(ROWS) * 1e35])
    odd[::7, 3] = np.inf
    names = ["constant", "absent", "large", "huge"]
    design = replace(DESIGN, numbers=np.hstack([DESIGN.numbers, odd.astype(np.float32)]))
    fitted = fit(replace(design, number_names=[*DESIGN.number_names, *names]))
    shares = fitted.importances()
    assert shares["constant"] == shares["absent"] == shares["large"] == 0
    assert np.isfinite(fitted.predict(design)).all()
    far = np.full((2, 6), [[np.inf], [-3e38]], np.float32)
    assert np.isfinite(fitted.predict(replace(design.take(np.arange(2)), numbers=far))).all()


def test_unknown_category_is_taken_for_a_usual_one() -> None:
    """The training rows have no rare category, so nothing but hiding some teaches what to say of one."""
    codes = np.maximum(DESIGN.codes, 1)
    alone = without(replace(DESIGN, codes=codes), "numbers", "vectors")
    fitted = fit(alone, target=4.0 * codes[:, 0], iterations=60, own={"hidden_share": 0.1})
    new = replace(alone.take(np.arange(2)), codes=np.array([[0], [99]], np.int32))
    np.testing.assert_allclose(fitted.predict(new), 4.0 * codes.mean(), atol=2.5)


def test_vectors_the_network_knows_but_the_rows_lack_count_as_missing() -> None:
    fitted = fit()
    holes = {name: np.full_like(values, np.nan) for name, values in DESIGN.vectors.items()}
    np.testing.assert_array_equal(
        fitted.predict(without(DESIGN, "vectors")), fitted.predict(replace(DESIGN, vectors=holes))
    )


def test_inputs_are_standardised_with_zeros_for_holes() -> None:
    numbers = np.array([[1, np.nan], [3, 5], [1e6, 5]], np.float32)
    design = Design(
        numbers, np.array([[-1], [0], [2]], np.int32), ["a", "b"], ["c"], {"v": np.array([[np.nan], [1], [2]])}
    )
    scaling = Scaling.fit(design.take(np.arange(2)))
    batch = scaling.batch(design)
    assert batch.numbers.tolist() == [[-1, 0], [1, 0], [10, 0]]
    assert (scaling.shape.sizes, batch.codes[:, 0].tolist()) == ([2], [0, 1, 1])
    assert (batch.vectors["v"][:, 0].tolist(), batch.has["v"].tolist()) == ([0, 1, 2], [0, 1, 1])
