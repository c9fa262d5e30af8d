"""Mean: the weighted average, by the server's weights."""

import dataclasses

import pytest
import torch

from phalanx.aggregators import Mean
from phalanx.core.errors import PreconditionError
from phalanx.core.types import RoundContext, Updates

ROWS = torch.tensor([[0.0, 2.0], [4.0, 6.0], [8.0, 10.0]])


def test_mean_by_hand() -> None:
    assert Mean()(ROWS).tolist() == [4.0, 6.0]


def test_the_servers_weights_count_and_are_the_influence() -> None:
    updates = dataclasses.replace(Updates.of(ROWS), weights=torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64))
    aggregate, _ = Mean().aggregate(updates, {}, RoundContext.for_matrix(ROWS))
    assert aggregate.update is not None
    assert aggregate.update.tolist() == [6.0, 8.0]
    assert aggregate.influence is not None
    assert aggregate.influence.tolist() == [0.25, 0.0, 0.75]


def test_no_positive_weight_is_an_error_with_the_numbers() -> None:
    updates = dataclasses.replace(Updates.of(ROWS), weights=torch.zeros(3, dtype=torch.float64))
    with pytest.raises(PreconditionError, match="positive weight; got n=3 whose weights sum to 0"):
        Mean().aggregate(updates, {}, RoundContext.for_matrix(ROWS))


def test_one_attacker_moves_the_mean_anywhere() -> None:
    rows = torch.ones(10, 3)
    rows[0] = -1e6
    assert Mean()(rows).max() < -9e4
