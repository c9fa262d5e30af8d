"""Norms that hold for rows of any size, distances that hold beside huge rows, and sums."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phalanx.core import linalg


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow_squared_distances(matrix: Tensor) -> Tensor:
    rows = matrix.double()
    return torch.stack([(rows - row).square().sum(dim=1) for row in rows])


def worst_error(matrix: Tensor, first: int | None = None) -> float:
    """The largest relative error among the pairs of the first rows."""
    exact = slow_squared_distances(matrix)
    off_diagonal = ~torch.eye(len(matrix), dtype=torch.bool)
    error = (linalg.geometry(matrix).distances - exact).abs() / exact.masked_fill(~off_diagonal, 1)
    return float(error[:first, :first].max())


def test_norms_are_those_of_float64() -> None:
    matrix = normal(7, 10_000)
    torch.testing.assert_close(linalg.norms(matrix), matrix.double().norm(dim=1), rtol=3e-8, atol=0)


@pytest.mark.parametrize("size", [5e-324, 1e-300, 1e-160, 1e155, 1e300])
def test_norms_hold_for_float64_rows_whose_squares_leave_its_range(size: float) -> None:
    matrix = torch.cat(
        [normal(4, 300, seed=1).double() * size, torch.zeros(1, 300, dtype=torch.float64), normal(1, 300).double()]
    )
    power = 2.0 ** (1000 if size < 1 else -1000)
    expected = torch.cat([(matrix[:4] * power).norm(dim=1) / power, matrix[4:].norm(dim=1)])
    torch.testing.assert_close(linalg.norms(matrix), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(linalg.norms(matrix, centre=-matrix[0])[4], expected[0], rtol=1e-12, atol=0)


def test_a_norm_is_finite_exactly_where_the_row_is() -> None:
    largest = torch.finfo(torch.float64).max
    rows = [[largest, largest], [float("inf"), 0.0], [float("nan"), 1.0], [float("nan"), largest]]
    assert linalg.norms(torch.tensor(rows, dtype=torch.float64)).isfinite().tolist() == [True, False, False, False]


def test_norms_about_one_of_the_rows_leave_float64_rows_alone() -> None:
    matrix = normal(3, 50).double()
    kept = matrix.clone()
    assert linalg.norms(matrix, centre=matrix[0])[0] == 0
    assert torch.equal(matrix, kept)


@pytest.mark.parametrize("scale", [1e-42, 1e-20, 1.0, 1e20, 1e37])
def test_distances_hold_from_subnormal_to_huge_rows(scale: float) -> None:
    assert worst_error(normal(12, 500) * scale) < 2e-6


def test_distances_hold_where_rows_share_a_large_common_part() -> None:
    assert worst_error(normal(1, 100_000) + 1e-3 * normal(40, 100_000, seed=1)) < 1e-6


@pytest.mark.parametrize("factor", [1e6, 1e12, 1e30])
def test_honest_pairs_keep_their_distance_beside_huge_attackers(factor: float) -> None:
    matrix = normal(1, 20_000) + 1e-3 * normal(20, 20_000, seed=1)
    matrix[15:] *= factor
    assert worst_error(matrix, first=15) < 1e-6
    assert worst_error(matrix) < 1e-5


def test_distances_hold_inside_a_tight_cluster_far_from_the_median_row() -> None:
    matrix = 1e-3 * normal(20, 5_000)
    matrix[11:] += normal(1, 5_000, seed=1)
    matrix[17:] += 1e3
    assert worst_error(matrix) < 1e-5


def test_distances_hold_in_clusters_inside_clusters() -> None:
    matrix = sum(10.0**-level * normal(2**level, 3_000, seed=level).repeat_interleave(16 >> level, dim=0) for level in range(5))
    assert worst_error(matrix) < 1e-5


def test_distances_hold_for_rows_of_every_size_at_once() -> None:
    assert worst_error(normal(30, 1_000) * torch.logspace(-15, 15, 30)[:, None]) < 1e-6


def test_equal_rows_are_at_distance_zero_exactly_wherever_they_lie() -> None:
    matrix = normal(30, 9_000)
    matrix[4:9] = matrix[4] * 1e9
    matrix[20:23] = matrix[20]
    distances = linalg.geometry(matrix).distances
    assert torch.equal(distances == 0, slow_squared_distances(matrix) == 0)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 10_000))
def test_distances_are_symmetric_non_negative_with_a_zero_diagonal(n: int, d: int, seed: int) -> None:
    matrix = normal(n, d, seed=seed).round()
    distances = linalg.geometry(matrix).distances
    assert torch.equal(distances, distances.T)
    assert torch.equal(distances, slow_squared_distances(matrix))


def test_float64_rows_are_measured_in_float64() -> None:
    matrix = normal(9, 300).double() + 1e-9 * normal(9, 300, seed=1).double()
    torch.testing.assert_close(linalg.geometry(matrix).distances, slow_squared_distances(matrix), rtol=1e-12, atol=0)


def test_mixed_distances_are_those_of_the_mixed_rows() -> None:
    matrix = normal(8, 50)
    mixing = torch.rand(8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mixing /= mixing.sum(dim=1, keepdim=True)
    mixing[3] = mixing[5]
    mixed = linalg.mixed_squared_distances(mixing, linalg.geometry(matrix).distances)
    torch.testing.assert_close(mixed, slow_squared_distances(mixing @ matrix.double()), rtol=1e-5, atol=1e-12)
    assert mixed[3, 5] == 0


def test_cosine_distances_agree_with_the_definition() -> None:
    matrix = normal(9, 6_000).double()
    unit = matrix / matrix.norm(dim=1, keepdim=True)
    torch.testing.assert_close(
        linalg.cosine_distances(matrix.float()), (1 - unit @ unit.T).fill_diagonal_(0), rtol=1e-6, atol=0
    )


def test_cosine_distances_of_models_are_right_where_float32_is_not() -> None:
    model, updates = normal(20_000), 1e-4 * normal(8, 20_000, seed=1)
    whole = model.double() + updates.double()
    exact = 1 - torch.nn.functional.cosine_similarity(whole[:, None], whole, dim=2)
    torch.testing.assert_close(linalg.cosine_distances(updates, offset=model), exact.fill_diagonal_(0), rtol=1e-6, atol=1e-15)


def test_cosine_of_zero_rows_is_defined() -> None:
    distances = linalg.cosine_distances(torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [-2.0, 0.0]]))
    assert distances.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 2], [1, 1, 2, 0]]


def test_a_weighted_sum_of_huge_rows_with_tiny_weights_is_exact() -> None:
    matrix = torch.tensor([[3e38, 1e38], [1.0, 1.0]])
    weights = torch.tensor([1e-41, 2.0], dtype=torch.float64)
    torch.testing.assert_close(linalg.weighted_sum(weights, matrix), torch.tensor([2.003, 2.001]), rtol=1e-6, atol=0)
    torch.testing.assert_close(linalg.scale_rows(matrix, weights)[0], torch.tensor([0.003, 0.001]), rtol=1e-6, atol=0)


def test_clip_factors_are_one_for_zero_and_short_rows() -> None:
    lengths = torch.tensor([0.0, 1.0, 2.0, 8.0], dtype=torch.float64)
    assert linalg.clip_factors(lengths, 2.0).tolist() == [1, 1, 1, 0.25]
    assert linalg.clip_factors(lengths, 0.0).tolist() == [1, 0, 0, 0]
