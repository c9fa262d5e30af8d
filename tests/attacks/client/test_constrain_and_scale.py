"""ConstrainAndScale: attackers whose training is drawn back to the global model."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import phalanx
from phalanx.attacks import Adversary, Backdoor, ConstrainAndScale, FirstClients, Patch
from phalanx.attacks.client import AnomalyTerm
from phalanx.core.types import RoundContext


@given(st.sampled_from(["l2", "cosine"]), st.floats(0.1, 1), st.integers(0, 999))
def test_the_gradient_is_autograds(distance: str, alpha: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    params, given_gradient = (torch.randn(3, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    centre = torch.randn(5, dtype=torch.float64, generator=generator)
    context = dataclasses.replace(RoundContext.for_matrix(params), global_params=centre)
    free = params.clone().requires_grad_()
    anomaly = (free - centre).norm(dim=1) if distance == "l2" else 1 - torch.cosine_similarity(free, centre[None], dim=1)
    anomaly.sum().backward()
    expected = alpha * given_gradient + (1 - alpha) * free.grad
    AnomalyTerm(alpha, distance).gradient(given_gradient, params, context)
    torch.testing.assert_close(given_gradient, expected)


@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_at_the_global_model_nothing_pulls(distance: str) -> None:
    params = torch.ones(2, 3)
    context = dataclasses.replace(RoundContext.for_matrix(params), global_params=torch.ones(3))
    gradient = torch.ones(2, 3)
    AnomalyTerm(0.5, distance).gradient(gradient, params, context)
    torch.testing.assert_close(gradient, torch.full((2, 3), 0.5), atol=1e-6, rtol=0)


def test_a_constrained_attacker_sends_a_shorter_update() -> None:
    class Norms:
        def __init__(self):
            self.malicious = []

        def emit(self, event):
            if event.kind == "round":
                self.malicious.append(event.values["malicious_norm"])

    def longest(client: ConstrainAndScale | None) -> float:
        seen = Norms()
        backdoor = Backdoor(Patch(2), target=0, share=0.5)
        experiment = phalanx.Experiment(adversary=Adversary(who=FirstClients(count=2), data=backdoor, client=client))
        phalanx.run(dataclasses.replace(experiment, run=dataclasses.replace(experiment.run, rounds=2)), sinks=[seen])
        return max(seen.malicious)

    assert longest(ConstrainAndScale(alpha=0.3)) < 0.8 * longest(None)
