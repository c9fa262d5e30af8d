"""Median: the middle value of every coordinate."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import Mean, Median
from phalanx.core.errors import PreconditionError


def test_odd_and_even_medians_by_hand() -> None:
    assert Median()(torch.tensor([[3.0, -1.0], [1.0, 5.0], [99.0, 0.0]])).tolist() == [3.0, 0.0]
    assert Median()(torch.tensor([[3.0, -1.0], [1.0, 5.0], [99.0, 0.0], [4.0, 1.0]])).tolist() == [3.5, 0.5]


@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 999))
def test_median_agrees_with_numpy(n: int, d: int, seed: int) -> None:
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(Median()(rows).numpy(), np.median(rows.numpy(), axis=0), rtol=1e-6)


def test_the_middle_of_two_huge_values_is_finite() -> None:
    assert Median()(torch.tensor([[3e38], [3e38]])).item() == pytest.approx(3e38)


def test_median_needs_more_than_twice_f_rows() -> None:
    assert Median(num_byzantine=2)(torch.ones(5, 1)).item() == 1
    with pytest.raises(PreconditionError, match="Median needs n > 2f updates; got n=4, f=2"):
        Median(num_byzantine=2)(torch.ones(4, 1))


def test_median_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(11, 50, generator=torch.Generator().manual_seed(0))
    rows[:5] = -1e4
    assert (Mean()(rows) - 1).abs().max() > 1e3
    assert (Median()(rows) - 1).abs().max() < 0.5
