"""FLDetector: whoever's updates cannot be predicted from his last one is malicious."""

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from phalanx.aggregators import FLDetector, Mean
from phalanx.aggregators.hessian import hessian_product
from phalanx.core.types import Aggregate, RoundContext, State, Updates

CURVATURE = torch.linspace(0.5, 2, 30)


def step(
    rule: FLDetector, rows: Tensor, params: Tensor, state: State, *, round: int = 0, ids: Sequence[int] | None = None
) -> tuple[Aggregate, State]:
    updates = Updates.of(rows)
    if ids is not None:
        updates = dataclasses.replace(updates, ids=torch.tensor(ids))
    context = dataclasses.replace(RoundContext.for_matrix(rows), round=round, global_params=params)
    return rule.aggregate(updates, state, context)


def rounds(rule: FLDetector, count: int, *, bad: int = 4, attacks_from: int = 0) -> tuple[list[Aggregate], State]:
    """Ten clients, each with a quadratic loss of its own; the attackers send noise from some round on."""
    generator = torch.Generator().manual_seed(0)
    centres = 1 + 0.2 * torch.randn(10, 30, generator=generator)
    params, state, results = torch.zeros(30), {}, list[Aggregate]()
    for round in range(count):
        rows = -0.1 * CURVATURE * (params - centres) + 1e-3 * torch.randn(10, 30, generator=generator)
        if round >= attacks_from:
            rows[:bad] = 0.3 * torch.randn(bad, 30, generator=generator)
        result, state = step(rule, rows, params, state, round=round)
        results.append(result)
        if result.update is not None:
            params = params + result.update
    return results, state


def test_distances_by_hand_are_those_from_the_last_update_plus_what_the_curvature_changes() -> None:
    rule, state = FLDetector(), {}
    for rows, params in (([[1.0], [3.0]], 0.0), ([[0.5], [2.5]], 1.0)):
        result, state = step(rule, torch.tensor(rows), torch.tensor([params]), state)
        assert result.scores.isnan().all()  # a change is seen for the first time in the second round
        assert result.update.item() == sum(row[0] for row in rows) / 2
    # H = (1.5 − 2) / (1 − 0) = −0.5; the move is 2, so 0.5 and 2.5 are to become −0.5 and 1.5.
    result, state = step(rule, torch.tensor([[-0.5 + 0.1], [1.5 - 0.3]]), torch.tensor([3.0]), state)
    assert result.scores.tolist() == pytest.approx([0.1 / 0.2, 0.3 / 0.2])
    assert result.metrics["judged"] == 2
    result, _ = step(rule, torch.tensor([[0.0], [0.0]]), torch.tensor([3.0]), state)  # nothing moved: they are to stay
    assert result.scores.tolist() == pytest.approx([(0.5 + 0.4 / 0.8) / 2, (1.5 + 1.2 / 0.8) / 2], abs=1e-6)


def test_it_is_the_papers_round_in_matrices() -> None:
    """The score of every client after some rounds, from the whole history."""
    rule, state = FLDetector(window=3), {}
    generator = torch.Generator().manual_seed(1)
    params = torch.randn(7, 8, generator=generator)
    rows = torch.randn(7, 5, 8, generator=generator)
    for round in range(7):
        result, state = step(rule, rows[round], params[round], state, round=round)
    means, shares = rows.mean(dim=1), []
    for round in range(2, 7):
        pairs = range(max(1, round - 3), round)
        moves = torch.stack([params[t] - params[t - 1] for t in pairs])
        changes = torch.stack([means[t] - means[t - 1] for t in pairs])
        predicted = rows[round - 1] + hessian_product(moves, changes, params[round] - params[round - 1])
        distances = (predicted - rows[round]).norm(dim=1)
        shares.append(distances / distances.sum())
    expected = 5 * torch.stack(shares[-3:]).mean(dim=0)  # ours are multiples of the mean, the paper's shares of the sum
    torch.testing.assert_close(result.scores, expected, rtol=1e-4, atol=1e-6)


def test_equal_errors_have_equal_scores_in_rounds_of_many_and_of_few() -> None:
    rule, state, generator = FLDetector(), {}, torch.Generator().manual_seed(2)
    for round in range(3):
        rows = torch.randn(30, 8, generator=generator)
        _, state = step(rule, rows, torch.full((8,), float(round)), state, round=round)
    many = rule._distances(Updates.of(torch.zeros(30, 8)), state, torch.zeros(8))
    few = rule._distances(Updates.of(torch.zeros(5, 8)), state, torch.zeros(8))
    assert many.mean() == pytest.approx(1.0)
    assert few.mean() == pytest.approx(1.0)
    torch.testing.assert_close(few / few[0], many[:5] / many[0])


def test_clients_who_cannot_be_predicted_are_excluded_from_the_windows_round_on() -> None:
    results, _ = rounds(FLDetector(window=5), 9)
    assert all(result.influence.count_nonzero() == 10 for result in results[:5])
    for result in results[5:]:
        assert result.influence.nonzero().flatten().tolist() == [4, 5, 6, 7, 8, 9]
        assert result.metrics["excluded"] == 4


def test_without_attackers_nobody_is_excluded() -> None:
    results, _ = rounds(FLDetector(window=5), 12, bad=0)
    assert all(result.influence.count_nonzero() == 10 for result in results)


def test_excluded_for_good_or_for_the_round() -> None:
    for is_permanent in (True, False):
        rule = FLDetector(window=3, is_permanent=is_permanent)
        _, state = rounds(rule, 8)
        calm = torch.ones(10, 30)
        for round in range(8, 20):
            result, state = step(rule, calm, torch.zeros(30), state, round=round)
        assert result.influence.count_nonzero() == (6 if is_permanent else 10)


def test_if_everyone_is_excluded_the_model_is_kept() -> None:
    rule = FLDetector()
    rows = torch.ones(2, 3)
    result, _ = step(rule, rows, torch.zeros(3), {"excluded": torch.tensor([0, 1])})
    assert result.update is None
    assert not result.influence.any()


def test_clients_come_and_go_under_their_ids_and_are_judged_by_their_last_round_only() -> None:
    rule, state = FLDetector(window=4), {}
    generator = torch.Generator().manual_seed(2)
    for round, ids in enumerate(([3, 7, 9], [3, 7, 9], [7, 3], [9, 3, 7])):
        result, state = step(rule, torch.randn(len(ids), 4, generator=generator), torch.randn(4), state, round=round, ids=ids)
    # 9 was not there in the last round.
    assert result.scores.isnan().tolist() == [True, False, False]
    assert {"3.update", "7.distances", "9.round"} <= state.keys()


def test_the_memory_that_comes_in_is_not_changed() -> None:
    _, state = rounds(FLDetector(window=3), 5)
    kept = {name: value.clone() for name, value in state.items()}
    step(FLDetector(window=3), torch.randn(10, 30), torch.randn(30), state, round=5)
    assert state.keys() == kept.keys()
    assert all(torch.equal(state[name], value) for name, value in kept.items())


def test_it_holds_where_the_mean_breaks() -> None:
    results, _ = rounds(FLDetector(window=5), 9)
    generator = torch.Generator().manual_seed(5)
    rows = torch.full((10, 30), 0.1)
    rows[:4] = 50 * torch.randn(4, 30, generator=generator)
    _, state = rounds(FLDetector(window=5), 9)
    result, _ = step(FLDetector(window=5), rows, torch.zeros(30), state, round=9)
    assert (Mean()(rows) - 0.1).abs().max() > 5
    assert (result.update - 0.1).abs().max() < 1e-6
    assert results[-1].influence[:4].tolist() == [0, 0, 0, 0]
