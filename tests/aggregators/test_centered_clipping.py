"""CenteredClipping: a mean of differences from the last result, each clipped."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import CenteredClipping, Mean
from phalanx.core.types import RoundContext, Updates


def test_centered_clipping_by_hand_over_two_rounds() -> None:
    rule, rows = CenteredClipping(max_norm=2.0), torch.tensor([[3.0], [1.0], [-4.0]])
    context = RoundContext.for_matrix(rows)
    first, state = rule.aggregate(Updates.of(rows), {}, context)
    torch.testing.assert_close(first.update, torch.tensor([(2.0 + 1.0 - 2.0) / 3]))  # clipped around 0
    second, _ = rule.aggregate(Updates.of(rows), state, context)
    torch.testing.assert_close(second.update, torch.tensor([1 / 3 + (2.0 + 2 / 3 - 2.0) / 3]))  # around 1/3


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 6), st.integers(0, 999))
def test_the_steps_on_the_gram_matrix_are_those_on_the_rows(n: int, d: int, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, centre = (torch.randn(k, d, dtype=torch.float64, generator=generator) for k in (n, 1))
    rule = CenteredClipping(max_norm=0.7, num_iterations=steps)
    got, state = rule.aggregate(Updates.of(rows), {"centre": centre[0]}, RoundContext.for_matrix(rows))
    expected = centre[0]
    for _ in range(steps):
        gap = rows - expected
        expected = expected + (gap * (0.7 / gap.norm(dim=1, keepdim=True)).clamp(max=1)).mean(dim=0)
    torch.testing.assert_close(got.update, expected, rtol=1e-7, atol=1e-9)
    assert torch.equal(state["centre"], got.update)


def test_centered_clipping_holds_where_the_mean_breaks() -> None:
    rows = 1 + 0.1 * torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    rows[:6] = 1e4
    state = {}
    for _ in range(20):
        aggregate, state = CenteredClipping(max_norm=1.0).aggregate(Updates.of(rows), state, RoundContext.for_matrix(rows))
    assert (Mean()(rows) - 1).abs().max() > 1e3
    assert (aggregate.update - 1).norm() < 1.5
