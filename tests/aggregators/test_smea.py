"""SMEA: the mean of the n − f updates that vary least along any direction."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import SMEA, Mean
from phalanx.core.errors import PreconditionError


@given(st.integers(0, 2), st.integers(2, 4), st.integers(0, 999))
def test_smea_agrees_with_the_covariance_of_every_subset(f: int, extra: int, seed: int) -> None:
    n = 2 * f + extra
    rows = torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    def spread(kept: tuple[int, ...]) -> float:
        return float(torch.linalg.eigvalsh(torch.cov(rows[list(kept)].T, correction=0))[-1])

    best = min(combinations(range(n), n - f), key=spread)
    torch.testing.assert_close(SMEA(num_byzantine=f)(rows), rows[list(best)].mean(dim=0))


def test_too_many_subsets_are_an_error_that_names_a_way_out() -> None:
    with pytest.raises(
        PreconditionError, match=r"SMEA tries C\(n, f\) <= 200,000 subsets; got n=40, f=10: 847,660,528. Take CAF"
    ):
        SMEA(num_byzantine=10)(torch.ones(40, 2))


def test_smea_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(14, 50, generator=torch.Generator().manual_seed(0))
    rows[:4] = 1e4
    assert (Mean()(rows) - 1).abs().max() > 1e3
    assert (SMEA(num_byzantine=4)(rows) - 1).abs().max() < 0.2
