"""GeometricMedian: the point with the smallest sum of distances to all updates."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from phalanx.aggregators import ClipNorm, GeometricMedian, Mean, NearestNeighborMixing, Pipeline


def test_geometric_median_by_hand() -> None:
    # of the corners of a triangle with no angle above 120 degrees: the point that sees every side at 120 degrees
    triangle = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 3**0.5]], dtype=torch.float64)
    torch.testing.assert_close(GeometricMedian()(triangle), triangle.mean(dim=0))
    # with a wider angle it is that corner
    wide = torch.tensor([[-10.0, 1.0], [0.0, 0.0], [10.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(GeometricMedian()(wide), wide[1], rtol=0, atol=1e-4)


@given(st.integers(3, 12), st.integers(2, 6), st.integers(0, 999))
def test_no_other_point_has_a_smaller_sum_of_distances(n: int, d: int, seed: int) -> None:
    rows = torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    def total(point: object) -> float:
        return float((rows - torch.as_tensor(point)).norm(dim=1).sum())

    found = minimize(
        total, rows.mean(dim=0).numpy(), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 20_000}
    )
    assert total(GeometricMedian()(rows)) <= found.fun * (1 + 1e-6)


def test_attackers_of_any_size_pull_alike() -> None:
    rows = torch.randn(9, 30, generator=torch.Generator().manual_seed(0))
    results = []
    for size in (1e6, 1e12, 1e18):
        rows[:4] = size
        results.append(GeometricMedian(num_byzantine=4)(rows))
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(results[2], results[1], rtol=1e-3, atol=1e-3)
    assert results[0].norm() < 10


@pytest.mark.parametrize("apart", [0.0, 1e-7, 1e-5])
def test_attackers_in_the_midst_do_not_hold_the_median_in_float32s_rounding(apart: float) -> None:
    """They are the medoid, where the steps begin; next to it inner products have lost all digits."""
    generator = torch.Generator().manual_seed(0)
    honest = 0.05 + 0.1 * torch.randn(17, 50, generator=generator)
    mean, spread = honest.mean(dim=0), honest.std(dim=0, correction=0)
    for gamma in torch.linspace(0.3, 1.5, 40).tolist():
        malicious = mean - gamma * spread + apart * torch.randn(3, 50, generator=generator)
        rows = torch.cat([malicious, honest])
        result, exact = (GeometricMedian(num_byzantine=3)(rows.to(dtype)).double() for dtype in (torch.float32, torch.float64))
        torch.testing.assert_close(result, exact, rtol=0, atol=1e-5)


def test_most_rows_equal_decide_and_share_the_influence() -> None:
    rows = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [7.0, 8.0], [-50.0, 3.0]])
    assert GeometricMedian()(rows).tolist() == [1.0, 1.0]


def test_it_is_the_same_behind_mixing_that_makes_no_rows() -> None:
    rows = torch.randn(12, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    mixed = Pipeline((NearestNeighborMixing(num_byzantine=3), GeometricMedian()))(rows)
    made = Pipeline((NearestNeighborMixing(num_byzantine=3), ClipNorm(max_norm=1e9), GeometricMedian()))(rows)
    torch.testing.assert_close(mixed, made)


def test_geometric_median_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    rows[:6] = 1e4
    assert (Mean()(rows) - 1).abs().max() > 1e3
    assert (GeometricMedian(num_byzantine=6)(rows) - 1).abs().max() < 0.5
