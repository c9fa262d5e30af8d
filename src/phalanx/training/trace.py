"""`trace`: which images a client's round was made of, and in which steps; drawn again from the streams that trained it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import Augmentation, Trainer
from phalanx.core.leak import LocalSteps
from phalanx.core.types import Cohort, RoundContext
from phalanx.training.engines.loop import smallest_batch
from phalanx.training.local import LocalTrainer
from phalanx.training.partial_deployment import PartialDeployment
from phalanx.training.private_work import PrivateWork
from phalanx.training.worker_momentum import WorkerMomentum


@dataclass(frozen=True)
class Trace:
    """The images `[B, C, H, W]` of a client's first pass in the order that it took them, pixels as in the data set (`truth`)
    and as `augment` left them (`transformed`), `labels` `[B]`, and what an attacker takes its steps for.
    """

    truth: Tensor
    transformed: Tensor
    labels: Tensor
    local: LocalSteps
    augment: tuple[Augmentation, ...]


def trace(trainer: Trainer, cohort: Cohort, context: RoundContext, model: nn.Module) -> Trace | None:
    """The trace of the cohort's first client; None if no sample is in a step of it.

    Raises: ConfigError if its steps are not plain gradient descent in whole passes, or nobody can draw them again.
    """
    work = _local(trainer).work(cohort, context)
    client, smallest = work.client(0), smallest_batch(model)
    order, sizes = client.plan(smallest)
    if not len(order):
        return None
    if len(sizes) > 1 and isinstance(work, PrivateWork):
        raise ConfigError("Of DPSGD an inversion attack is told one step: its batches follow no pass. Set training.steps = 1.")
    if len(sizes) > 1 and work.hooks:
        raise ConfigError(
            f"An inversion attack is told plain gradient descent; {work.hooks[0].kind} changes the client's {len(sizes)} "
            "steps. Take it out of training.hooks, or set training.steps = 1."
        )
    steps = len(client.epoch(smallest)) if len(sizes) > 1 else 1
    epochs, rest = divmod(len(sizes), steps)
    if epochs and rest:
        raise ConfigError(
            f"An inversion attack is told whole passes, or less than one; the client makes {len(sizes)} steps where a pass has "
            f"{steps}. Change training.steps."
        )
    first = sizes[:steps]
    positions = order[: sum(first)]
    truth, labels = client.samples.pixels(client.index[positions])
    transformed = torch.cat([client.pixels(batch)[0] for batch in torch.split(positions, first)])
    optimizer, rates = work.optimizer(), set[float | None]()
    for epoch in range(max(epochs, 1)):
        optimizer.begin(epoch)
        rates.add(optimizer.plain_rate)
    [rate, *others] = rates
    if rate is None or others:
        raise ConfigError(
            "An inversion attack is told steps of plain gradient descent with one learning rate; set training.kind to sgd, "
            "without momentum, weight_decay and local_schedule."
        )
    batch_size = first[0] if len(first) > 1 else None
    return Trace(truth, transformed, labels, LocalSteps(rate, batch_size, max(epochs, 1)), work.augment)


def _local(trainer: Trainer) -> LocalTrainer:
    """The trainer that makes the steps, inside of those that change what is sent."""
    if getattr(trainer, "secure_rng", False):
        raise ConfigError("With secure_rng nobody can draw a client's round again, so no inversion attack can be judged.")
    if isinstance(trainer, LocalTrainer):
        return trainer
    if isinstance(trainer, WorkerMomentum):
        raise ConfigError(
            "An inversion attack is told one round's update; worker_momentum sends an average of several, which hides nothing "
            "from a server that remembers the last one. Attack the trainer inside it."
        )
    inner = getattr(trainer, "trainer", None)
    if not isinstance(inner, Trainer) or isinstance(trainer, PartialDeployment):  # which has two, and draws one
        raise ConfigError(
            f"An inversion attack is told gradient descent on a client's samples; {trainer.kind} does something else. Set "
            "training.kind to sgd, or to one of the trainers around it."
        )
    return _local(inner)
