"""Columns in order and reduced, whatever their blocks are; rows in order of content."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phalanx.core.columns import reduce_sorted_columns
from phalanx.core.updates import Updates


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [1, 2, 7, 33, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reduced_columns_are_the_same_bits_for_any_block(n: int, dtype: torch.dtype) -> None:
    matrix = normal(n, 1_003).to(dtype)
    whole = reduce_sorted_columns(matrix, lambda ascending: ascending.mean(dim=1))
    for width in (1, 2, 13, 64, 1_000, 5_000):
        blocks = reduce_sorted_columns(matrix, lambda ascending: ascending.mean(dim=1), width=width)
        assert torch.equal(blocks, whole)
    assert whole.dtype == dtype
    torch.testing.assert_close(whole, matrix.mean(dim=0))


def test_reduced_columns_are_sorted_and_rows_that_are_views_work() -> None:
    wide = normal(10, 20)
    smallest = reduce_sorted_columns(wide[::2, 3:9], lambda ascending: ascending[:, 0])
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


def test_rows_rank_by_content_and_equal_rows_share_a_place():
    updates = Updates.of(torch.tensor([[2.0, 0.0], [1.0, 9.0], [2.0, 0.0], [1.0, 3.0]]))
    assert updates.content_rank.tolist() == [2, 1, 2, 0]


@given(st.permutations(range(5)))
def test_the_rank_of_a_row_does_not_depend_on_its_place(order):
    matrix = torch.tensor([[2.0, 0.0], [1.0, 9.0], [2.0, 0.0], [1.0, 3.0], [-1.0, 4.0]])
    assert torch.equal(Updates.of(matrix[list(order)]).content_rank, Updates.of(matrix).content_rank[list(order)])
