"""Passes of one shape: filled up, cut again, and waited for only at the end."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from flickcast.embeddings.passes import in_passes, on_device


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_each_pass_has_its_rows_and_each_post_its_own(count: int) -> None:
    seen: list[int] = []

    def run(some: Sequence[Any]) -> torch.Tensor:
        seen.append(len(some))
        return torch.tensor(some, dtype=torch.float32).reshape(-1, 1) * 2

    found = in_passes(list(range(count)), 4, run, 1)
    assert found.dtype == np.float32
    assert found.tolist() == [[2.0 * number] for number in range(count)]
    assert set(seen) <= {4}


def test_nothing_is_waited_for_before_the_last_pass_is_on_its_way() -> None:
    order: list[str] = []

    class Pending(torch.Tensor):
        def cpu(self, *arguments: Any, **options: Any) -> torch.Tensor:
            order.append("waits")
            return self.as_subclass(torch.Tensor)

    def run(some: Sequence[Any]) -> torch.Tensor:
        order.append("starts")
        return torch.ones(len(some), 1).as_subclass(Pending)

    in_passes(list(range(6)), 2, run, 1)
    assert order == ["starts"] * 3 + ["waits"] * 3


def test_tensors_are_stacked_in_their_own_number_type() -> None:
    some = [torch.full((3, 2), number, dtype=torch.uint8) for number in range(5)]
    stacked = on_device(some, "cpu")
    assert stacked.dtype == torch.uint8
    assert torch.equal(stacked, torch.stack(some))
