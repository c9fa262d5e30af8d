"""BatchNorm's statistics on the server: what clients send, and what a model can bear."""

import pytest
import torch
from torch import nn

from phalanx.aggregators import GeometricMedian, Mean
from phalanx.attacks import Adversary, FirstClients
from phalanx.attacks.update import Scaling
from phalanx.core.params import Layout, flatten
from phalanx.core.types import Aggregate, RoundContext, Rows, Samples, Updates
from phalanx.server import ServerSGD
from phalanx.server.aggregation import combined_buffers, valid_buffers
from phalanx.simulation.attack import attack

MODEL = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
LAYOUT = Layout.of(MODEL)


def test_a_variance_is_never_below_zero_and_all_else_is_as_it_was():
    buffers = torch.tensor([-1.0, 2.0, -3.0, -4.0, 0.0, 5.0])
    assert valid_buffers(buffers, LAYOUT).tolist() == [-1, 2, -3, 0, 0, 5]
    assert buffers.tolist() == [-1, 2, -3, -4, 0, 5]


def test_who_scales_by_the_right_factor_replaces_the_model_and_its_statistics():
    """Ten clients, nine of them as the global model; a step of 0.1 and a factor of 100 end at the attacker's model."""
    params, start = flatten(MODEL)
    context = RoundContext(0, 0, LAYOUT, params, start, model=MODEL)
    rows = Rows.empty(10, LAYOUT)
    rows.buffers.copy_(start.expand(10, -1))
    wanted, statistics = torch.randn(LAYOUT.d), torch.tensor([3.0, -2.0, 1.0, 0.25, 2.0, 1.0])
    rows.matrix[4], rows.buffers[4] = wanted, statistics
    adversary = Adversary(who=FirstClients(count=1), update=Scaling(100.0))
    nothing = Samples(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), 3)
    attack(adversary, Mean(), rows, range(10), [4], {}, context, lambda places: rows.matrix[places], lambda places: nothing)
    updates = Updates(rows.matrix, rows.buffers, torch.arange(10), torch.ones(10))
    result, _ = Mean().aggregate(updates, {}, context)
    assert isinstance(result, Aggregate)
    server = ServerSGD(lr=0.1)
    after, _ = server.step(params, result.update, {})
    torch.testing.assert_close(after, params + wanted)
    moved = server.step_buffers(start, combined_buffers(result, updates, context))
    torch.testing.assert_close(moved, statistics, rtol=1e-5, atol=1e-5)


def test_whoever_counts_little_decides_little_of_the_buffers():
    """An update a million times as long has a millionth of the weight; its statistics must not come in whole."""
    sent = torch.tensor([[1.0] * 6, [3.0] * 6, [1e6] * 6])
    context = RoundContext(0, 0, LAYOUT, *flatten(MODEL), model=MODEL)
    updates = Updates(torch.zeros(3, LAYOUT.d), sent, torch.arange(3), torch.ones(3))

    def combined(*influence: float) -> list[float]:
        weights = torch.tensor(influence, dtype=torch.float64)
        return combined_buffers(Aggregate(torch.zeros(LAYOUT.d), influence=weights), updates, context).tolist()

    assert combined(0.5, 0.5, 0.0) == [2.0] * 6
    assert combined(0.75, 0.25, 0.0) == [1.5] * 6
    assert combined(0.5, 0.5, 1e-9)[0] == pytest.approx(2.0, abs=2e-3)
    assert combined(0.0, 0.0, 0.0) == context.global_buffers.tolist()


def test_a_rule_that_keeps_all_rows_stands_statistics_that_are_scaled():
    """GeometricMedian gives the long row a hundred-thousandth; the mean of all would have been the attacker's."""
    sent = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)) * 0.1 + 1
    rows = torch.randn(20, LAYOUT.d, generator=torch.Generator().manual_seed(1))
    sent[0], rows[0] = 1e4, rows[0] * 1e4
    context = RoundContext(0, 0, LAYOUT, *flatten(MODEL), model=MODEL)
    updates = Updates(rows, sent, torch.arange(20), torch.ones(20))
    result, _ = GeometricMedian(num_byzantine=1).aggregate(updates, {}, context)
    assert (combined_buffers(result, updates, context) - 1).abs().max() < 0.2
