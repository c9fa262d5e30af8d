"""Learning rate schedules against torch's own."""

import pytest
import torch
from torch.optim import lr_scheduler

from phalanx.core.errors import ConfigError
from phalanx.core.families import LearningRateSchedule
from phalanx.training import Constant, Cosine, Exponential, StepDecay

PAIRS = {
    "constant": (Constant(), lambda optimizer: lr_scheduler.ConstantLR(optimizer, factor=1.0)),
    "step decay": (StepDecay((3, 7), gamma=0.2), lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [3, 7], gamma=0.2)),
    "exponential": (Exponential(0.9), lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9)),
    "cosine": (Cosine(10), lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 10)),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_schedule_agrees_with_torch(pair):
    schedule, make = PAIRS[pair]
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = make(optimizer)
    for round in range(11):
        assert schedule.factor(round) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        theirs.step()


def test_a_finished_cosine_stays_at_zero():
    assert Cosine(10).factor(25) == 0


@pytest.mark.parametrize("schedule, kind", [(Constant(), "constant"), (StepDecay((1,)), "step_decay"), (Cosine(3), "cosine")])
def test_a_schedule_is_a_table_with_its_kind(schedule, kind):
    table = {"kind": kind, **schedule.to_table()}
    assert LearningRateSchedule.from_table(table) == schedule


def test_a_growing_learning_rate_is_refused():
    with pytest.raises(ConfigError, match="gamma"):
        Exponential(1.1)
