"""Scaling: own rows times a factor."""

import pytest
import torch
from torch import nn

from phalanx.attacks.update import Scaling
from phalanx.core.errors import ConfigError
from phalanx.core.params import Layout, flatten
from phalanx.core.types import AttackView, RoundContext


def test_each_attacker_enlarges_its_own_row() -> None:
    own = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    view = AttackView(own=own, own_clean=lambda: own / 0, num_updates=5)
    crafted, _ = Scaling(10.0).craft(view, {}, RoundContext.for_matrix(own))
    assert crafted.rows.tolist() == [[10, -20], [0, 30]]
    assert own.tolist() == [[1, -2], [0, 3]]


def test_the_mean_follows_the_attacker() -> None:
    honest = torch.tensor([[1.0, 0.0]]).repeat(9, 1)
    own = torch.tensor([[0.0, 1.0]])
    view = AttackView(own=own, own_clean=lambda: own, num_updates=10)
    crafted, _ = Scaling(100.0).craft(view, {}, RoundContext.for_matrix(own))
    mean = torch.cat([honest, crafted.rows]).mean(0)
    assert mean[1] > 10 * mean[0]


def test_statistics_are_as_much_farther_from_the_global_ones() -> None:
    model = nn.BatchNorm1d(2)
    params, _ = flatten(model)
    context = RoundContext(0, 0, Layout.of(model), params, torch.tensor([0.0, 1.0, 1.0, 2.0]), model=model)
    own, statistics = torch.ones(1, 4), torch.tensor([[1.0, 1.0, 0.5, 4.0]])
    view = AttackView(own=own, own_clean=lambda: own, num_updates=5, own_buffers=statistics)
    crafted, _ = Scaling(10.0).craft(view, {}, context)
    assert crafted.buffers is not None
    assert crafted.buffers.tolist() == [[10, 1, -4, 22]]
    assert statistics.tolist() == [[1, 1, 0.5, 4]]


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf")])
def test_factors_that_do_something_else_are_refused(factor: float) -> None:
    with pytest.raises(ConfigError, match="factor"):
        Scaling(factor)
