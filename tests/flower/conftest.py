"""A small federation, once in the simulator and once as Flower apps in one process."""

from dataclasses import dataclass, replace
from functools import cached_property

import pytest
from flwr.app import ArrayRecord, Message
from torch import nn

from phalanx.config import Experiment, RunSettings
from phalanx.core import params as flat
from phalanx.core import rng
from phalanx.core.families import Architecture
from phalanx.data import Federation, Synthetic
from phalanx.data.partitioners import Dirichlet
from phalanx.flower import InProcessGrid, RobustStrategy, client_app
from phalanx.models import MLP
from phalanx.simulation import FederationState, Simulation
from phalanx.training import SGD

SMALL = Experiment(
    run=RunSettings(rounds=3, seed=5),
    data=Synthetic(240, num_features=6, num_classes=3),
    partition=Dirichlet(num_clients=6, alpha=1.0),
    model=MLP(hidden=(5,)),
    training=SGD(lr=0.1, steps=2, batch_size=8),
)


class Normalised(Architecture):
    """An MLP with BatchNorm: it has float buffers and an integer counter."""

    def build(self, input_shape, num_classes, generator):
        model = MLP(hidden=(5,)).build(input_shape, num_classes, generator)
        return nn.Sequential(nn.BatchNorm1d(input_shape[0]), *model)


@dataclass(frozen=True)
class Twins:
    """One experiment in both engines."""

    experiment: Experiment

    @cached_property
    def federation(self) -> Federation:
        experiment = self.experiment
        return Federation.build(experiment.data.load(), experiment.partition, experiment.root, experiment.run.seed)

    def model(self) -> nn.Module:
        federation, generator = self.federation, rng.generator(self.experiment.run.seed, "model")
        return self.experiment.model.build(federation.input_shape, federation.num_classes, generator)

    def simulated(self) -> FederationState:
        with Simulation(self.experiment, self.federation, self.model()) as simulation:
            state = simulation.initial_state()
            for _ in range(self.experiment.run.rounds):
                state, _ = simulation.step(state)
        return state

    def data(self, context):
        federation = self.federation
        index = federation.clients[context.node_config["partition-id"]]
        return replace(federation.train, images=federation.train.images[index], labels=federation.train.labels[index])

    def app(self, *mods):
        experiment = self.experiment
        digest, seed = experiment.digest(), experiment.run.seed
        return client_app(experiment.training, model=self.model, data=self.data, seed=seed, run=digest, mods=mods)

    def grid(self, **spoilt) -> InProcessGrid:
        """All clients; `node_3=spoil` puts `spoil(content) -> content` behind the client of node 3."""
        nodes = range(1, len(self.federation.clients) + 1)
        mods = {node: [_mod(spoilt[f"node_{node}"])] if f"node_{node}" in spoilt else [] for node in nodes}
        return InProcessGrid([self.app(*mods[node]) for node in nodes])

    def strategy(self, **options) -> RobustStrategy:
        experiment, root = self.experiment, self.federation.root
        return RobustStrategy(
            aggregator=experiment.aggregator,
            server=experiment.server,
            screening=experiment.screening,
            participation=experiment.participation,
            seed=experiment.run.seed,
            run=experiment.digest(),
            model=self.model(),
            root=root,
            root_trainer=experiment.training if root else None,
            input_shape=self.federation.input_shape,
            min_nodes=len(self.federation.clients),
            **options,
        )

    def deployed(self, grid=None, strategy=None):
        """The final model of the federation in Flower: parameters and float buffers."""
        model = self.model()
        result = (strategy or self.strategy()).start(
            grid or self.grid(), ArrayRecord(model.state_dict()), num_rounds=self.experiment.run.rounds, timeout=1.0
        )
        model.load_state_dict(result.arrays.to_torch_state_dict())
        return flat.flatten(model)


@pytest.fixture
def twins():
    return Twins


@pytest.fixture
def small():
    return SMALL


def _mod(spoil):
    def change(message: Message, context, call_next):
        reply = call_next(message, context)
        reply.content = spoil(reply.content)
        return reply

    return change


@pytest.fixture
def normalised():
    return Normalised()
