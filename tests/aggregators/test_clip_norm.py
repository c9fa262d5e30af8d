"""ClipNorm: no row longer than the bound."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import ClipNorm
from phalanx.core.types import RoundContext, Updates


def clip(rows: torch.Tensor, max_norm: float) -> tuple[torch.Tensor, torch.Tensor]:
    clipped, factors = ClipNorm(max_norm=max_norm).transform(Updates.of(rows), RoundContext.for_matrix(rows))
    assert factors is not None
    return clipped.matrix, factors


def test_clip_norm_by_hand_and_zero_rows_stay() -> None:
    rows, factors = clip(torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]]), 2.0)
    torch.testing.assert_close(rows, torch.tensor([[1.2, 1.6], [0.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(factors.diagonal(), torch.tensor([0.4, 1.0, 1.0], dtype=torch.float64))


@given(st.integers(1, 8), st.integers(1, 20), st.floats(0.01, 10), st.integers(0, 999))
def test_no_row_is_longer_than_the_bound_and_short_rows_keep_their_bits(n: int, d: int, bound: float, seed: int) -> None:
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * torch.logspace(-3, 3, n)[:, None]
    clipped, _ = clip(rows, bound)
    assert clipped.norm(dim=1).max() <= bound * (1 + 1e-5)
    short = rows.double().norm(dim=1) <= bound
    assert torch.equal(clipped[short], rows[short])


def test_the_callers_rows_are_not_clipped_in_place() -> None:
    rows = torch.full((2, 2), 9.0)
    clip(rows, 1.0)
    assert torch.equal(rows, torch.full((2, 2), 9.0))


def test_buffers_ids_and_weights_pass() -> None:
    updates = Updates(torch.full((2, 2), 9.0), torch.ones(2, 3), torch.tensor([4, 8]), torch.tensor([1.0, 2.0]).double())
    clipped, _ = ClipNorm(max_norm=1.0).transform(updates, RoundContext.for_matrix(updates.matrix))
    assert (clipped.buffers, clipped.ids, clipped.weights) == (updates.buffers, updates.ids, updates.weights)
