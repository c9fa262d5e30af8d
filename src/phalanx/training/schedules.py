"""The clients' learning rate over rounds: a factor that multiplies the trainer's `lr`. Rounds count from 0."""

import math
from dataclasses import KW_ONLY
from typing import Annotated

from pydantic import Field, PositiveInt

from phalanx.core.families import LearningRateSchedule
from phalanx.core.numbers import Share


class Constant(LearningRateSchedule):
    """The same learning rate in every round."""

    def factor(self, round: int) -> float:
        """1."""
        return 1.0


class StepDecay(LearningRateSchedule):
    """`gamma ** (milestones that this round has reached)`.

    >>> [StepDecay((2, 3), gamma=0.5).factor(round) for round in (1, 2, 3)]
    [1.0, 0.5, 0.25]
    """

    milestones: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    _: KW_ONLY
    gamma: Share = 0.1

    def factor(self, round: int) -> float:
        """A power of gamma."""
        return self.gamma ** sum(milestone <= round for milestone in self.milestones)


class Exponential(LearningRateSchedule):
    """`gamma ** round`.

    >>> Exponential(0.5).factor(3)
    0.125
    """

    gamma: Share

    def factor(self, round: int) -> float:
        """A power of gamma."""
        return self.gamma**round


class Cosine(LearningRateSchedule):
    """`(1 + cos(π round / rounds)) / 2`, and 0 from round `rounds` on: set it to the length of the run.

    Reference: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017
    (arXiv 1608.03983), without restarts.

    >>> [round(Cosine(10).factor(t), 3) for t in (0, 5, 10, 11)]
    [1.0, 0.5, 0.0, 0.0]
    """

    rounds: PositiveInt

    def factor(self, round: int) -> float:
        """Half a cosine wave."""
        return (1 + math.cos(math.pi * min(round / self.rounds, 1.0))) / 2
