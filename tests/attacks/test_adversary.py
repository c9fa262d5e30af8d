"""Adversary: who, when and with what, in one object."""

from typing import Any

import pytest
import torch

from phalanx.attacks import (
    Adversary,
    Backdoor,
    Distributed,
    FirstClients,
    FixedClients,
    FromTo,
    LabelFlip,
    LabelFlipAll,
    MinMax,
    ModelReplacement,
    Never,
    Patch,
    ProjectedGradient,
    Rounds,
    ShareOfRound,
    SignFlip,
    Staggered,
)
from phalanx.core.errors import ConfigError
from phalanx.core.params import Layout
from phalanx.core.types import RoundContext, Samples


def context(round: int = 0) -> RoundContext:
    return RoundContext(round, 0, Layout.flat(1), torch.zeros(1), torch.zeros(0))


def samples(size: int = 28, num_classes: int = 10) -> Samples:
    return Samples(torch.zeros(3, 1, size, size, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), num_classes)


def test_attackers_are_told_by_their_place_in_the_round_and_their_number() -> None:
    adversary = Adversary(who=FixedClients((40, 20, 30)), update=SignFlip())
    sampled = torch.tensor([5, 20, 21, 40])
    assert adversary.malicious(sampled, 50, context()) == {1: 1, 3: 0}
    assert adversary.active(sampled, 50, context()) == {1: 1, 3: 0}


def test_outside_of_the_schedule_attackers_are_malicious_but_not_active() -> None:
    adversary = Adversary(who=FirstClients(count=2), when=Rounds((3,)), update=SignFlip())
    sampled = torch.arange(5)
    assert adversary.active(sampled, 5, context(2)) == {}
    assert adversary.active(sampled, 5, context(3)) == {0: 0, 1: 1}
    assert adversary.malicious(sampled, 5, context(2)) == {0: 0, 1: 1}


def test_a_staggered_attacker_attacks_in_its_round_if_it_was_sampled() -> None:
    adversary = Adversary(who=FixedClients((8, 9)), when=Staggered((12, 14)), update=SignFlip())
    assert adversary.active(torch.tensor([7, 8, 9]), 10, context(14)) == {2: 1}
    assert adversary.active(torch.tensor([7, 8]), 10, context(14)) == {}


def test_a_share_of_the_round_is_drawn_from_the_round() -> None:
    adversary = Adversary(who=ShareOfRound(0.5), data=LabelFlipAll())
    active = adversary.active(torch.tensor([11, 22, 33, 44]), 50, context())
    assert len(active) == 2
    assert active.keys() <= {0, 1, 2, 3}
    assert sorted(active.values()) == [0, 1]


def test_staggered_shares_of_a_round_give_one_attacker_and_one_part_of_the_trigger_at_a_time() -> None:
    adversary = Adversary(who=ShareOfRound(0.4), when=Staggered((12, 14, 16, 18)), update=ModelReplacement(server_lr=0.1))
    sampled = torch.arange(30, 40)
    attackers = {round: list(adversary.active(sampled, 100, context(round)).values()) for round in range(10, 20)}
    assert {round: numbers for round, numbers in attackers.items() if numbers} == {12: [0], 14: [1], 16: [2], 18: [3]}


def test_without_fields_nobody_is_malicious() -> None:
    assert Adversary().active(torch.arange(5), 5, context()) == {}
    assert Adversary().malicious(torch.arange(5), 5, context()) == {}
    Adversary().check(samples(), 5, context())


def test_never_is_the_control_of_an_experiment() -> None:
    adversary = Adversary(who=FirstClients(count=2), when=Never(), update=SignFlip())
    assert adversary.active(torch.arange(5), 5, context()) == {}
    assert len(adversary.malicious(torch.arange(5), 5, context())) == 2


def test_attackers_without_an_attack_and_an_attack_without_attackers_are_errors() -> None:
    with pytest.raises(ConfigError, match="no attack"):
        Adversary(who=FirstClients(count=1))
    for attack in (
        {"data": LabelFlipAll()},
        {"client": ProjectedGradient(1.0)},
        {"update": SignFlip()},
        {"when": FromTo(first=1)},
    ):
        with pytest.raises(ConfigError, match="no attackers"):
            Adversary(**attack)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "attack", [{"data": LabelFlipAll()}, {"client": ProjectedGradient(1.0)}, {"update": MinMax()}], ids=str
)
def test_any_one_attack_is_enough(attack: dict[str, Any]) -> None:
    assert Adversary(who=FirstClients(count=1), **attack).active(torch.arange(2), 2, context()) == {0: 0}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"who": FixedClients((30,)), "update": SignFlip()}, "number of clients"),
        ({"who": FirstClients(count=30), "update": SignFlip()}, "makes 30 attackers"),
        ({"who": FirstClients(count=1), "data": LabelFlip(0, target=10)}, "classes 0..9; got 10"),
        ({"who": FirstClients(count=1), "data": Backdoor(Patch(), target=10, per_batch=2)}, "classes 0..9; got 10"),
        ({"who": FirstClients(count=1), "data": Backdoor(Patch(29), target=1, share=0.5)}, "reaches row 28"),
        # The first attacker's own part fits; what evaluation stamps does not.
        (
            {"who": FirstClients(count=1), "data": Backdoor(Distributed((Patch(1), Patch(30))), target=1, share=0.5)},
            "reaches row 29",
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_the_federation_is_found_before_the_first_round(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Adversary(**fields).check(samples(), 20, context())


@pytest.mark.usefixtures("untouched_rng")
def test_what_fits_passes_the_check_and_changes_nothing() -> None:
    data = samples()
    attack = Backdoor(Distributed.mnist(), target=2, share=0.5)
    Adversary(who=FirstClients(count=2), data=attack).check(data, 20, context())
    assert not data.images.any()


def test_a_backdoor_on_samples_that_are_no_images_is_found_before_the_first_round() -> None:
    features = Samples(torch.zeros(3, 561), torch.zeros(3, dtype=torch.int64), 6)
    adversary = Adversary(who=FirstClients(count=1), data=Backdoor(Patch(), target=1, share=0.5))
    with pytest.raises(ConfigError, match="needs float images"):
        adversary.check(features, 20, context())


def test_a_whole_composition_survives_a_table() -> None:
    adversary = Adversary(
        who=FirstClients(share=0.1),
        when=FromTo(first=11, last=100),
        data=Backdoor(Distributed.cifar10(), target=2, per_batch=5),
        client=ProjectedGradient(2.0),
        update=ModelReplacement(server_lr=0.1),
    )
    assert Adversary.from_table(adversary.to_table()) == adversary
    assert Adversary.from_table(Adversary().to_table()) == Adversary()


def test_a_mistake_deep_inside_is_named_by_its_path() -> None:
    table = {
        "who": {"kind": "first_clients", "count": 2},
        "data": {"kind": "backdoor", "trigger": {"kind": "patch", "heigth": 3}, "target": 1, "share": 0.5},
    }
    with pytest.raises(ConfigError, match=r"data\.trigger\.heigth: unknown field; did you mean 'height'"):
        Adversary.from_table(table)
