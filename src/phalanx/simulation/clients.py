"""The clients' side of a round: who trains how, in this process or in workers, into which row."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from phalanx.config import Experiment
from phalanx.core.families import DataAttack, StepHook
from phalanx.core.params import Layout
from phalanx.core.privacy import SPENT
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State, Status
from phalanx.data import Federation
from phalanx.training import InProcess, WorkerPool


class Clients:
    """All clients of a federation and whoever does their work. A context manager: it may hold worker processes."""

    def __init__(
        self,
        experiment: Experiment,
        federation: Federation,
        model: nn.Module,
        layout: Layout,
        devices: tuple[torch.device, ...],
    ) -> None:
        self.experiment = experiment
        self.federation = federation
        adversary, workers = experiment.adversary, experiment.run.workers
        capacity = experiment.participation.largest(federation.num_clients)
        trains_twice = adversary.update and (adversary.data or adversary.client)
        scratch = capacity if trains_twice else 0
        self._executor: InProcess | WorkerPool
        if workers * len(devices) == 1:
            self._executor = InProcess(model, layout, capacity, scratch)
        else:
            data = federation.train, federation.clients
            self._executor = WorkerPool(workers, model, *data, layout, capacity, scratch, devices=devices)

    def __enter__(self) -> Self:
        self._executor.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._executor.__exit__(kind, error, trace)

    @property
    def rows(self) -> Rows:
        """The one matrix of a run: every round overwrites it."""
        return self._executor.rows

    @property
    def scratch(self) -> Rows:
        """Room for training that nobody sends; overwritten, too."""
        return self._executor.scratch

    def train(
        self, ids: Sequence[int], attackers: Mapping[int, int], state: State, context: RoundContext
    ) -> tuple[Rows, State]:
        """A round's rows, the attackers' ones with their data and client attack, and the clients' new memory.

        `attackers` maps places in `ids` to attackers' numbers.
        """
        adversary, trainer = self.experiment.adversary, self.experiment.training
        rows, num_clients = self.rows.first(len(ids)), self.federation.num_clients
        drops = self.experiment.participation.drops(torch.tensor(ids, dtype=torch.int64), num_clients, context)
        rows.status.fill_(Status.SENT)
        rows.status[drops] = Status.DROPPED_OUT
        present = [place for place, is_dropped in enumerate(drops.tolist()) if not is_dropped]
        if honest := [place for place in present if place not in attackers]:
            cohort = self._cohort([ids[place] for place in honest], honest)
            state = {**state, **self._executor.train(trainer, cohort, state, context, rows)}
        if bad := [place for place in present if place in attackers]:
            cohort = self._cohort(
                [ids[place] for place in bad],
                bad,
                poison=adversary.data,
                attackers=tuple(attackers[place] for place in bad),
                hooks=adversary.client.hooks() if adversary.client else (),
            )
            malicious = adversary.client.training(trainer) if adversary.client else trainer
            trained = self._executor.train(malicious, cohort, state, context, rows)
            # Attackers write what they like, and nobody promises to hide them: their spending is on no books.
            state = {**state, **{name: kept for name, kept in trained.items() if not name.endswith(SPENT)}}
        return rows, state

    def train_honestly(self, ids: Sequence[int], state: State, context: RoundContext) -> Tensor:
        """The rows `[f, d]` that these clients would send if they were honest; nobody sends them."""
        out = self.scratch.first(len(ids))
        self._executor.train(self.experiment.training, self._cohort(ids, range(len(ids))), state, context, out)
        return out.matrix

    def samples(self, ids: Sequence[int]) -> Samples:
        """What these clients hold, together."""
        train, index = self.federation.train, torch.cat([self.federation.clients[client] for client in ids])
        return replace(train, images=train.images[index], labels=train.labels[index])

    def _cohort(
        self,
        ids: Sequence[int],
        places: Sequence[int],
        *,
        poison: DataAttack | None = None,
        attackers: tuple[int, ...] = (),
        hooks: tuple[StepHook, ...] = (),
    ) -> Cohort:
        index = tuple(self.federation.clients[client] for client in ids)
        return Cohort(tuple(ids), tuple(places), self.federation.train, index, poison, attackers, hooks)
