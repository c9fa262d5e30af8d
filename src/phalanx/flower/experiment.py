"""An experiment's nodes: the client app that runs its training and its attacks, with a node's own samples or its share."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from flwr.app import Context
from flwr.clientapp import ClientApp
from torch import nn

from phalanx.config import Experiment
from phalanx.core import rng
from phalanx.core.errors import ConfigError
from phalanx.core.types import Rows, Samples, State
from phalanx.data import Federation
from phalanx.flower.client import Task, number_of, working_app
from phalanx.flower.malicious import attack
from phalanx.flower.preflight import check


def experiment_client(experiment: Experiment, *, data: Callable[[Context], Samples] | None = None) -> ClientApp:
    """The client app of an experiment. `partition-id` in the node's config says which of its clients a node is.

    `data` gives a node's own samples; without it they are the client's part of the experiment's data set. A client that the
    experiment's adversary has chosen attacks, in the rounds in which it would in the simulator.
    """
    check(experiment)

    @cache
    def federation() -> Federation:
        return federation_of(experiment)

    def part(context: Context) -> Samples:
        client, train, num_clients = number_of(context), federation().train, federation().num_clients
        if "partition-id" not in context.node_config or client >= num_clients:
            raise ConfigError(
                f"A node of this experiment needs a partition-id from 0 to {num_clients - 1} in its node config; got "
                f"{context.node_config.get('partition-id', 'none')}."
            )
        index = federation().clients[client]
        return replace(train, images=train.images[index], labels=train.labels[index])

    def work(task: Task, state: State) -> tuple[Rows, State]:
        if experiment.adversary.who is None:  # a node with its own data need not have the experiment's
            return task.train(experiment.training, state)
        num_clients = federation().num_clients
        active = experiment.adversary.active(torch.tensor([task.client]), num_clients, task.context)
        if not active:
            return task.train(experiment.training, state)
        adversary = experiment.adversary.fitted(federation().train, experiment.run.seed)
        rows = experiment.participation.largest(num_clients)
        return attack(task, state, adversary, experiment.training, attacker=active[0], num_updates=rows)

    return working_app(
        experiment.training,
        work,
        model=lambda samples: model_of(experiment, samples),
        data=data or part,
        seed=experiment.run.seed,
        run=experiment.digest(),
    )


def federation_of(experiment: Experiment) -> Federation:
    """The experiment's samples, dealt to its clients."""
    return Federation.build(experiment.data.load(), experiment.partition, experiment.root, experiment.run.seed)


def model_of(experiment: Experiment, samples: Samples) -> nn.Module:
    """The experiment's initial model for samples like these."""
    generator = rng.generator(experiment.run.seed, "model")
    return experiment.model.build(tuple(samples.images.shape[1:]), samples.num_classes, generator)
