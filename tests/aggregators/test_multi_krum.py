"""MultiKrum: the mean of the rows that Krum likes best, scored once."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phalanx.aggregators import Mean, MultiKrum
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.types import RoundContext, Updates


def slow_multi_krum(matrix: Tensor, f: int, m: int) -> Tensor:
    rows, scores = matrix.double(), []
    for i, row in enumerate(rows):
        others = sorted(float((row - other).square().sum()) for j, other in enumerate(rows) if j != i)
        scores.append((sum(others[: len(rows) - f - 2]), i))
    return rows[[i for _, i in sorted(scores)[:m]]].mean(dim=0)


def test_multi_krum_by_hand() -> None:
    rows = torch.tensor([[0.0], [1.0], [1.5], [2.0], [99.0]])
    assert MultiKrum(num_byzantine=1)(rows).item() == 1.125
    assert MultiKrum(num_byzantine=1, num_selected=2)(rows).item() == 1.25


@given(st.integers(0, 3), st.integers(3, 8), st.integers(1, 30), st.integers(0, 999))
def test_multi_krum_agrees_with_the_definition(f: int, extra: int, d: int, seed: int) -> None:
    n = 2 * f + extra
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    result = MultiKrum(num_byzantine=f)(rows)
    torch.testing.assert_close(result.double(), slow_multi_krum(rows, f, n - f), rtol=1e-5, atol=1e-6)


def test_sample_counts_do_not_weigh_the_selected() -> None:
    rows = torch.tensor([[0.0], [1.0], [1.5], [2.0], [99.0]])
    weights = torch.tensor([1e9, 1, 1, 1, 1], dtype=torch.float64)
    aggregate, _ = MultiKrum(num_byzantine=1).aggregate(
        dataclasses.replace(Updates.of(rows), weights=weights), {}, RoundContext.for_matrix(rows)
    )
    assert aggregate.influence is not None
    assert aggregate.influence.tolist() == [0.25, 0.25, 0.25, 0.25, 0]


def test_multi_krum_needs_enough_rows_for_f_and_for_its_selection() -> None:
    with pytest.raises(PreconditionError, match=r"MultiKrum needs n >= 2f \+ 3 updates; got n=4, f=1"):
        MultiKrum(num_byzantine=1)(torch.ones(4, 1))
    with pytest.raises(PreconditionError, match="MultiKrum needs n >= num_selected updates; got n=5, num_selected=6"):
        MultiKrum(num_byzantine=1, num_selected=6)(torch.ones(5, 1))
    with pytest.raises(ConfigError, match="num_selected"):
        MultiKrum(num_byzantine=1, num_selected=0)


def test_multi_krum_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    rows[:8] = torch.linspace(-1e4, 1e4, 50)
    assert (Mean()(rows) - 1).abs().max() > 1e3
    assert (MultiKrum(num_byzantine=8)(rows) - 1).abs().max() < 0.5
