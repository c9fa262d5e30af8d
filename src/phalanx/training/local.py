"""`LocalTrainer`: what every gradient-based trainer shares. A trainer of this kind adds only its optimiser."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, replace
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import Augmentation, LearningRateSchedule, StepHook, Trainer
from phalanx.core.numbers import SMALLEST_FLOAT32
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State
from phalanx.training.engines import linear, loop
from phalanx.training.schedules import Constant
from phalanx.training.work import LocalWork, Optimizer

# Bounds beyond any sense: what exceeds them is a slip, and would end in an overflow or without memory.
LearningRate = Annotated[float, Field(ge=SMALLEST_FLOAT32, le=1e6)]
_MOST_STEPS = 10**4
Count = Annotated[int, Field(ge=1, le=_MOST_STEPS)]
_ENGINES = {"loop": loop.train, "linear": linear.train}


class LocalTrainer(Trainer, ABC):
    """Mini-batch descent on the mean cross-entropy of a client's own samples, from the global model.

    A client with fewer samples than a batch trains on what it has; an empty one is skipped. The last, short batch of an epoch
    is used. A row's loss is the mean over its steps of the batch's loss before the step.
    """

    lr: LearningRate
    _: KW_ONLY
    batch_size: PositiveInt = 32
    epochs: Count | None = None
    """Passes over a client's samples."""
    steps: Count | None = None
    """Batches, over as many epochs as that takes: every client makes the same number."""
    schedule: LearningRateSchedule = Constant()
    hooks: tuple[StepHook, ...] = ()
    augment: tuple[Augmentation, ...] = ()
    engine: Literal["auto", "loop", "linear"] = "auto"
    """How gradients are computed: auto takes the closed form for softmax regression and the loop for everything else."""

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ConfigError(
                f"{type(self).__name__} needs exactly one of epochs and steps; got epochs={self.epochs}, steps={self.steps}. "
                "Set epochs for passes over a client's samples, steps for a number of batches."
            )

    def in_steps(self, steps: int) -> "LocalTrainer":
        """The same training in so many batches."""
        return replace(self, epochs=None, steps=min(steps, _MOST_STEPS))

    @abstractmethod
    def optimizer(self, lr: float) -> Optimizer:
        """A fresh optimiser with this round's learning rate."""

    def engine_for(self, model: nn.Module) -> str:
        """The engine that trains this model.

        Raises: ConfigError if the engine that was asked for cannot.
        """
        is_linear = linear.is_linear(model)
        if self.engine == "auto":
            return "linear" if is_linear else "loop"
        if self.engine == "linear" and not is_linear:
            raise ConfigError(
                f'engine = "linear" needs a model that is one linear layer after flattening; got {type(model).__name__}. '
                'Leave engine at "auto".'
            )
        return self.engine

    def check(self, model: nn.Module, samples: Samples) -> None:
        """The engine must suit the model, the batch BatchNorm, and every augmentation the samples. Raises: ConfigError."""
        self.engine_for(model)
        check_batches(self.batch_size, self.augment, model, samples)

    def work(self, cohort: Cohort, context: RoundContext) -> LocalWork:
        """What a cohort does in a round, but for the gradients."""
        lr = self.lr * self.schedule.factor(context.round)
        return LocalWork(
            cohort=cohort,
            context=context,
            batch_size=self.batch_size,
            epochs=self.epochs,
            steps=self.steps,
            augment=self.augment,
            hooks=self.hooks + cohort.hooks,
            optimizer=lambda: self.optimizer(lr),
        )

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        """Train the cohort in `context.model`; nothing is remembered between rounds.

        Raises: ConfigError if the context has no model or the engine does not suit it.
        """
        if context.model is None:
            raise ConfigError(f"{type(self).__name__} trains a model; the round's context has none. Set RoundContext.model.")
        self.descend(self.work(cohort, context), context.model, out)
        return {}

    def descend(self, work: LocalWork, model: nn.Module, out: Rows) -> None:
        """Do the work with the engine that suits the model."""
        _ENGINES[self.engine_for(model)](work, model, out)


def check_batches(batch_size: int, augment: Sequence[Augmentation], model: nn.Module, samples: Samples) -> None:
    """Batches must suit BatchNorm, and every augmentation the samples. Raises: ConfigError."""
    if batch_size < loop.smallest_batch(model):
        raise ConfigError("A model with BatchNorm needs batch_size >= 2: one sample has no statistics; got batch_size=1.")
    try_augmentations(augment, samples)


def try_augmentations(augment: Sequence[Augmentation], samples: Samples) -> None:
    """An augmentation that cannot take every value of these samples tells now. Raises: ConfigError."""
    if augment:
        images, _ = samples.pixels(samples.extremes())
        for augmentation in augment:
            augmentation.apply(images, torch.Generator())
