"""Distances that hold beside huge rows, and the reducers that rules share."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phalanx.core import linalg
from phalanx.core.types import Updates


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


def test_mixed_updates_answer_as_if_their_rows_had_been_made() -> None:
    parent = Updates.of(normal(6, 40))
    mixing = torch.eye(6, dtype=torch.float64) / 2 + 1 / 12
    mixed, made = parent.mixed(mixing), Updates.of((mixing @ parent.matrix.double()).float())
    weights = torch.arange(6, dtype=torch.float64)
    torch.testing.assert_close(mixed.squared_distances, made.squared_distances, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(mixed.weighted_sum(weights), made.weighted_sum(weights))
    assert torch.equal(mixed.content_rank, made.content_rank)
    assert "matrix" not in vars(mixed), "the rows were made although nobody asked for them"
    torch.testing.assert_close(mixed.matrix, made.matrix)
    assert len(mixed) == 6


def test_mixed_updates_mix_buffers_too() -> None:
    parent = Updates(normal(2, 3), torch.tensor([[0.0], [4.0]]), torch.tensor([5, 7]), torch.ones(2, dtype=torch.float64))
    mixed = parent.mixed(torch.tensor([[0.5, 0.5], [0.0, 1.0]], dtype=torch.float64))
    assert mixed.buffers.tolist() == [[2.0], [4.0]]
    assert mixed.ids.tolist() == [5, 7]


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_scaled_updates_answer_as_if_their_rows_had_been_made(scale: float) -> None:
    parent = Updates.of((normal(1, 9_000) + 0.1 * normal(6, 9_000, seed=1)) * scale)
    factors = torch.tensor([1.0, 0.5, 0.25, 0.0, 1e-3, 1.0], dtype=torch.float64)
    scaled, made = parent.scaled(factors), Updates.of((factors[:, None] * parent.matrix.double()).float())
    weights = torch.arange(6, dtype=torch.float64)
    torch.testing.assert_close(scaled.norms, made.norms, rtol=1e-6, atol=0)
    torch.testing.assert_close(scaled.squared_distances, made.squared_distances, rtol=1e-5, atol=0)
    torch.testing.assert_close(scaled.gram_about(made.row(1)), made.gram_about(made.row(1)), rtol=1e-4, atol=0)
    torch.testing.assert_close(scaled.weighted_sum(weights), made.weighted_sum(weights), rtol=1e-4, atol=0)
    torch.testing.assert_close(scaled.row(2), made.row(2))
    assert torch.equal(scaled.content_rank, made.content_rank)
    assert "matrix" not in vars(scaled), "the rows were made although nobody asked for them"
    torch.testing.assert_close(scaled.matrix, made.matrix)


def test_rows_that_are_clipped_to_nearly_one_point_keep_their_small_distances() -> None:
    boosted = (normal(1, 9_000) + 1e-3 * normal(8, 9_000, seed=1)) * torch.logspace(0, 6, 8)[:, None]
    parent = Updates.of(boosted)
    scaled = parent.scaled(1 / parent.norms)
    exact = slow_squared_distances(scaled.matrix)
    torch.testing.assert_close(scaled.squared_distances, exact, rtol=1e-4, atol=0)
    assert (exact[0, 1:] < 1e-4).all()


def test_rows_mixed_after_scaling_are_made_from_the_first_matrix() -> None:
    parent = Updates.of(normal(6, 40))
    factors = torch.linspace(0.1, 1, 6, dtype=torch.float64)
    mixing = torch.eye(6, dtype=torch.float64) / 2 + 1 / 12
    scaled = parent.scaled(factors)
    mixed = scaled.mixed(mixing)
    exact = mixing @ (factors[:, None] * parent.matrix.double())
    torch.testing.assert_close(mixed.squared_distances, slow_squared_distances(exact), rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(mixed.matrix, exact.float())
    torch.testing.assert_close(mixed.row(3), exact[3].float())
    assert "matrix" not in vars(scaled), "the scaled rows were made although nobody asked for them"


def test_factors_beyond_float32_still_scale_rows_that_are_mixed() -> None:
    scaled = Updates.of(torch.tensor([[3e38, 1e38], [1.0, 1.0]])).scaled(torch.tensor([1e-41, 1.0], dtype=torch.float64))
    mixed = scaled.mixed(torch.full((2, 2), 0.5, dtype=torch.float64))
    torch.testing.assert_close(mixed.matrix, torch.tensor([[0.5015, 0.5005]] * 2), rtol=1e-6, atol=0)


@pytest.mark.parametrize("n", [3, 60])
def test_two_workers_give_the_same_bits_as_one(n: int) -> None:
    matrix, centre = normal(n, 150_000), normal(150_000, seed=1)

    def everything() -> list[Tensor]:
        return [
            linalg.norms(matrix),
            linalg.norms(matrix, centre=centre),
            linalg.gram(matrix, centre=centre),
            linalg.cosine_distances(matrix),
            linalg.weighted_sum(torch.arange(n, dtype=torch.float64), matrix),
            linalg.reduce_sorted_columns(matrix, lambda ascending: ascending.mean(dim=1)),
            linalg.reduce_columns(matrix, lambda block: block.sign().sum(dim=0)),
        ]

    alone = everything()
    with linalg.workers(2):
        together = everything()
    for one, two in zip(alone, together, strict=True):
        assert torch.equal(one, two)


def test_an_error_in_a_workers_part_is_raised() -> None:
    def fail(ascending: Tensor) -> Tensor:
        raise ZeroDivisionError

    with linalg.workers(2), pytest.raises(ZeroDivisionError):
        linalg.reduce_sorted_columns(normal(60, 50_000), fail)


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


@pytest.mark.parametrize("n", [1, 2, 7, 33, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reduced_columns_are_the_same_bits_for_any_block(n: int, dtype: torch.dtype) -> None:
    matrix = normal(n, 1_003).to(dtype)
    whole = linalg.reduce_sorted_columns(matrix, lambda ascending: ascending.mean(dim=1))
    for width in (1, 2, 13, 64, 1_000, 5_000):
        blocks = linalg.reduce_sorted_columns(matrix, lambda ascending: ascending.mean(dim=1), width=width)
        assert torch.equal(blocks, whole)
    assert whole.dtype == dtype
    torch.testing.assert_close(whole, matrix.mean(dim=0))


def test_reduced_columns_are_sorted_and_rows_that_are_views_work() -> None:
    wide = normal(10, 20)
    smallest = linalg.reduce_sorted_columns(wide[::2, 3:9], lambda ascending: ascending[:, 0])
    assert torch.equal(smallest, wide[::2, 3:9].amin(dim=0))


@given(st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=1, max_size=6))
def test_content_rank_is_lexicographic_and_shared_by_equal_rows(numbers: list[list[int]]) -> None:
    rank = Updates.of(torch.tensor(numbers, dtype=torch.float32)).content_rank.tolist()
    places = sorted({tuple(row) for row in numbers})
    assert rank == [places.index(tuple(row)) for row in numbers]


def test_content_rank_reads_as_far_as_it_takes() -> None:
    matrix = torch.zeros(3, 1_000)
    matrix[1, 999] = -1
    matrix[2, 70] = 1
    assert Updates.of(matrix).content_rank.tolist() == [1, 0, 2]
