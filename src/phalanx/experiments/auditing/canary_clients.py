"""Canaries that are clients: each that is in sends a long row along a coordinate of its own, and lies about its samples."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from phalanx.config import Experiment
from phalanx.core.component import GIVEN_IN_PYTHON
from phalanx.core.families import Trainer
from phalanx.core.params import Layout
from phalanx.core.types import Cohort, RoundContext, Rows, State, Status
from phalanx.data import Federation
from phalanx.experiments.auditing.game import MOST_CANARIES, Game, coins
from phalanx.privacy import LocalDP
from phalanx.simulation import FederationState, Simulation

_LENGTH = 1e4
"""Of a canary's row, so that every sensible clip norm is reached."""
_LIE = 100
"""How many samples a canary that is in says it has; the others have one."""


class CanaryClients(Trainer, kind=GIVEN_IN_PYTHON):
    """Client i of `factors` sends `factors[i]` times a long unit row along coordinate i mod d; all others send zeros."""

    factors: tuple[float, ...]

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        """Write the rows; nothing is trained."""
        places = torch.tensor(cohort.places)
        canaries = torch.tensor([client < len(self.factors) for client in cohort.ids])
        ids = torch.tensor(cohort.ids)[canaries]
        out.matrix[places.to(out.matrix.device)] = 0
        lengths = torch.tensor(self.factors).to(out.matrix)[ids] * _LENGTH
        out.matrix[places[canaries].to(out.matrix.device), (ids % context.layout.d).to(out.matrix.device)] = lengths
        out.loss[places], out.steps[places], out.status[places] = torch.nan, 1, int(Status.SENT)
        return {}


@dataclass(frozen=True)
class _ThroughTheRule(Game):
    """The observer gets the rule's result."""

    def seen(self, state: FederationState, following: FederationState) -> Tensor:
        result = following.previous_update
        return torch.zeros(len(self.is_in)) if result is None else result[: len(self.is_in)]


@dataclass(frozen=True)
class _ThroughEachRow(Game):
    """The observer is the server, and gets every client's row."""

    def seen(self, state: FederationState, following: FederationState) -> Tensor:
        rows, m = self.simulation.clients.rows.matrix, len(self.is_in)
        return rows[torch.arange(m), torch.arange(m) % rows.shape[1]]


def clients_of(experiment: Experiment, federation: Federation, model: nn.Module) -> Game:
    """The game for an experiment that hides clients: clients are taken by canaries, as many as there are coordinates at most.

    With neighbours add/remove a canary that is not in sends zeros, which no sum sees; with replace-one the opposite row.
    """
    training, d = experiment.training, Layout.of(model).d
    is_local = isinstance(training, LocalDP)
    m = min(MOST_CANARIES, federation.num_clients, federation.num_clients if is_local else d)
    is_in = coins(experiment, m)
    is_replaced = is_local or experiment.participation.sampling == "fixed_size"
    canaries = CanaryClients(tuple(torch.where(is_in, 1.0, -1.0 if is_replaced else 0.0).tolist()))
    claims = torch.ones(federation.num_clients, dtype=torch.int64)
    claims[:m][is_in] = min(_LIE, len(federation.train))
    federation = replace(federation, clients=tuple(torch.zeros(count, dtype=torch.int64) for count in claims.tolist()))
    if isinstance(training, LocalDP):
        experiment = replace(experiment, training=replace(training, trainer=canaries))
        return _ThroughEachRow(Simulation(experiment, federation, model), is_in)
    return _ThroughTheRule(Simulation(replace(experiment, training=canaries), federation, model), is_in)
