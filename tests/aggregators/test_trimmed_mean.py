"""TrimmedMean: every coordinate without its extremes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from phalanx.aggregators import Mean, TrimmedMean
from phalanx.core.errors import PreconditionError


def test_trimmed_mean_by_hand_drops_values_of_each_coordinate_not_whole_rows() -> None:
    rows = torch.tensor([[0.0, 50.0], [1.0, 1.0], [2.0, 3.0], [60.0, 2.0]])
    assert TrimmedMean(num_byzantine=1)(rows).tolist() == [1.5, 2.5]


@given(st.integers(0, 3), st.integers(1, 6), st.integers(1, 40), st.integers(0, 999))
def test_trimmed_mean_agrees_with_scipy(f: int, extra: int, d: int, seed: int) -> None:
    n = 2 * f + extra
    rows = torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = torch.from_numpy(stats.trim_mean(rows.numpy(), (f + 1e-9) / n, axis=0))
    torch.testing.assert_close(TrimmedMean(num_byzantine=f)(rows), expected)


def test_trimmed_mean_needs_more_than_twice_f_rows_and_counts_after_dropping() -> None:
    rows = torch.ones(5, 2)
    rows[0, 0] = torch.nan
    with pytest.raises(PreconditionError, match="TrimmedMean needs n > 2f updates; got n=4, f=2"):
        TrimmedMean(num_byzantine=2)(rows)


def test_trimmed_mean_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    rows[:6] = 1e4
    assert (Mean()(rows) - 1).abs().max() > 1e3
    assert (TrimmedMean(num_byzantine=6)(rows) - 1).abs().max() < 0.5
