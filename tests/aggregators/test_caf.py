"""CAF: covariance-bound agnostic filtering."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import CAF, Mean


def slow(rows: torch.Tensor, f: int) -> torch.Tensor:
    """The algorithm with the d × d covariance written out."""
    n, weights = len(rows), torch.ones(len(rows), dtype=torch.float64)
    best, smallest = None, float("inf")
    while weights.sum() > n - 2 * f or best is None:
        shares = weights / weights.sum()
        mean = shares @ rows
        covariance = (rows - mean).T @ torch.diag(shares) @ (rows - mean)
        values, vectors = torch.linalg.eigh(covariance)
        if values[-1] < smallest:
            best, smallest = mean, float(values[-1])
        if f == 0:
            break
        projections = ((rows - mean) @ vectors[:, -1]).square()
        weights = weights * (1 - projections / projections[weights > 0].max()).clamp(min=0)
    return best


@given(st.integers(0, 3), st.integers(2, 5), st.integers(2, 5), st.integers(0, 999))
def test_caf_agrees_with_the_covariance_written_out(f: int, extra: int, d: int, seed: int) -> None:
    rows = torch.randn(2 * f + extra, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(CAF(num_byzantine=f)(rows), slow(rows, f), rtol=1e-5, atol=1e-6)


def test_caf_holds_where_the_mean_breaks_in_many_dimensions() -> None:
    rows = 1 + 0.1 * torch.randn(20, 5000, generator=torch.Generator().manual_seed(0))
    rows[:6] += 5
    assert (Mean()(rows) - 1).norm() > 100
    assert (CAF(num_byzantine=6)(rows) - 1).norm() < 5
