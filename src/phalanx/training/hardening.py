"""What FLIP's training and its controls share: Adam on a client's batches, for so many steps at most, with a memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, replace

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import Augmentation, LearningRateSchedule, Trainer
from phalanx.core.numbers import Momentum
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State
from phalanx.training.adam import AdaptiveMoments
from phalanx.training.engines import loop
from phalanx.training.local import Count, LearningRate, check_batches
from phalanx.training.schedules import Constant
from phalanx.training.work import ClientWork, LocalWork


class Hardening(Trainer, ABC):
    """Adam on batches that `harden` changes. A row's loss is the mean over its steps of the changed batch's loss."""

    lr: LearningRate = 0.01
    _: KW_ONLY
    betas: tuple[Momentum, Momentum] = (0.5, 0.9)
    batch_size: PositiveInt = 64
    epochs: Count = 10
    most_steps: Count = 110
    """At most so many steps in a round, whatever the epochs come to."""
    schedule: LearningRateSchedule = Constant()
    augment: tuple[Augmentation, ...] = ()
    """What batches go through before any trigger is stamped on them."""

    def in_steps(self, steps: int) -> "Hardening":
        """The same training with so many batches at most, over as many epochs as that takes."""
        return replace(self, epochs=min(steps, 10**4), most_steps=min(steps, 10**4))

    def check(self, model: nn.Module, samples: Samples) -> None:
        """The batch must suit BatchNorm, and every augmentation the samples. Raises: ConfigError."""
        check_batches(self.batch_size, self.augment, model, samples)

    @abstractmethod
    def harden(self, batches: "Batches", memory: State) -> State:
        """Train one client through `batches`; what it remembered of earlier rounds goes in, what it remembers comes out."""

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        """Train the cohort in `context.model`. Raises: ConfigError if the context has no model."""
        if context.model is None:
            raise ConfigError(f"{type(self).__name__} trains a model; the round's context has none. Set RoundContext.model.")
        lr, remembered = self.lr * self.schedule.factor(context.round), dict[str, Tensor]()
        work = LocalWork(
            cohort=cohort,
            context=context,
            batch_size=self.batch_size,
            epochs=self.epochs,
            steps=None,
            augment=self.augment,
            hooks=cohort.hooks,
            optimizer=lambda: AdaptiveMoments(lr, self.betas, eps=1e-8, weight_decay=0),
        )

        def descend(work: LocalWork, client: ClientWork, module: loop.Module, total: Tensor) -> int:
            batches, prefix = Batches(work, client, module, total, self.most_steps), f"{client.id}."
            if client.size:
                memory = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
                remembered.update({prefix + name: value for name, value in self.harden(batches, memory).items()})
            return batches.steps

        loop.train(work, context.model, out, descend)
        return remembered


class Batches:
    """One client's batches in one round, as pixels with their labels, and the steps on what was made of them."""

    def __init__(self, work: LocalWork, client: ClientWork, module: loop.Module, total: Tensor, most: int) -> None:
        self.client, self.model, self.steps = client, module.model, 0
        self._work, self._module, self._total, self._optimizer = work, module, total, work.optimizer()
        order, sizes = client.plan(module.smallest_batch)
        self._positions = torch.split(order[: sum(sizes[:most])], sizes[:most])

    @property
    def num_classes(self) -> int:
        """How many classes the data set has."""
        return self.client.samples.num_classes

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Images `[B, ...]` before normalisation, with labels `[B]`."""
        return (self.client.pixels(positions) for positions in self._positions)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One step on images before normalisation."""
        self._total += self._module.step(self._work, self._optimizer, self.client.samples.normalize(images), labels)
        self.steps += 1

    def generator(self, purpose: str) -> torch.Generator:
        """The client's generator of this purpose in this round."""
        return self._work.context.generator(purpose, self.client.id)
