"""The bound between an undefended and a defended model: by hand, for any logits, and that what breaks it is noticed."""

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.core.errors import PhalanxError
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


NUMBERS = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e-45, 3.4e38, -3.4e38, 88.0, 104.0])


@given(st.lists(st.tuples(*[NUMBERS] * 6), min_size=1, max_size=8), st.floats(0, 1), st.integers(0, 2))
def test_nothing_that_float32_holds_provokes_a_violation(rows, tau, target):
    logits = torch.tensor(rows)
    found = success_bound(logits[:, :3], logits[:, 3:], target=target, tau=tau)
    assert 0 <= found.defended <= found.bound <= 1


@given(st.integers(0, 10_000), st.floats(1e-3, 1))
def test_logits_just_at_the_threshold_do_not_provoke_a_violation(seed, tau):
    """The target's softmax is tau up to the last bits, and the models differ by less than that or not at all."""
    generator = torch.Generator().manual_seed(seed)
    before = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    before[:, 0] = before[:, 1:].logsumexp(dim=1) + torch.tensor(tau / max(1 - tau, 1e-9)).double().log()
    after = before + 1e-15 * torch.randn(40, 3, generator=generator, dtype=torch.float64).round()
    assert success_bound(before, after, target=0, tau=tau).defended <= success_bound(before, after, target=0, tau=tau).bound


@pytest.mark.parametrize(
    ("before", "after", "target", "tau", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3), 0, 1.5, r"success_bound needs 0 <= tau <= 1.*got tau=1.5"),
        (torch.zeros(2, 3), torch.zeros(2, 3), 0, float("nan"), "needs 0 <= tau <= 1"),
        (torch.zeros(2, 3), torch.zeros(2, 3), 3, 0.0, "a target among 3 classes; got 3"),
        (torch.zeros(2, 3), torch.zeros(2, 3), -1, 0.0, "a target among 3 classes; got -1"),
        (torch.zeros(2, 3), torch.zeros(3, 3), 0, 0.0, r"got \[2, 3\] and \[3, 3\]"),
        (torch.zeros(0, 3), torch.zeros(0, 3), 0, 0.0, "E >= 1 images"),
    ],
)
def test_bad_input_is_named(before, after, target, tau, message):
    with pytest.raises(PhalanxError, match=message):
        success_bound(before, after, target=target, tau=tau)


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
