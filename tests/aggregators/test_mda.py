"""MDA: the mean of the n − f updates that lie closest together."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import MDA, Mean, mda
from phalanx.core.errors import PreconditionError


def test_mda_by_hand() -> None:
    assert MDA(num_byzantine=2)(torch.tensor([[0.0], [5.0], [1.0], [2.0], [-9.0]])).tolist() == [1.0]


@given(st.integers(0, 3), st.integers(1, 4), st.integers(0, 999))
def test_mda_agrees_with_trying_every_subset(f: int, extra: int, seed: int) -> None:
    n = 2 * f + extra
    rows = torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    rows = rows[rows[:, 0].argsort()]  # by content, so that of as tight subsets the first in order is the one to take
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    best = min(combinations(range(n), n - f), key=lambda kept: float(distances[list(kept)][:, list(kept)].max()))
    torch.testing.assert_close(MDA(num_byzantine=f)(rows), rows[list(best)].mean(dim=0))


def test_where_several_subsets_are_as_tight_the_order_of_the_rows_does_not_decide() -> None:
    rows = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]])
    expected = MDA(num_byzantine=2)(rows)
    assert expected.tolist() == [1.0]  # of 0 1 2, 1 2 3 and 2 3 4 the one with the smaller content
    for order in ([4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        assert torch.equal(MDA(num_byzantine=2)(rows[order]), expected)


def test_a_hundred_rows_are_searched_in_no_time_where_attackers_are_far() -> None:
    rows = torch.randn(100, 20, generator=torch.Generator().manual_seed(0))
    rows[:20] += 30
    torch.testing.assert_close(MDA(num_byzantine=20)(rows), rows[20:].mean(dim=0))


def test_a_search_that_does_not_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mda, "MOST_STEPS", 5)
    rows = torch.randn(30, 20, generator=torch.Generator().manual_seed(0))
    with pytest.raises(PreconditionError, match="MDA could not finish its search in 5 steps"):
        MDA(num_byzantine=10)(rows)


def test_mda_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    rows[:6] = 1e4
    assert (Mean()(rows) - 1).abs().max() > 1e3
    assert (MDA(num_byzantine=6)(rows) - 1).abs().max() < 0.2
