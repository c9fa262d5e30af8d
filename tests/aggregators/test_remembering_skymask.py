"""RememberingSkyMask: what clients' masks have in common over rounds."""

import dataclasses
from collections import defaultdict

import pytest
import torch
from tests.aggregators.test_skymask import aggregate, kept, scene
from torch import Tensor

from phalanx.aggregators import Bucketing, Pipeline, RememberingSkyMask, SkyMask, remembering_skymask
from phalanx.aggregators.components import principal_points
from phalanx.aggregators.mask_clusters import Split
from phalanx.attacks.update import ALittleIsEnough, MinMax
from phalanx.core.errors import ConfigError
from phalanx.core.types import Updates

HONEST, MALICIOUS = 14, 5


def rounds(
    rule: RememberingSkyMask | SkyMask, count: int, attack: ALittleIsEnough | MinMax | None, since: int = 0
) -> list[list[int]]:
    """Who is kept in each round, of honest clients 0 to 13 and five others, who attack from round `since` on."""
    state, found = rule.init(scene()[1].layout), []
    for round in range(count):
        rows, context = scene(HONEST + MALICIOUS, seed=round)
        honest, others = rows[:HONEST], rows[HONEST:]
        if attack is not None and round >= since:
            others = attack(honest, num_byzantine=MALICIOUS)
        context = dataclasses.replace(context, round=round, seed=0)
        result, state = rule.aggregate(Updates.of(torch.cat([honest, others])), state, context)
        found.append(kept(result))
    return found


def tpr(found: list[list[int]]) -> float:
    return sum(len({*range(HONEST, HONEST + MALICIOUS)} - {*some}) for some in found) / MALICIOUS / len(found)


def fpr(found: list[list[int]]) -> float:
    return sum(len({*range(HONEST)} - {*some}) for some in found) / HONEST / len(found)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("attack", [None, MinMax(), ALittleIsEnough(1.5)])
def test_the_first_round_is_skymasks(seed: int, attack: MinMax | ALittleIsEnough | None) -> None:
    rows, context = scene(seed=seed)
    if attack is not None:
        rows = torch.cat([attack(rows, num_byzantine=5), rows])
    one, other = aggregate(rows, context, RememberingSkyMask()), aggregate(rows, context, SkyMask())
    torch.testing.assert_close(one.embedding, other.embedding, atol=1e-5, rtol=0)
    assert one.metrics["silhouette"] == pytest.approx(other.metrics["silhouette"], abs=1e-4)
    assert kept(one) == kept(other)


def slow_mean(history: list[tuple[list[int], Tensor]], memory: float) -> Tensor:
    """Every pair's own rounds, newest first, each counting `memory` times as much as the one after it."""
    met = defaultdict(list)
    for clients, distances in history:
        for i, one in enumerate(clients):
            for j, other in enumerate(clients):
                met[one, other].append(float(distances[i, j]))
    clients = history[-1][0]
    means = torch.zeros(len(clients), len(clients), dtype=torch.float64)
    for i, one in enumerate(clients):
        for j, other in enumerate(clients):
            counts = [memory**age for age in range(len(met[one, other]))]
            means[i, j] = sum(c * d for c, d in zip(counts, reversed(met[one, other]))) / sum(counts)
    return means


@pytest.mark.parametrize("memory", [0.5, 1.0])
def test_it_remembers_pairs_of_clients_who_come_and_go(memory: float) -> None:
    rule, generator, state, history = (
        RememberingSkyMask(memory=memory),
        torch.Generator().manual_seed(0),
        dict[str, Tensor](),
        [],
    )
    for _ in range(6):
        clients = torch.randperm(9, generator=generator)[:4] * 10
        raw = torch.rand(5, 5, dtype=torch.float64, generator=generator)
        history.append(([*clients.tolist(), -1], raw + raw.T))
        mean, state = rule._remember(clients, raw + raw.T, state)
        torch.testing.assert_close(mean, slow_mean(history, memory))
    assert state["ids"].tolist() == sorted({client for clients, _ in history for client in clients})


def test_two_rounds_by_hand() -> None:
    rule, pair = RememberingSkyMask(memory=0.5), torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    mean, state = rule._remember(torch.tensor([7]), pair, {})
    assert mean.tolist() == pair.tolist()
    mean, state = rule._remember(torch.tensor([7]), 4 * pair, state)
    assert mean[0, 1] == pytest.approx((0.5 * 1 + 4) / 1.5)
    mean, state = rule._remember(torch.tensor([3]), 2 * pair, state)  # who is new is judged by this round alone
    assert mean.tolist() == (2 * pair).tolist()
    assert state["ids"].tolist() == [-1, 3, 7]
    assert state["sums"][0, 2] == 4.5  # and who is away is not forgotten


def test_points_of_distances_are_those_of_the_gram_matrix() -> None:
    bits = (torch.rand(7, 50, generator=torch.Generator().manual_seed(1)) > 0.5).double()
    gram, distances = bits @ bits.T, torch.cdist(bits, bits).square()
    assert principal_points(distances / -2) == pytest.approx(principal_points(gram), abs=1e-5)


def test_a_group_that_is_too_loose_in_one_round_is_found_over_many() -> None:
    alone, remembering = (rounds(rule, 12, ALittleIsEnough(0.3)) for rule in (SkyMask(), RememberingSkyMask()))
    assert tpr(alone[4:]) == 0
    assert tpr(remembering[4:]) == 1
    assert fpr(remembering) == 0


def test_over_many_rounds_nobody_is_rejected_where_nobody_attacks() -> None:
    assert rounds(RememberingSkyMask(), 12, None) == [[*range(HONEST + MALICIOUS)]] * 12


def test_who_attacks_bluntly_after_many_honest_rounds_is_rejected_at_once() -> None:
    assert tpr(rounds(RememberingSkyMask(), 9, MinMax(), since=8)[8:]) == 1
    assert tpr(rounds(RememberingSkyMask(min_silhouette_alone=1), 9, MinMax(), since=8)[8:]) == 0


def test_memory_is_of_clients_and_needs_to_know_them_again() -> None:
    with pytest.raises(ConfigError, match="RememberingSkyMask needs a durable identity for every client across rounds"):
        Pipeline((Bucketing(size=2), RememberingSkyMask()))


def test_going_on_from_a_copy_of_the_state_gives_the_same_bits() -> None:
    rows, context = scene()
    rule = RememberingSkyMask()
    _, state = rule.aggregate(Updates.of(rows), {}, context)
    copy = {name: tensor.clone() for name, tensor in state.items()}
    one, after = rule.aggregate(Updates.of(rows), state, context)
    other, again = rule.aggregate(Updates.of(rows), copy, context)
    assert torch.equal(one.update, other.update)
    assert all(torch.equal(after[name], again[name]) and torch.equal(state[name], copy[name]) for name in state)


@pytest.mark.parametrize(("of_server", "rejected"), [(0.1, 4), (-0.1, 0), (0.0, 0)])
def test_a_server_between_two_clear_clusters_judges_nobody(
    monkeypatch: pytest.MonkeyPatch, of_server: float, rejected: int
) -> None:
    labels = torch.tensor([True] * 4 + [False] * 10 + [False])
    silhouettes = torch.tensor([0.8] * 14 + [of_server], dtype=torch.float64)
    monkeypatch.setattr(remembering_skymask, "two_clusters", lambda *points: Split(labels, silhouettes, delta_bic=1.0))
    rows, context = scene()
    result = aggregate(rows, context, RememberingSkyMask(min_silhouette_alone=1))
    assert len(rows) - len(kept(result)) == rejected
