"""IterativeBulyan: the trimmed mean of Krum's choices, one after another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import IterativeBulyan, IterativeMultiKrum, Mean
from phalanx.core.errors import PreconditionError
from phalanx.core.types import RoundContext, Updates


@given(seed=st.integers(0, 10_000), f=st.integers(0, 3), more=st.integers(0, 5))
def test_it_is_a_trimmed_mean_column_by_column_of_the_other_rules_choices(seed: int, f: int, more: int) -> None:
    rows = torch.randn(4 * f + 3 + more, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    chosen, _ = IterativeMultiKrum(num_byzantine=f).aggregate(Updates.of(rows), {}, RoundContext.for_matrix(rows))
    columns = rows[chosen.influence > 0].T.tolist()
    expected = [sum(sorted(column)[f : len(column) - f]) / (len(column) - 2 * f) for column in columns]
    assert IterativeBulyan(num_byzantine=f)(rows).tolist() == pytest.approx(expected)


def test_by_hand() -> None:
    # f = 1: of eight rows Krum chooses four; of these the two in the middle count.
    rows = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [99.0]])
    assert IterativeBulyan(num_byzantine=1)(rows).item() == 2.5


def test_too_few_rows_are_an_error() -> None:
    with pytest.raises(PreconditionError, match=r"needs n >= 4f \+ 3 updates; got n=10, f=2"):
        IterativeBulyan(num_byzantine=2)(torch.ones(10, 2))


def test_it_holds_where_the_mean_breaks_and_one_huge_coordinate_hides() -> None:
    rows = 1 + 0.1 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    rows[:4] = -50
    rows[4, 0] = 3.0
    assert (Mean()(rows) - 1).abs().max() > 9
    assert (IterativeBulyan(num_byzantine=4)(rows) - 1).abs().max() < 0.2
