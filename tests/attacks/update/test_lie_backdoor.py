"""LieBackdoor: the clamp by hand and against a loop, and that with its training it carries a backdoor past Krum."""

import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import phalanx
from phalanx.aggregators import Krum
from phalanx.attacks import Adversary, Backdoor, FirstClients, LieBackdoor, LieBackdoorTraining, Patch
from phalanx.config import RunSettings
from phalanx.core.types import AttackView, Crafted, RoundContext
from phalanx.data import IID
from phalanx.models import MLP
from phalanx.training import SGD


def craft(attack: LieBackdoor, own: torch.Tensor, honest: torch.Tensor | None, clean: torch.Tensor) -> Crafted:
    view = AttackView(own=own, own_clean=lambda: clean, num_updates=10, honest=honest)
    return attack.craft(view, {}, RoundContext.for_matrix(own))[0]


def test_each_row_keeps_what_lies_inside_and_is_cut_where_it_leaves() -> None:
    honest = torch.tensor([[0.0, 1.0], [2.0, 1.0]])  # mean (1, 1), deviation (1, 0)
    own = torch.tensor([[9.0, 1.0], [0.5, 7.0]])
    crafted = craft(LieBackdoor(2.0), own, honest, own)
    assert crafted.rows.tolist() == [[3.0, 1.0], [0.5, 1.0]]
    assert crafted.metrics == {"z": 2.0, "clamped": 0.5, "room": 1.0}
    assert own.tolist() == [[9.0, 1.0], [0.5, 7.0]]


@given(h=st.integers(1, 8), f=st.integers(1, 4), z=st.floats(0, 3), seed=st.integers(0, 999))
def test_it_is_the_clamp_coordinate_by_coordinate(h: int, f: int, z: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    honest, own = (torch.randn(rows, 3, dtype=torch.float64, generator=generator) for rows in (h, f))
    rows = craft(LieBackdoor(z), 3 * own, honest, own).rows
    for column in range(3):
        values = honest[:, column].tolist()
        low, high = (statistics.fmean(values) + sign * z * statistics.pstdev(values) for sign in (-1, 1))
        for sent, trained in zip(rows[:, column].tolist(), (3 * own)[:, column].tolist()):
            assert sent == pytest.approx(min(max(trained, low), high), abs=1e-9)


def test_attackers_who_see_nobody_clamp_to_what_they_would_have_sent_themselves() -> None:
    own, clean = torch.tensor([[5.0], [-5.0]]), torch.tensor([[0.0], [2.0]])
    assert craft(LieBackdoor(1.0, knowledge="own"), own, None, clean).rows.tolist() == [[2.0], [0.0]]


def test_a_single_attacker_who_sees_nobody_has_no_room_and_says_so() -> None:
    own, clean = torch.tensor([[5.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    crafted = craft(LieBackdoor(knowledge="own"), own, None, clean)
    assert torch.equal(crafted.rows, clean)
    assert crafted.metrics["room"] == 0


@pytest.mark.parametrize("z, is_chosen", [(0.7, True), (1.43, False)])
def test_cut_in_every_coordinate_krum_chooses_it_below_one_deviation(z: float, is_chosen: bool) -> None:
    honest = torch.randn(12, 4000, generator=torch.Generator().manual_seed(0))
    row = craft(LieBackdoor(z), torch.full((1, 4000), 9.0), honest, honest[:1]).rows
    assert torch.equal(Krum(2)(torch.cat([honest, row])), row[0]) == is_chosen


def test_with_its_training_it_is_chosen_by_krum_which_stops_the_backdoor_alone() -> None:
    def last(client: LieBackdoorTraining | None, update: LieBackdoor | None) -> dict[str, float]:
        backdoor = Backdoor(Patch(3), target=0, share=0.5)
        experiment = phalanx.Experiment(
            run=RunSettings(rounds=8),
            partition=IID(num_clients=12),
            model=MLP(hidden=(32,)),
            training=SGD(lr=0.1, epochs=2, batch_size=16),
            aggregator=Krum(4),
            adversary=Adversary(who=FirstClients(count=4), data=backdoor, client=client, update=update),
        )
        return phalanx.run(experiment).metrics[-1]

    clamped, plain = last(LieBackdoorTraining(), LieBackdoor()), last(None, None)
    assert clamped["attack_success"] > 0.9 > 0.1 > plain["attack_success"]
    assert clamped["accuracy"] > plain["accuracy"] - 0.05
