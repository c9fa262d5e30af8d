"""Who is malicious, and with which number."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.attacks import EveryKth, FirstClients, FixedClients, RandomClients, ShareOfRound
from phalanx.core.capabilities import Capability
from phalanx.core.component import members
from phalanx.core.errors import ConfigError
from phalanx.core.families import Selection
from phalanx.core.params import Layout
from phalanx.core.types import RoundContext

SELECTIONS: list[Selection] = [
    FirstClients(count=3),
    FirstClients(share=0.2),
    RandomClients(count=3),
    RandomClients(share=0.2),
    EveryKth(4, offset=1),
    FixedClients((7, 3)),
    ShareOfRound(0.4),
]


def context(round: int = 0, seed: int = 0) -> RoundContext:
    return RoundContext(round, seed, Layout.flat(1), torch.zeros(1), torch.zeros(0))


def everyone(selection: Selection, num_clients: int, *, round: int = 0, seed: int = 0) -> dict[int, int]:
    return selection.attackers(torch.arange(num_clients), num_clients, context(round, seed))


def test_first_clients_are_the_first_by_count_or_share() -> None:
    assert everyone(FirstClients(count=2), 10) == {0: 0, 1: 1}
    assert everyone(FirstClients(share=0.2), 100) == {client: client for client in range(20)}
    assert everyone(FirstClients(share=0.25), 10) == {0: 0, 1: 1}, "2.5 rounds to an even 2"


def test_every_kth_begins_at_its_offset() -> None:
    assert everyone(EveryKth(15), 40) == {0: 0, 15: 1, 30: 2}
    assert everyone(EveryKth(15, offset=20), 40) == {20: 0, 35: 1}


def test_fixed_clients_are_numbered_in_the_order_of_the_list() -> None:
    assert everyone(FixedClients((7, 3, 9)), 10) == {3: 1, 7: 0, 9: 2}


def test_random_clients_stay_the_same_all_run_and_change_with_the_seed() -> None:
    selection = RandomClients(count=10)
    first = everyone(selection, 100)
    assert len(first) == 10
    assert sorted(first.values()) == list(range(10))
    assert all(everyone(selection, 100, round=round) == first for round in range(5))
    assert everyone(selection, 100, seed=1).keys() != first.keys()
    assert everyone(RandomClients(share=0.1), 100) == first


def test_more_random_clients_contain_the_fewer_with_their_numbers() -> None:
    few, many = everyone(RandomClients(count=5), 50), everyone(RandomClients(count=20), 50)
    assert few.items() <= many.items()


def test_over_seeds_every_client_is_drawn_about_equally_often() -> None:
    counts = Counter(client for seed in range(400) for client in everyone(RandomClients(count=5), 20, seed=seed))
    assert len(counts) == 20
    assert all(60 < count < 140 for count in counts.values()), "100 expected, standard deviation 9"


def test_a_share_of_the_round_is_the_same_number_every_round_and_other_clients() -> None:
    selection, sampled = ShareOfRound(0.4), torch.tensor([3, 8, 15, 16, 23, 42, 50, 61, 77, 90])
    rounds = [selection.attackers(sampled, 100, context(round)) for round in range(30)]
    assert all(len(attackers) == 4 for attackers in rounds)
    assert all(sorted(attackers.values()) == [0, 1, 2, 3] for attackers in rounds), "each part of a trigger once"
    assert all(attackers.keys() <= set(sampled.tolist()) for attackers in rounds)
    assert set().union(*rounds) == set(sampled.tolist())
    assert rounds[7] == selection.attackers(sampled, 100, context(7))
    assert list(rounds[0].items()) == sorted(rounds[0].items())


@pytest.mark.parametrize(("clients", "size"), [(1, 1), (5, 1), (14, 1), (16, 2)])
def test_a_share_of_a_small_round_is_one_attacker_at_least(clients: int, size: int) -> None:
    assert len(everyone(ShareOfRound(0.1), clients)) == size


def test_a_share_of_nobody_is_nobody() -> None:
    assert ShareOfRound(0.4).attackers(torch.zeros(0, dtype=torch.int64), 10, context()) == {}


@pytest.mark.parametrize("selection", [one for one in SELECTIONS if Capability.ROSTER not in one.needs], ids=repr)
@given(st.sets(st.integers(0, 19)))
def test_being_an_attacker_does_not_depend_on_who_else_is_sampled(selection: Selection, sampled: set[int]) -> None:
    ids = torch.tensor(sorted(sampled), dtype=torch.int64)
    everybody = everyone(selection, 20)
    expected = {client: everybody[client] for client in sampled & everybody.keys()}
    assert selection.attackers(ids, 20, context(round=3)) == expected


@pytest.mark.usefixtures("untouched_rng")
@pytest.mark.parametrize("selection", SELECTIONS, ids=repr)
def test_selecting_is_pure(selection: Selection) -> None:
    ids = torch.tensor([9, 3, 7, 1])
    before = ids.clone()
    assert selection.attackers(ids, 20, context()) == selection.attackers(ids, 20, context())
    assert ids.equal(before)


@pytest.mark.parametrize("selection", [FirstClients, RandomClients])
def test_exactly_one_of_count_and_share(selection: type[FirstClients] | type[RandomClients]) -> None:
    with pytest.raises(ConfigError, match=f"{selection.__name__} needs exactly one of count and share"):
        selection()
    with pytest.raises(ConfigError, match=r"got count=3, share=0\.1"):
        selection(count=3, share=0.1)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (FirstClients(count=11), "makes 11 attackers of 10"),
        (RandomClients(count=11), "makes 11 attackers of 10"),
        (RandomClients(share=0.01), "makes 0 attackers of 10"),
        (FixedClients((1, 10)), "below 10, the number of clients; got 10"),
        (EveryKth(2, offset=10), "offset < 10, the number of clients; got 10"),
    ],
    ids=repr,
)
def test_a_selection_that_does_not_fit_the_federation_says_so(selection: Selection, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        everyone(selection, 10)


def test_selections_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="distinct"):
        FixedClients((1, 1))
    for make in (lambda: FixedClients(()), lambda: EveryKth(0), lambda: ShareOfRound(0.0), lambda: FirstClients(share=1.5)):
        with pytest.raises(ConfigError):
            make()


def test_every_selection_of_the_library_is_tried_and_survives_a_table() -> None:
    tried = {selection.kind for selection in SELECTIONS}
    assert tried == {kind for kind, member in members(Selection).items() if member.__module__.startswith("phalanx.")}
    assert all(Selection.from_table(selection.to_table()) == selection for selection in SELECTIONS)
