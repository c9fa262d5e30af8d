"""Mimic: attackers who are all one honest client."""

import pytest
import torch

from phalanx.aggregators import Krum, Median
from phalanx.attacks.update import Mimic
from phalanx.core.types import AttackView, RoundContext


def craft(honest: torch.Tensor, state: dict[str, torch.Tensor], *, attack: Mimic | None = None, ids=None):
    attack = attack or Mimic(learning_rounds=5)
    view = AttackView(own=honest[:2], own_clean=lambda: honest, num_updates=len(honest) + 2, honest=honest, honest_ids=ids)
    return attack.craft(view, state, RoundContext.for_matrix(honest))


def test_the_direction_learnt_is_that_of_largest_variance_and_the_victim_lies_farthest_along_it() -> None:
    generator, state = torch.Generator().manual_seed(0), {}
    stretch = torch.tensor([10.0, 1.0, 1.0, 1.0])
    for _ in range(5):
        honest = torch.randn(12, 4, generator=generator) * stretch
        crafted, state = craft(honest, state)
    assert state["direction"][0].abs() > 0.99
    centred = honest - honest.mean(0)
    assert torch.equal(crafted.rows[0], honest[int((centred @ state["direction"]).argmax())])
    assert torch.equal(crafted.rows[0], crafted.rows[1])


def test_after_the_learning_rounds_the_direction_stays() -> None:
    honest = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    known = {"direction": torch.tensor([0.0, 0.0, 1.0]), "steps": torch.tensor(5)}
    crafted, state = craft(honest, known)
    assert torch.equal(state["direction"], known["direction"])
    assert torch.equal(crafted.rows[0], honest[int(honest[:, 2].argmax())])


def test_identical_rows_are_copied() -> None:
    crafted, _ = craft(torch.ones(4, 3), {})
    assert torch.equal(crafted.rows, torch.ones(2, 3))


def test_on_heterogeneous_clients_it_takes_over_rules_that_want_a_majority() -> None:
    honest = torch.cat([torch.full((3, 5), 1.0), torch.full((4, 5), -1.0)])  # two kinds of clients, 3 and 4 of them
    honest += 0.01 * torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    crafted, _ = craft(honest, {})
    rows = torch.cat([crafted.rows, honest])
    copied = crafted.rows[0].mean().sign()
    if copied > 0:
        assert Median(num_byzantine=2)(rows).mean() > 0.9
        assert Krum(num_byzantine=2)(rows).mean() > 0.9
    else:
        assert Median(num_byzantine=2)(rows).mean() < -0.9
    assert honest.mean().abs() < 0.2


def test_a_named_client_is_copied_whenever_it_takes_part() -> None:
    honest, attack = torch.tensor([[0.0], [1.0], [9.0]]), Mimic(client=7)
    assert craft(honest, {}, attack=attack, ids=torch.tensor([3, 7, 8]))[0].rows.flatten().tolist() == [1.0, 1.0]
    assert craft(honest, {}, attack=attack, ids=torch.tensor([3, 5, 8]))[0].rows.flatten().tolist() == [9.0, 9.0]


@pytest.mark.parametrize("scale", [2.0**66, 2.0**-83, 2.0**-99])
def test_whom_it_copies_does_not_depend_on_the_scale(scale: float) -> None:
    honest = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(craft(honest * scale, {})[0].rows, craft(honest, {})[0].rows * scale)
