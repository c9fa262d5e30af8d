"""BatchNorm's statistics on the server: what clients send, and what a model can bear."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from phalanx.aggregators import (
    CenteredClipping,
    ClipNorm,
    Flame,
    GeometricMedian,
    Mean,
    Median,
    MultiKrum,
    NearestNeighborMixing,
    NormClipping,
    Pipeline,
    TrimmedMean,
)
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


CONTEXT = RoundContext(0, 0, LAYOUT, *flatten(MODEL), model=MODEL)


def sent(buffers: Tensor, rows: Tensor | None = None) -> Updates:
    n = len(buffers)
    rows = torch.zeros(n, LAYOUT.d) if rows is None else rows
    return Updates(rows, buffers, torch.arange(n), torch.ones(n, dtype=torch.float64))


def test_the_buffers_are_the_median_of_those_whose_updates_count():
    updates = sent(torch.tensor([[1.0], [3.0], [4.0], [1e6]]).expand(-1, LAYOUT.b))

    def combined(*influence: float) -> float:
        weights = torch.tensor(influence, dtype=torch.float64)
        return combined_buffers(Aggregate(torch.zeros(LAYOUT.d), influence=weights), updates, CONTEXT)[0].item()

    assert combined(0.5, 0.5, 0, 0) == 2
    assert combined(0.5, 0.25, 0.25, 1e-9) == 3.5
    assert combined(1, 0, 0, 0) == 1
    assert combined(0, 0, 0, 0) == CONTEXT.global_buffers[0]
    unattributed = Aggregate(torch.zeros(LAYOUT.d))
    assert combined_buffers(unattributed, updates, CONTEXT)[0] == 3.5
    kept = combined_buffers(Aggregate(None), updates, CONTEXT)
    assert kept.equal(CONTEXT.global_buffers)


def test_the_mean_takes_the_mean_by_its_weights():
    updates = replace(sent(torch.tensor([[1.0], [5.0]]).expand(-1, LAYOUT.b)), weights=torch.tensor([3.0, 1.0]))
    result, _ = Mean().aggregate(updates, {}, CONTEXT)
    assert combined_buffers(result, updates, CONTEXT).tolist() == [2] * LAYOUT.b


@pytest.mark.parametrize(
    "rule",
    [
        Median(),
        TrimmedMean(num_byzantine=2),
        MultiKrum(num_byzantine=2),
        GeometricMedian(num_byzantine=2),
        CenteredClipping(1.0),
        NormClipping(1.0),
        Flame(),
        Pipeline((ClipNorm(1.0), Mean())),
        Pipeline((NearestNeighborMixing(2), Mean())),
    ],
    ids=repr,
)
@pytest.mark.parametrize("lie", [1e5, -1e5])
def test_false_statistics_behind_an_honest_update_change_little(rule, lie):
    """No rule looks at them, and to every one of these two liars of ten are as good as anybody."""
    generator = torch.Generator().manual_seed(0)
    honest = torch.randn(10, LAYOUT.b, generator=generator) * 0.1 + 1
    rows = torch.randn(10, LAYOUT.d, generator=generator) * 0.01 + 0.1
    updates = sent(honest.clone(), rows)
    updates.buffers[:2] = lie
    result, _ = rule.aggregate(updates, {}, CONTEXT)
    assert (combined_buffers(result, updates, CONTEXT) - 1).abs().max() < 0.3
