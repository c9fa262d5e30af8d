"""Krum: the row with the closest neighbours, also where float32 arithmetic picks another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phalanx.aggregators import Krum, Mean
from phalanx.core.errors import PreconditionError
from phalanx.core.types import RoundContext, Updates


def slow_krum(matrix: Tensor, f: int) -> int:
    """The definition, row by row, in float64; ties to the smaller content (with one neighbour the closest pair always ties)."""
    rows, scores = matrix.double(), []
    for i, row in enumerate(rows):
        others = sorted(float((row - other).square().sum()) for j, other in enumerate(rows) if j != i)
        scores.append((sum(others[: len(rows) - f - 2]), row.tolist()))
    return scores.index(min(scores))


def test_krum_by_hand() -> None:
    # f = 1, three neighbours each: 1 + 9 + 16 = 26, 1 + 4 + 9 = 14, 1 + 4 + 6.25 = 11.25, 1 + 2.25 + 9 = 12.25, 28.5, 8202.25.
    rows = torch.tensor([[0.0], [1.0], [3.0], [4.0], [5.5], [50.0]])
    assert Krum(num_byzantine=1)(rows).item() == 3.0


def test_krum_counts_n_minus_f_minus_2_neighbours() -> None:
    # With n − f − 2 = 3 neighbours the first row scores 1.5, the second 2.5; with n − f − 1 = 4 it would be 17.5 and 15.
    rows = torch.tensor([[0.0, 0.0], [0.5, 0.5], [-0.5, 0.5], [0.5, -0.5], [4.0, 0.0], [4.5, 0.0], [5.0, 0.0]])
    squared = (rows[:, None] - rows).square().sum(dim=2).sort(dim=1).values
    three, four = squared[:, 1:4].sum(dim=1).argmin(), squared[:, 1:5].sum(dim=1).argmin()
    assert (three, four) == (0, 1)
    assert torch.equal(Krum(num_byzantine=2)(rows), rows[0])


@given(st.integers(0, 3), st.integers(3, 8), st.integers(1, 30), st.integers(0, 999))
def test_krum_agrees_with_the_definition(f: int, extra: int, d: int, seed: int) -> None:
    rows = torch.randn(2 * f + extra, d, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(Krum(num_byzantine=f)(rows), rows[slow_krum(rows, f)])


@pytest.mark.parametrize("seed", range(4))
def test_krum_picks_the_right_row_where_float32_distances_cancel(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(1, 100_000, generator=generator) + 1e-3 * torch.randn(40, 100_000, generator=generator)
    assert torch.equal(Krum(num_byzantine=8)(rows), rows[slow_krum(rows, 8)])


def test_a_nan_row_does_not_win() -> None:
    rows = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    rows[2, 1] = torch.nan
    finite = torch.cat([rows[:2], rows[3:]])
    assert torch.equal(Krum(num_byzantine=1)(rows), finite[slow_krum(finite, 1)])


def test_buffers_are_in_no_distance() -> None:
    rows = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    with_buffers = Updates(rows, 1e6 * torch.rand(7, 3), torch.arange(7), torch.ones(7, dtype=torch.float64))
    aggregate, _ = Krum(num_byzantine=1).aggregate(with_buffers, {}, RoundContext.for_matrix(rows))
    assert aggregate.influence is not None
    assert aggregate.influence.argmax() == slow_krum(rows, 1)
    assert aggregate.influence.sum() == 1


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]])
def test_ties_go_to_the_smaller_content_whatever_the_order(order: list[int]) -> None:
    rows = torch.eye(5)[order]
    assert Krum(num_byzantine=1)(rows).tolist() == [0, 0, 0, 0, 1]


def test_krum_needs_two_f_plus_three_rows() -> None:
    assert Krum(num_byzantine=1)(torch.ones(5, 1)).item() == 1
    with pytest.raises(PreconditionError, match=r"Krum needs n >= 2f \+ 3 updates; got n=4, f=1. Lower num_byzantine"):
        Krum(num_byzantine=1)(torch.ones(4, 1))


def test_krum_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    rows[:8] = -1e4
    assert (Mean()(rows) - 1).abs().max() > 1e3
    assert (Krum(num_byzantine=8)(rows) - 1).abs().max() < 0.5
