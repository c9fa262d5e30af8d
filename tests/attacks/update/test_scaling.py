"""Scaling: own rows times a factor."""

import pytest
import torch

from phalanx.attacks.update import Scaling
from phalanx.core.errors import ConfigError
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


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf")])
def test_factors_that_do_something_else_are_refused(factor: float) -> None:
    with pytest.raises(ConfigError, match="factor"):
        Scaling(factor)
