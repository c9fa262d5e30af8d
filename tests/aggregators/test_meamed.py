"""MeaMed: the mean around the median."""

import torch

from phalanx.aggregators import MeaMed, Mean


def test_meamed_by_hand_takes_the_values_nearest_the_median_of_each_coordinate() -> None:
    rows = torch.tensor([[0.0, 9.0], [1.0, 1.0], [3.0, 2.0], [4.0, 3.0], [90.0, -80.0]])
    # medians 3 and 2; the four nearest: 0, 1, 3, 4 and 9, 1, 2, 3
    assert MeaMed(num_byzantine=1)(rows).tolist() == [2.0, 3.75]


def test_meamed_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    rows[:6] = 1e4
    assert (Mean()(rows) - 1).abs().max() > 1e3
    assert (MeaMed(num_byzantine=6)(rows) - 1).abs().max() < 0.2
