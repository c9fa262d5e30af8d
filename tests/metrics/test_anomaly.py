"""Neural Cleanse's anomaly index: the outlier among the sizes of triggers."""

import math

import pytest
import torch

from phalanx.metrics import anomaly_index


def test_by_hand_below_the_median_is_positive_and_above_it_negative():
    """Median 30, deviations 0, 1, 1, 2, 25: their median is 1, times 1.4826."""
    found = anomaly_index(torch.tensor([30.0, 31.0, 29.0, 32.0, 5.0]))
    torch.testing.assert_close(found, torch.tensor([0.0, -1.0, 1.0, -2.0, 25.0]) / 1.4826)


def test_normal_sizes_have_the_index_of_their_standard_deviations():
    sizes = 50 + 4 * torch.randn(20_001, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(anomaly_index(sizes).std(), torch.tensor(1.0), atol=0.03, rtol=0)


def test_classes_without_a_trigger_take_no_part():
    known = torch.tensor([30.0, 31.0, 29.0, 5.0])
    some = anomaly_index(torch.tensor([30.0, math.nan, 31.0, 29.0, 5.0]))
    assert some[1].isnan()
    torch.testing.assert_close(some[[0, 2, 3, 4]], anomaly_index(known))


def test_equal_sizes_are_no_outliers_and_one_among_them_is_infinitely_far():
    assert anomaly_index(torch.full((4,), 7.0)).tolist() == [0, 0, 0, 0]
    assert anomaly_index(torch.tensor([7.0, 7.0, 7.0, 2.0])).tolist() == [0, 0, 0, math.inf]


@pytest.mark.parametrize("sizes", [[], [math.nan, math.nan]])
def test_no_sizes_have_no_index(sizes):
    assert anomaly_index(torch.tensor(sizes)).isnan().all()
