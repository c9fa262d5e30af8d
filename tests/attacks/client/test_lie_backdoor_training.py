"""LieBackdoorTraining: its gradient is autograd's, and attackers who train so send what lies near the last aggregate."""

import dataclasses

import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.attacks.client import DistanceToMean, LieBackdoorTraining
from phalanx.core.families import ClientAttack
from phalanx.core.types import RoundContext
from phalanx.training import SGD


@given(st.floats(0.1, 1), st.booleans(), st.integers(0, 999))
def test_the_gradient_is_autograds(alpha: float, has_past: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    params, gradient = (torch.randn(3, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    centre, last = (torch.randn(5, dtype=torch.float64, generator=generator) for _ in range(2))
    context = dataclasses.replace(
        RoundContext.for_matrix(params), global_params=centre, previous_update=last if has_past else None
    )
    free = params.clone().requires_grad_()
    (free - centre - (last if has_past else 0)).square().sum().backward()
    expected = alpha * gradient + (1 - alpha) * free.grad
    before = params.clone()
    DistanceToMean(alpha).gradient(gradient, params, context)
    torch.testing.assert_close(gradient, expected)
    assert torch.equal(params, before)


def test_by_hand() -> None:
    context = dataclasses.replace(RoundContext.for_matrix(torch.zeros(1, 2)), previous_update=torch.tensor([1.0, 0.0]))
    gradient = torch.tensor([[1.0, 1.0]])
    DistanceToMean(0.75).gradient(gradient, torch.tensor([[3.0, 2.0]]), context)  # 0.75 g + 0.25 · 2 · (2, 2)
    assert gradient.tolist() == [[1.75, 1.75]]


def test_without_a_loss_training_ends_at_the_last_aggregate() -> None:
    last, params = torch.tensor([0.5, -1.0]), torch.zeros(1, 2)
    context = dataclasses.replace(RoundContext.for_matrix(params), previous_update=last)
    for _ in range(100):
        gradient = torch.zeros(1, 2)
        DistanceToMean(0.8).gradient(gradient, params, context)
        params -= 0.5 * gradient
    torch.testing.assert_close(params[0], last)


def test_it_comes_from_a_table_and_keeps_the_honest_trainer_unless_it_has_one() -> None:
    attack = ClientAttack.from_table({"kind": "lie_backdoor_training", "trainer": {"kind": "sgd", "lr": 0.5, "epochs": 10}})
    assert attack == LieBackdoorTraining(trainer=SGD(0.5, epochs=10))
    assert attack.training(SGD(0.1, epochs=1)) == SGD(0.5, epochs=10)
    assert LieBackdoorTraining().training(SGD(0.1, epochs=1)) == SGD(0.1, epochs=1)
