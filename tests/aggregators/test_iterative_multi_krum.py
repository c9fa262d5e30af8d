"""IterativeMultiKrum: the mean of Krum's choices, one after another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import IterativeMultiKrum, Mean
from phalanx.core.errors import PreconditionError
from phalanx.core.types import RoundContext, Updates


def slow_choices(rows: list[list[float]], f: int) -> list[int]:
    """Krum on what remains, while more than 2f + 2 do."""
    remaining, chosen = list(range(len(rows))), []
    while len(remaining) > 2 * f + 2:

        def score(i: int) -> float:
            distances = sorted(sum((a - b) ** 2 for a, b in zip(rows[i], rows[j])) for j in remaining if j != i)
            return sum(distances[: len(remaining) - f - 2])

        best = min(remaining, key=score)
        remaining.remove(best)
        chosen.append(best)
    return chosen


@given(seed=st.integers(0, 10_000), f=st.integers(1, 3), more=st.integers(0, 6))
def test_it_is_the_loop_where_nothing_ties(seed: int, f: int, more: int) -> None:
    rows = torch.randn(2 * f + 3 + more, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    chosen = slow_choices(rows.tolist(), f)
    result, _ = IterativeMultiKrum(num_byzantine=f).aggregate(Updates.of(rows), {}, RoundContext.for_matrix(rows))
    assert sorted(chosen) == result.influence.nonzero().flatten().tolist()
    torch.testing.assert_close(result.update, rows[chosen].mean(dim=0))


def test_by_hand() -> None:
    rows = torch.tensor([[0.0], [1.0], [1.5], [2.0], [4.0], [99.0]])
    # f = 1: of six rows two are chosen. Scores over the 3 nearest: 7.25, 2.25, 2.75, 5.25, ... so 1; then of the others over 2.
    assert IterativeMultiKrum(num_byzantine=1)(rows).item() == 1.25


def test_too_few_rows_are_an_error() -> None:
    with pytest.raises(PreconditionError, match=r"needs n >= 2f \+ 3 updates; got n=6, f=2"):
        IterativeMultiKrum(num_byzantine=2)(torch.ones(6, 2))


def test_it_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    rows[:5] = -50
    assert (Mean()(rows) - 1).abs().max() > 10
    assert (IterativeMultiKrum(num_byzantine=5)(rows) - 1).abs().max() < 0.2
