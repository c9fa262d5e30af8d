"""Clipping of single examples: by hand, and no example beyond its bound."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.core.errors import ConfigError
from phalanx.training import AutomaticClipping, FlatClipping, PerLayerClipping

RULES = [FlatClipping(0.5), FlatClipping(30.0), PerLayerClipping(0.5), PerLayerClipping(30.0), AutomaticClipping(0.3)]


def test_three_rules_by_hand_on_tensors_of_norms_three_and_four():
    squares = torch.tensor([[9.0, 16.0]])
    torch.testing.assert_close(FlatClipping(1.0).factors(squares), torch.tensor([[0.2, 0.2]]))
    torch.testing.assert_close(PerLayerClipping(5.0).factors(squares), torch.tensor([[1.0, 5 / 2**0.5 / 4]]))
    torch.testing.assert_close(AutomaticClipping(gamma=5.0).factors(squares), torch.tensor([[0.1, 0.1]]))


@pytest.mark.parametrize("rule", RULES, ids=str)
@given(lengths=st.lists(st.floats(0, 2.0**49, width=32), min_size=1, max_size=4))
def test_no_example_is_longer_than_the_sensitivity(rule, lengths):
    squares = torch.tensor([lengths]).square()
    clipped = rule.factors(squares) * torch.tensor([lengths])
    assert clipped.norm() <= rule.sensitivity * (1 + 1e-6)


@pytest.mark.parametrize("rule", [FlatClipping(1.0), PerLayerClipping(1.0)])
def test_what_is_short_enough_is_left_alone(rule):
    assert torch.equal(rule.factors(torch.tensor([[0.25, 0.25], [0.0, 0.0]])), torch.ones(2, 2))


@pytest.mark.parametrize("rule", [FlatClipping, PerLayerClipping, AutomaticClipping])
def test_a_bound_of_zero_is_refused(rule):
    with pytest.raises(ConfigError):
        rule(0.0)
