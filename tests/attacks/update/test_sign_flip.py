"""SignFlip: own rows, turned around."""

import pytest
import torch

from phalanx.attacks.update import SignFlip
from phalanx.core.errors import ConfigError
from phalanx.core.types import AttackView, RoundContext


def test_each_attacker_turns_its_own_row_around() -> None:
    own = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    view = AttackView(own=own, own_clean=lambda: own, num_updates=5)
    crafted, _ = SignFlip(4.0).craft(view, {}, RoundContext.for_matrix(own))
    assert crafted.rows.tolist() == [[-4, 8], [0, -12]]
    assert own.tolist() == [[1, -2], [0, 3]]


def test_enough_scale_turns_the_mean_of_the_round_around() -> None:
    honest = torch.randn(8, 50, generator=torch.Generator().manual_seed(0)) * 0.1 + 1
    mean = honest.mean(0)
    for scale, sign in ((3.0, 1), (5.0, -1)):
        attacked = torch.cat([honest, SignFlip(scale)(honest, num_byzantine=2)]).mean(0)
        torch.testing.assert_close(attacked, mean * (8 - 2 * scale) / 10)
        assert (torch.dot(attacked, mean) > 0) == (sign > 0)


def test_a_scale_that_flips_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="scale"):
        SignFlip(0.0)
