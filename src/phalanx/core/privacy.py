"""What private components say of themselves, in the words of an accountant; `phalanx.privacy` does the counting.

Whoever adds noise says beforehand what a round promises (`Mechanism`), and remembers in its state what it has spent: a trainer
`"17.spent"` of each client, rows (z, q, steps); a rule `"noised"`, how many sums. So a checkpoint with the noised model has its
price, too.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from phalanx.core.errors import ConfigError
from phalanx.core.params import Layout

Unit = Literal["example", "client"]
"""Whose presence is hidden: one sample of a client, or a client with all its samples."""
Neighbours = Literal["add/remove", "replace-one"]
"""Which two data sets nobody can tell apart: with and without a unit, or with one unit in another's place."""
Sampling = Literal["poisson", "fixed_size", "none"]
"""How the units of a step are chosen: each by a coin of its own, so many without replacement, or nothing that may count."""

SPENT = ".spent"
"""How the name ends under which a trainer remembers what a client has spent."""


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

    `trusted` is the party that sees the unit's data before there is noise in it, None if nobody does. `is_reproducible`: the
    noise comes from the run's seed, so that who knows the seed can take it off again.
    """

    unit: Unit
    neighbours: Neighbours
    sampling: Sampling
    spending: Spending
    trusted: str | None
    is_reproducible: bool = True


def refuse_float_buffers(model: nn.Module, who: str) -> None:
    """Refuse a model of which something travels that `who` adds no noise to.

    Raises: ConfigError naming the buffer and the remedy.
    """
    if buffers := Layout.of(model).buffers:
        raise ConfigError(
            f"{who} adds noise to parameters only; this model has float buffers ({buffers[0].name}), which would travel "
            "without any. Use a model without BatchNorm, such as one with GroupNorm."
        )


def added(spent: Tensor | None, spending: Spending) -> Tensor:
    """A memory of what was spent, rows (z, q, steps) `[m, 3]` float64, with one more; equal ones in a row become one.

    >>> added(added(None, Spending(1.0, 0.5, 3)), Spending(1.0, 0.5, 2)).tolist()
    [[1.0, 0.5, 5.0]]
    """
    row = torch.tensor([[spending.noise_multiplier, spending.sample_rate, spending.steps]], dtype=torch.float64)
    if spent is None:
        return row
    spent = spent.cpu()
    if not torch.equal(spent[-1, :2], row[0, :2]):
        return torch.cat([spent, row])
    row[0, 2] += spent[-1, 2]
    return torch.cat([spent[:-1], row])


def spendings(spent: Tensor) -> tuple[Spending, ...]:
    """The inverse of `added`."""
    return tuple(Spending(z, q, int(steps)) for z, q, steps in spent.tolist())
