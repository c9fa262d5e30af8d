"""DnC: divide and conquer; rows that stick out along the top singular direction of random coordinates are dropped."""

import math
from dataclasses import KW_ONLY

import torch
from pydantic import NonNegativeInt, PositiveInt

from phalanx.aggregators.caf import top_direction
from phalanx.aggregators.preconditions import REMEDY
from phalanx.aggregators.selection import smallest
from phalanx.core import linalg
from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class DnC(Aggregator, kind="dnc"):
    """Several times, on random coordinates, centred: drop the ⌈c f⌉ rows that reach farthest along the top singular vector.

    The result is the mean of the rows that survive every time; if none does, the model is kept. Stands attacks that shift many
    rows along one direction (Min-Max, Min-Sum). Weak against two attackers on one side at different distances: the farther
    pulls the mean past the nearer, and honest rows are dropped in its place, at any distance and in every iteration. A single
    row that differs in few coordinates may be missed by the sample.
    `max_coordinates` is the size of the sample (all, if there are fewer), `filter_factor` is c. Time O(n² b) per iteration.

    Raises: PreconditionError unless n > (1 + c) f.
    Reference: Shejwalkar, Houmansadr, Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses for Federated
    Learning, NDSS 2021, Algorithm 2.
    >>> DnC(num_byzantine=1)(torch.tensor([[0.], [1.], [2.], [99.]]))
    tensor([1.])
    """

    num_byzantine: NonNegativeInt
    _: KW_ONLY
    num_iterations: PositiveInt = 1
    max_coordinates: PositiveInt = 10_000
    filter_factor: PositiveFloat32 = 1.0

    def require(self, n: int) -> None:
        if n <= self.num_byzantine + self._dropped:
            raise PreconditionError(
                f"DnC needs n > (1 + c) f updates; got n={n}, f={self.num_byzantine}, c={self.filter_factor:g}. {REMEDY}"
            )

    @property
    def _dropped(self) -> int:
        return math.ceil(self.filter_factor * self.num_byzantine)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        n, d = updates.matrix.shape
        generator, kept = context.generator("dnc coordinates"), torch.ones(n, dtype=torch.bool, device=updates.matrix.device)
        uniform = torch.full((n,), 1 / n, dtype=torch.float64, device=updates.matrix.device)
        for _ in range(self.num_iterations if self.num_byzantine else 0):
            sample = updates.matrix
            if d > self.max_coordinates:
                chosen = torch.randperm(d, generator=generator)[: self.max_coordinates].sort().values
                sample = sample[:, chosen.to(sample.device)]
            gram = linalg.gram(sample, centre=sample[linalg.middle_row(linalg.norms(sample))])
            _, projections = top_direction(gram, uniform)
            kept &= smallest(projections, n - self._dropped, updates)
        if not kept.any():
            return Aggregate(None, influence=kept.double()), state
        influence = kept.double() / kept.sum()
        return Aggregate(updates.weighted_sum(influence), influence=influence), state
