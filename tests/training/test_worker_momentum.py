"""WorkerMomentum: clients send a running average of their updates."""

import dataclasses

import pytest
import torch

import phalanx
from phalanx.config import RunSettings
from phalanx.core.errors import ConfigError
from phalanx.core.families import Trainer
from phalanx.core.params import Layout
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State, Status
from phalanx.data import IID, Synthetic
from phalanx.models import LogisticRegression
from phalanx.training import SGD, WorkerMomentum


class _Sends(Trainer):
    """Sends the round's number plus one; client 1 has no samples in round 1."""

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        for client, place in zip(cohort.ids, cohort.places):
            out.matrix[place] = context.round + 1
            out.status[place] = Status.NO_SAMPLES if client == context.round == 1 else Status.SENT
        return {}


def test_momentum_by_hand_over_three_rounds_with_a_client_that_misses_one() -> None:
    trainer, layout = WorkerMomentum(_Sends(), beta=0.5), Layout.flat(2)
    samples = Samples(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64), 2)
    cohort = Cohort((0, 1), (0, 1), samples, (torch.zeros(1, dtype=torch.int64),) * 2)
    state, sent = {}, []
    for round in range(3):
        rows = Rows.empty(2, layout)
        context = dataclasses.replace(RoundContext.for_matrix(rows.matrix), round=round)
        state = {**state, **trainer.train(cohort, state, context, rows)}
        sent.append(rows.matrix[:, 0].tolist())
    assert sent[0] == [1.0, 1.0]
    assert sent[1][0] == 1.5
    assert sent[2] == [2.25, 2.0]
    assert state["0.momentum"].tolist() == [2.25, 2.25]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_federation_trains_with_it_to_the_same_bytes_with_any_number_of_workers(workers: int) -> None:
    def final(workers: int) -> torch.Tensor:
        experiment = phalanx.Experiment(
            run=RunSettings(rounds=4, seed=1, workers=workers),
            data=Synthetic(num_samples=120, num_features=4, num_classes=2),
            partition=IID(num_clients=6),
            model=LogisticRegression(),
            training=WorkerMomentum(SGD(lr=0.1, epochs=1)),
        )
        return torch.cat([p.detach().flatten() for p in phalanx.run(experiment).model.parameters()])

    assert torch.equal(final(workers), final(1))


class _DivergesOnce(Trainer):
    """Sends ones, but NaN in round 1."""

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        out.matrix[list(cohort.places)] = torch.nan if context.round == 1 else 1.0
        return {}


def test_a_client_that_diverged_once_comes_back() -> None:
    samples = Samples(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64), 2)
    cohort, state, sent = Cohort((0,), (0,), samples, (torch.zeros(1, dtype=torch.int64),)), {}, []
    for round in range(3):
        rows = Rows.empty(1, Layout.flat(1))
        context = dataclasses.replace(RoundContext.for_matrix(rows.matrix), round=round)
        state = {**state, **WorkerMomentum(_DivergesOnce(), beta=0.5).train(cohort, state, context, rows)}
        sent.append(rows.matrix.item())
    assert sent[0] == sent[2] == 1.0
    assert sent[1] != sent[1]


def test_momentum_of_momentum_is_refused() -> None:
    with pytest.raises(ConfigError, match="WorkerMomentum around WorkerMomentum is not supported"):
        WorkerMomentum(WorkerMomentum(SGD(lr=0.1, epochs=1)))


def test_a_number_of_steps_is_that_of_the_trainer_inside() -> None:
    assert WorkerMomentum(SGD(0.1, epochs=3)).in_steps(7) == WorkerMomentum(SGD(0.1, steps=7))
