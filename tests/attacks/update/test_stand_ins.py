"""Rows that attackers make up for the honest ones they cannot see."""

import torch

from phalanx.attacks.update.stand_ins import crowd
from phalanx.core.types import AttackView, RoundContext


def test_honest_rows_that_are_seen_are_taken_as_they_are() -> None:
    honest = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    view = AttackView(own=honest[:2], own_clean=lambda: honest[:2], num_updates=7, honest=honest)
    assert crowd(view, RoundContext.for_matrix(honest)) is honest


def test_missing_ones_are_like_the_attackers_own() -> None:
    own = torch.tensor([[1.0, -5.0], [3.0, -5.0]])
    view = AttackView(own=own, own_clean=lambda: own, num_updates=2002)
    rows = crowd(view, RoundContext.for_matrix(own))
    assert rows.shape == (2000, 2)
    assert torch.equal(rows[:2], own)
    torch.testing.assert_close(rows.mean(0), torch.tensor([2.0, -5.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(rows.std(0), torch.tensor([1.0, 0.0]), atol=0.1, rtol=0)
