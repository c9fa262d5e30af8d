"""The two noises of FLAME: the paper's, and the one that its public re-implementation adds."""

import math
from abc import ABC, abstractmethod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from phalanx.core.component import Component
from phalanx.core.errors import ConfigError
from phalanx.core.numbers import NonNegativeFloat32, PositiveFloat32
from phalanx.core.params import Slot
from phalanx.core.types import RoundContext


class FlameNoise(Component, ABC, family="flame_noise"):
    """How much Gaussian noise Flame adds to the mean of the clipped updates."""

    @abstractmethod
    def std(self, update: Tensor, clip_norm: float, context: RoundContext) -> Tensor:
        """σ, one for all or `[d]`, for an aggregated update `[d]` whose rows were clipped to `clip_norm` (the paper's S)."""


class PaperNoise(FlameNoise, kind="paper"):
    """σ = λ S on every parameter; λ is `level`, or sqrt(2 ln(1.25 / delta)) / epsilon.

    The paper uses λ = 0.001 (images, text), which epsilon = 3000, delta = 0.01 also gives. That is no privacy to speak of and
    none is claimed: the noise is to smooth out what clipping leaves of a backdoor.

    Raises: ConfigError unless epsilon and delta come together, and without level.
    Reference: Nguyen et al., FLAME, USENIX Security 2022 (arXiv 2101.02281), Section 4.3.
    >>> round(PaperNoise(epsilon=3000, delta=0.01).factor, 6)
    0.001036
    """

    level: NonNegativeFloat32 | None = None
    epsilon: PositiveFloat32 | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None

    def __post_init__(self) -> None:
        by_privacy = (self.epsilon is not None, self.delta is not None)
        if by_privacy not in ((False, False), (True, True)) or (self.level is not None and any(by_privacy)):
            raise ConfigError(
                "PaperNoise needs level, or epsilon and delta, or nothing (level 0.001); "
                f"got level={self.level}, epsilon={self.epsilon}, delta={self.delta}."
            )

    @property
    def factor(self) -> float:
        """λ."""
        if self.epsilon is not None and self.delta is not None:
            return math.sqrt(2 * math.log(1.25 / self.delta)) / self.epsilon
        return 0.001 if self.level is None else self.level

    def std(self, update: Tensor, clip_norm: float, context: RoundContext) -> Tensor:
        return update.new_tensor(self.factor * clip_norm)


class ParameterStdNoise(FlameNoise, kind="parameter_std"):
    """σ = λ S std(W) on each parameter tensor W of the aggregated model, λ being `level`.

    None on biases, on normalisation layers and on tensors of one element, which have no standard deviation.

    Differs from the paper: this is what a public re-implementation does.
    """

    level: NonNegativeFloat32 = 1.2e-5

    def std(self, update: Tensor, clip_norm: float, context: RoundContext) -> Tensor:
        model = context.global_params.to(update) + update
        result = torch.zeros_like(update)
        for slot in context.layout.parameters:
            if _takes_noise(slot):
                result[slot.start : slot.stop] = self.level * clip_norm * model[slot.start : slot.stop].std()
        return result


def _takes_noise(slot: Slot) -> bool:
    return not (slot.is_normalisation or slot.name.endswith("bias") or slot.stop - slot.start == 1)
