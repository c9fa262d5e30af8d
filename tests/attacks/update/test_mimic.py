"""Mimic: attackers who are all one honest client."""

import torch

from phalanx.aggregators import Krum, Median
from phalanx.attacks.update import Mimic
from phalanx.core.types import AttackView, RoundContext


def craft(honest: torch.Tensor, state: dict[str, torch.Tensor], round: int):
    view = AttackView(own=honest[:2], own_clean=lambda: honest, num_updates=len(honest) + 2, honest=honest)
    context = RoundContext.for_matrix(honest)
    return Mimic(learning_rounds=5).craft(view, state, RoundContext(**{**vars(context), "round": round}))


def test_the_direction_learnt_is_that_of_largest_variance_and_the_victim_lies_farthest_along_it() -> None:
    generator, state = torch.Generator().manual_seed(0), {}
    stretch = torch.tensor([10.0, 1.0, 1.0, 1.0])
    for round in range(5):
        honest = torch.randn(12, 4, generator=generator) * stretch
        crafted, state = craft(honest, state, round)
    assert state["direction"][0].abs() > 0.99
    centred = honest - honest.mean(0)
    assert torch.equal(crafted.rows[0], honest[int((centred @ state["direction"]).argmax())])
    assert torch.equal(crafted.rows[0], crafted.rows[1])


def test_after_the_learning_rounds_the_direction_stays() -> None:
    honest = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    known = {"direction": torch.tensor([0.0, 0.0, 1.0])}
    crafted, state = craft(honest, known, 5)
    assert torch.equal(state["direction"], known["direction"])
    assert torch.equal(crafted.rows[0], honest[int(honest[:, 2].argmax())])


def test_identical_rows_are_copied() -> None:
    crafted, _ = craft(torch.ones(4, 3), {}, 0)
    assert torch.equal(crafted.rows, torch.ones(2, 3))


def test_on_heterogeneous_clients_it_takes_over_rules_that_want_a_majority() -> None:
    honest = torch.cat([torch.full((3, 5), 1.0), torch.full((4, 5), -1.0)])  # two kinds of clients, 3 and 4 of them
    honest += 0.01 * torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    crafted, _ = craft(honest, {}, 0)
    rows = torch.cat([crafted.rows, honest])
    copied = crafted.rows[0].mean().sign()
    if copied > 0:
        assert Median(num_byzantine=2)(rows).mean() > 0.9
        assert Krum(num_byzantine=2)(rows).mean() > 0.9
    else:
        assert Median(num_byzantine=2)(rows).mean() < -0.9
    assert honest.mean().abs() < 0.2
