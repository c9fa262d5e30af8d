"""The bound between an undefended and a defended model: by hand, for any logits, and that what breaks it is noticed."""

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.metrics import SuccessBound, success_bound


def test_by_hand():
    """Target 1. Row 0: L = .018 and D = (3, -4) turns it away, but min D - D_1 = 0: it stays possible. Row 1: L = 4.02, nothing
    moves: impossible at tau 0 (ln 2). Row 2: L = 1.31, D = (-1, 0), so L' >= .31: possible at 0, not at .75 (.288)."""
    before = torch.tensor([[0.0, 4.0], [4.0, 0.0], [1.0, 0.0]])
    after = torch.tensor([[3.0, 0.0], [4.0, 0.0], [0.0, 0.0]])
    assert success_bound(before, after, target=1, tau=0.0) == SuccessBound(0.0, 1 / 3, 0.0, 2 / 3)
    assert success_bound(before, after, target=1, tau=0.75) == SuccessBound(0.75, 1 / 3, 0.0, 1 / 3)


@given(
    st.integers(0, 10_000),
    st.sampled_from([1e-6, 1.0, 30.0, 1e4, 1e30]),
    st.integers(2, 12),
    st.sampled_from([0.0, 0.1, 0.4, 1.0]),
)
def test_no_logits_violate_it(seed, scale, classes, tau):
    generator = torch.Generator().manual_seed(seed)
    before, after = scale * torch.randn(2, 50, classes, generator=generator)
    after[:10], after[10:20, 0] = before[:10], before[10:20, 0] + 1e-3 * scale
    found = success_bound(before, after, target=seed % classes, tau=tau)
    assert found.defended <= found.bound <= 1


def test_the_bound_never_falls_below_what_the_undefended_model_makes_possible():
    """Why it explains nothing: whatever the defence does, the bound stays at the undefended model's success or above."""
    before = torch.tensor([[0.0, 9.0]]).repeat(5, 1)
    assert success_bound(before, torch.tensor([[9.0, 0.0]]).repeat(5, 1), target=1, tau=0.4).bound == 1


def test_logits_that_are_not_finite_bound_nothing_and_succeed_never():
    broken, good = torch.tensor([[torch.nan, 0.0]]), torch.tensor([[0.0, 5.0]])
    assert success_bound(broken, good, target=1, tau=0.0) == SuccessBound(0.0, 0.0, 1.0, 1.0)
    assert success_bound(good, broken, target=1, tau=0.0) == SuccessBound(0.0, 1.0, 0.0, 1.0)


def test_a_violation_is_an_error(monkeypatch):
    """With another cross-entropy the inequality is wrong, and that does not pass in silence."""
    monkeypatch.setattr(
        sys.modules[success_bound.__module__], "cross_entropy", lambda logits, labels, reduction: logits.square().sum(dim=1)
    )
    with pytest.raises(AssertionError, match="leaves its bounds"):
        success_bound(torch.tensor([[0.0, 4.0]]), torch.tensor([[9.0, 0.0]]), target=1, tau=0.0)
