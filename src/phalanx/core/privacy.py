"""What private components say of themselves, in the words of an accountant; `phalanx.privacy` does the counting."""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["example", "client"]
"""Whose presence is hidden: one sample of a client, or a client with all its samples."""
Neighbours = Literal["add/remove", "replace-one"]
"""Which two data sets nobody can tell apart: with and without a unit, or with one unit in another's place."""
Sampling = Literal["poisson", "fixed_size", "none"]
"""How the units of a step are chosen: each by a coin of its own, so many without replacement, or nothing that may count."""


@dataclass(frozen=True)
class Spending:
    """`steps` sums of vectors of norm at most C, of units sampled at `sample_rate`, each with noise N(0, (z C)²).

    z is `noise_multiplier`: the noise relative to the clip norm C, whatever the neighbours are. 0: no noise, so ε is infinite.
    """

    noise_multiplier: float
    sample_rate: float
    steps: int


@dataclass(frozen=True)
class Mechanism:
    """A component's promise for one round: nothing of a unit leaves `trusted` but through this `spending`.

    `is_reproducible`: the noise comes from the run's seed, so that who knows the seed can take it off again.
    """

    unit: Unit
    neighbours: Neighbours
    sampling: Sampling
    spending: Spending
    trusted: str
    is_reproducible: bool = True
