"""Synthetic: Gaussian clouds of any size and number, for tests, benchmarks and the first try of a new method."""

from dataclasses import KW_ONLY
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from phalanx.core import rng
from phalanx.core.errors import ConfigError
from phalanx.core.families import Dataset
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import DataSplit, Samples

_MOST_NUMBERS = 10**9
"""4 GB, which a laptop can still draw."""


class Synthetic(Dataset):
    """One Gaussian cloud a class: `x = separation · m_y + N(0, I)` with fixed class means `m_c ~ N(0, I)`.

    `num_samples` are for training; a fifth more (at least one a class) for the test. The classes are equally large up to one
    sample. Two class means are about `separation · sqrt(2 num_features)` apart. Linear: of no use where depth matters.

    Raises: ConfigError for more than a billion numbers.
    >>> Synthetic(num_samples=6, num_features=2, num_classes=3).load().train.labels.bincount()
    tensor([2, 2, 2])
    """

    num_samples: PositiveInt = 1000
    _: KW_ONLY
    num_features: PositiveInt = 20
    num_classes: Annotated[int, Field(ge=2)] = 10
    separation: PositiveFloat32 = 1.0
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        numbers = (self.num_samples + self._num_tests + self.num_classes) * self.num_features
        if numbers > _MOST_NUMBERS:
            raise ConfigError(
                f"Synthetic makes at most {_MOST_NUMBERS:,} numbers, samples and class means times features; got {numbers:,}. "
                "Lower num_samples, num_features or num_classes."
            )

    @property
    def _num_tests(self) -> int:
        return max(self.num_samples // 5, self.num_classes)

    def load(self) -> DataSplit:
        means = torch.randn(self.num_classes, self.num_features, generator=rng.generator(self.seed, "synthetic means"))
        train = self._draw("synthetic train", self.num_samples, means)
        test = self._draw("synthetic test", self._num_tests, means)
        return DataSplit(self.kind, train, test)

    def _draw(self, purpose: str, count: int, means: torch.Tensor) -> Samples:
        generator = rng.generator(self.seed, purpose)
        labels = torch.randperm(count, generator=generator) % self.num_classes
        noise = torch.randn(count, self.num_features, generator=generator)
        return Samples(noise.add_(means[labels], alpha=self.separation), labels, self.num_classes)
