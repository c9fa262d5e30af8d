"""ConfidenceGate: answers below tau are refused."""

import pytest
import torch
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.models import REFUSED, ConfidenceGate

LOGITS = torch.tensor([[0.0, 2.0], [0.0, 0.5], [3.0, 0.0]])  # softmax .881, .622, .953


@pytest.mark.parametrize(("tau", "answers"), [(0.0, [1, 1, 0]), (0.7, [1, -1, 0]), (0.9, [-1, -1, 0]), (1.0, [-1, -1, -1])])
def test_by_hand(tau, answers):
    assert ConfidenceGate(nn.Identity(), tau)(LOGITS).tolist() == answers


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_are_refused_at_any_tau(broken):
    assert ConfidenceGate(nn.Identity(), 0.0)(torch.tensor([[0.0, broken]])).tolist() == [REFUSED]


def test_at_zero_answers_are_those_of_the_model_also_where_softmax_rounds_to_a_tie():
    logits = torch.tensor([[0.0, 1e-9], [1e-9, 0.0]])
    assert ConfidenceGate(nn.Identity(), 0.0)(logits).tolist() == logits.argmax(1).tolist() == [1, 0]


@pytest.mark.parametrize("tau", [-0.1, 1.1, float("nan")])
def test_tau_is_a_probability(tau):
    with pytest.raises(ConfigError, match="needs 0 <= tau <= 1"):
        ConfidenceGate(nn.Identity(), tau)


def test_it_is_a_module_with_the_weights_of_the_model():
    model = nn.Linear(2, 2)
    gate = ConfidenceGate(model, 0.5)
    assert list(gate.parameters()) == list(model.parameters())
    assert not gate.eval().model.training
