"""InnerProductManipulation: a short step the wrong way."""

import torch

from phalanx.aggregators import Mean
from phalanx.attacks.update import InnerProductManipulation


def test_a_large_epsilon_turns_the_mean_around_and_a_small_one_does_not() -> None:
    honest = torch.randn(6, 10, generator=torch.Generator().manual_seed(0)) + 1
    centre = honest.mean(0)
    for epsilon, turned in ((3.5, True), (2.5, False)):  # f ε > h
        rows = torch.cat([InnerProductManipulation(epsilon)(honest, num_byzantine=2), honest])
        assert bool(Mean()(rows) @ centre < 0) is turned
