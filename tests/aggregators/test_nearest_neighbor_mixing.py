"""NearestNeighborMixing: every row becomes the mean of its neighbours."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phalanx.aggregators import Krum, NearestNeighborMixing, Pipeline
from phalanx.core.errors import PreconditionError
from phalanx.core.types import RoundContext, Updates


def mix(rows: Tensor, f: int) -> tuple[Updates, Tensor]:
    mixed, mixing = NearestNeighborMixing(num_byzantine=f).transform(Updates.of(rows), RoundContext.for_matrix(rows))
    assert mixing is not None
    return mixed, mixing


def slow_mix(rows: Tensor, f: int) -> Tensor:
    exact = rows.double()
    nearest = [(exact - row).square().sum(dim=1).argsort(stable=True)[: len(rows) - f] for row in exact]
    return torch.stack([exact[index].mean(dim=0) for index in nearest])


def test_mixing_by_hand_counts_the_row_itself() -> None:
    mixed, mixing = mix(torch.tensor([[0.0], [1.0], [3.0]]), 1)
    assert mixed.matrix.tolist() == [[0.5], [0.5], [2.0]]
    assert mixing.tolist() == [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]


@given(st.integers(0, 3), st.integers(1, 6), st.integers(1, 20), st.integers(0, 999))
def test_mixing_agrees_with_the_definition(f: int, extra: int, d: int, seed: int) -> None:
    rows = torch.randn(2 * f + extra, d, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mix(rows, f)[0].matrix.double(), slow_mix(rows, f), rtol=1e-5, atol=1e-6)


def test_krum_behind_mixing_makes_no_second_matrix_and_agrees_with_made_rows() -> None:
    rows = torch.randn(12, 300, generator=torch.Generator().manual_seed(0))
    mixed, _ = mix(rows, 3)
    result = Krum(num_byzantine=3).combine(mixed, {}, RoundContext.for_matrix(rows))[0].update
    assert "whole" not in vars(mixed.rows)
    assert result is not None
    torch.testing.assert_close(result, Krum(num_byzantine=3)(slow_mix(rows, 3).float()))


def test_a_huge_row_reaches_no_honest_mean() -> None:
    rows = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    rows[0] = 1e30
    assert mix(rows, 2)[0].matrix[1:].abs().max() < 10


def test_mixing_needs_more_than_twice_f_rows() -> None:
    with pytest.raises(PreconditionError, match="NearestNeighborMixing needs n > 2f updates; got n=4, f=2"):
        NearestNeighborMixing(num_byzantine=2).require(4)
    NearestNeighborMixing(num_byzantine=2).require(5)


def test_mixing_brings_krum_near_the_mean_of_clients_that_differ() -> None:
    rows = torch.randn(20, 100, generator=torch.Generator().manual_seed(0))
    rows[:4] = 50.0
    honest = rows[4:].mean(dim=0)
    alone = Krum(num_byzantine=4)(rows)
    mixed = Pipeline((NearestNeighborMixing(num_byzantine=4), Krum(num_byzantine=4)))(rows)
    assert (mixed - honest).norm() < 0.1 * (alone - honest).norm()
