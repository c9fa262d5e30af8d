"""RobustLearningRate: coordinates without enough agreement are moved the other way."""

import dataclasses

import pytest
import torch

from phalanx.aggregators import RobustLearningRate
from phalanx.core.errors import PreconditionError
from phalanx.core.types import RoundContext, Updates


def test_robust_learning_rate_by_hand() -> None:
    rows = torch.tensor([[1.0, 2.0, 0.0], [2.0, -1.0, 0.0], [3.0, 2.0, 3.0]])
    # sums of signs 3, 1, 1: only the first reaches 2
    assert RobustLearningRate(threshold=2)(rows).tolist() == [2.0, -1.0, -1.0]
    assert RobustLearningRate(threshold=1)(rows).tolist() == [2.0, 1.0, 1.0]


def test_weights_change_the_mean_but_not_the_votes() -> None:
    rows = torch.tensor([[1.0], [2.0], [-6.0]])
    weighted = dataclasses.replace(Updates.of(rows), weights=torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64))
    aggregate, _ = RobustLearningRate(threshold=1).aggregate(weighted, {}, RoundContext.for_matrix(rows))
    assert aggregate.update.tolist() == [-2.0]


def test_fewer_rows_than_the_threshold_are_an_error_not_a_walk_backwards() -> None:
    with pytest.raises(PreconditionError, match="RobustLearningRate needs n >= threshold updates; got n=3, threshold=4"):
        RobustLearningRate(threshold=4)(torch.ones(3, 2))


def test_what_only_attackers_move_is_reversed_and_what_all_move_stays() -> None:
    rows = torch.zeros(20, 2)
    rows[:, 0] = 1.0
    rows[:4, 1] = 5.0
    result = RobustLearningRate(threshold=8)(rows)
    assert result.tolist() == pytest.approx([1.0, -1.0])
