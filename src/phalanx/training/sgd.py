"""Stochastic gradient descent: the local training of FedAvg and of nearly every paper after it."""

from collections.abc import Sequence
from dataclasses import KW_ONLY

import torch
from torch import Tensor, nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import LearningRateSchedule
from phalanx.core.numbers import Momentum, NonNegativeFloat32
from phalanx.training.local import LocalTrainer
from phalanx.training.schedules import Constant


class SGD(LocalTrainer):
    """`g += weight_decay w; v = momentum v + g; w -= lr v`, with `v = g` in a client's first step of a round.

    As torch.optim.SGD does it (dampening 0, no Nesterov), written by hand. Momentum starts afresh every round.
    Many local steps on unlike data drift apart, and their mean fits nobody: take fewer, or the hook FedProx.

    Reference: McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017
    (arXiv 1602.05629), Algorithm 1, ClientUpdate.

    >>> SGD(0.1, epochs=1).engine_for(torch.nn.Linear(4, 2))
    'linear'
    """

    _: KW_ONLY
    momentum: Momentum = 0.0
    weight_decay: NonNegativeFloat32 = 0.0
    local_schedule: LearningRateSchedule = Constant()
    """Of the learning rate over a client's passes in a round, counted from 0; `schedule` goes over rounds. Both multiply lr."""

    def engine_for(self, model: nn.Module) -> str:
        """The closed form trains all clients at once, each in another pass: a local schedule needs the loop."""
        if self.local_schedule == Constant():
            return super().engine_for(model)
        if self.engine == "linear":
            raise ConfigError('engine = "linear" knows no local_schedule. Leave engine at "auto", or local_schedule out.')
        return "loop"

    def optimizer(self, lr: float) -> "Descent":
        """Descent without a past."""
        return Descent(lr, self.momentum, self.weight_decay, self.local_schedule)


class Descent:
    """SGD's steps and, with momentum, its velocity."""

    def __init__(self, lr: float, momentum: float, weight_decay: float, schedule: LearningRateSchedule | None = None) -> None:
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self._first_lr, self._schedule = lr, schedule
        self._velocity: list[Tensor] = []

    @property
    def plain_rate(self) -> float | None:
        """The learning rate, without momentum and weight decay."""
        return None if self.momentum or self.weight_decay else self.lr

    def begin(self, epoch: int) -> None:
        """The learning rate of this pass."""
        if self._schedule is not None:
            self.lr = self._first_lr * self._schedule.factor(epoch)

    def step(self, params: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """One step in place."""
        params, gradients = list(params), list(gradients)
        if self.weight_decay:
            gradients = list(torch._foreach_add(gradients, params, alpha=self.weight_decay))
        if self.momentum:
            gradients = self._accelerate(gradients)
        torch._foreach_add_(params, gradients, alpha=-self.lr)

    def _accelerate(self, gradients: list[Tensor]) -> list[Tensor]:
        if self._velocity:
            torch._foreach_mul_(self._velocity, self.momentum)
            torch._foreach_add_(self._velocity, gradients)
        else:
            self._velocity = [gradient.clone() for gradient in gradients]
        return self._velocity

    def keep(self, clients: int) -> None:
        """Forget the velocity of finished clients."""
        self._velocity = [velocity[:clients] for velocity in self._velocity]
