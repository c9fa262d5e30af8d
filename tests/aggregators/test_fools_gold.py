"""FoolsGold: clients whose histories look alike share one vote."""

import dataclasses
from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phalanx.aggregators import FoolsGold, Mean
from phalanx.aggregators.fools_gold import foolsgold_weights
from phalanx.core.types import RoundContext, Updates


def slow_weights(cosines: list[list[float]]) -> list[float]:
    """The paper's loops."""
    n = len(cosines)
    nearest = [max(cosines[i][j] for j in range(n) if j != i) for i in range(n)]
    alike = []
    for i in range(n):
        seen = []
        for j in range(n):
            if j != i:
                pardoned = nearest[j] > nearest[i]
                seen.append(cosines[i][j] * (max(nearest[i], 0) / nearest[j] if pardoned and nearest[j] > 0 else 1))
        alike.append(max(seen))
    weights = [min(max(1 - value, 0), 1) for value in alike]
    top = max(weights)
    if top == 0:
        return weights
    scaled = [0.99 if weight == top else weight / top for weight in weights]
    return [min(max(log(w / (1 - w)) + 0.5, 0), 1) if w > 0 else 0 for w in scaled]


@given(st.integers(2, 7), st.integers(0, 999))
def test_the_weights_are_those_of_the_papers_loops(n: int, seed: int) -> None:
    rows = torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).abs()
    cosines = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=2)
    assert foolsgold_weights(cosines).tolist() == pytest.approx(slow_weights(cosines.tolist()), abs=1e-9)


def test_weights_by_hand() -> None:
    # 0 and 1 are alike by 0.9, 2 is like nobody: v = (0.9, 0.9, 0.1); 0 and 1 are left (0.1, 0.1), 2 is pardoned to 1 − 0.1/9
    cosines = torch.tensor([[1.0, 0.9, 0.1], [0.9, 1.0, 0.1], [0.1, 0.1, 1.0]], dtype=torch.float64)
    left = 0.1 / (1 - 0.1 / 9)
    expected = [max(0.0, log(left / (1 - left)) + 0.5)] * 2 + [1.0]
    assert foolsgold_weights(cosines).tolist() == pytest.approx(expected)


def test_histories_are_kept_by_client_while_clients_come_and_go() -> None:
    rule, state = FoolsGold(), {}
    rounds = [([4, 9], [[1.0, 0.0], [0.0, 1.0]]), ([9, 2], [[0.0, 2.0], [3.0, 3.0]])]
    for ids, rows in rounds:
        matrix = torch.tensor(rows)
        updates = dataclasses.replace(Updates.of(matrix), ids=torch.tensor(ids))
        _, state = rule.aggregate(updates, state, RoundContext.for_matrix(matrix))
    assert {name: value.tolist() for name, value in state.items()} == {
        "4.history": [1.0, 0.0],
        "9.history": [0.0, 3.0],
        "2.history": [3.0, 3.0],
    }


def test_a_majority_of_sybils_loses_its_weight_where_honest_clients_differ() -> None:
    generator = torch.Generator().manual_seed(0)
    honest = torch.randn(5, 200, generator=generator)
    sybils = -5 * torch.ones(15, 200) + 0.01 * torch.randn(15, 200, generator=generator)
    rows = torch.cat([sybils, honest])
    aggregate, _ = FoolsGold().aggregate(Updates.of(rows), {}, RoundContext.for_matrix(rows))
    assert not aggregate.influence[:15].any()
    assert (FoolsGold()(rows) - honest.mean(dim=0)).norm() < 0.2 * (Mean()(rows) - honest.mean(dim=0)).norm()


def test_a_single_client_keeps_its_vote() -> None:
    assert FoolsGold()(torch.tensor([[1.0, 2.0]])).tolist() == [1.0, 2.0]


def test_sybils_whose_history_overflows_are_still_alike() -> None:
    rule, state = FoolsGold(), {}
    honest = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    for size in (3e38, 3e38, 1.0, 1.0):
        rows = torch.cat([torch.full((3, 4), size), honest])
        aggregate, state = rule.aggregate(Updates.of(rows), state, RoundContext.for_matrix(rows))
        assert not aggregate.influence[:3].any()
