"""What a malicious row would do to a rule's result, and a search for the length that does most."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from phalanx.core import linalg
from phalanx.core.capabilities import Capability, require
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import RoundContext, Updates

Objective: TypeAlias = Literal["distance", "against"]

COARSE = 16
"""Powers of two that a length is tried at first, down from far outside the honest spread; what is left refines the best."""
_FAR = 256.0


class Damage:
    """Calls the rule on honest rows `[h, d]` and f copies of a malicious one. `spread` is how far those lie from their mean.

    The rule begins without memory: an attacker does not know the server's. A round that the rule refuses or keeps is a step of
    zero.

    Raises: ConfigError without a rule; CapabilityError for a rule that needs the server's data.
    """

    def __init__(
        self, rule: Aggregator | None, honest: Tensor, num_byzantine: int, context: RoundContext, objective: Objective
    ) -> None:
        if rule is None:
            raise ConfigError("Outside of a federation the attack needs the rule that it is made for: give `aggregator`.")
        require(f"An attack made for {type(rule).__name__}", rule.needs, {*Capability} - {Capability.ROOT_DATA})
        self._rule, self._f, self._context, self._objective = rule, num_byzantine, context, objective
        self._matrix = torch.cat([honest.new_empty(num_byzantine, honest.shape[1]), honest])
        self._mean = honest.mean(0)
        squares = linalg.norms(honest, centre=self._mean).square().mean()
        self.spread = float(squares.sqrt()) or float(torch.linalg.vector_norm(self._mean)) or 1.0

    def __call__(self, row: Tensor) -> float:
        """How far the result lies from the honest mean, or on the other side of it."""
        self._matrix[: self._f] = row
        try:
            aggregate, _ = self._rule.aggregate(Updates.of(self._matrix), self._rule.init(self._context.layout), self._context)
            result = aggregate.update
        except PreconditionError:
            result = None
        gap = (-self._mean if result is None else result - self._mean).double()
        if self._objective == "distance":
            return float(torch.linalg.vector_norm(gap))
        return -float(gap @ torch.nn.functional.normalize(self._mean.double(), dim=0))


def search(damage: Damage, mean: Tensor, direction: Tensor, evaluations: int) -> tuple[float, float]:
    """The γ >= 0 found to do most with `mean + γ direction`, and what it does; `evaluations` calls of the rule."""
    length = float(torch.linalg.vector_norm(direction.double()))
    if length == 0:
        return 0.0, damage(mean)
    tried = {gamma: damage(torch.add(mean, direction, alpha=gamma)) for gamma in _coarse(damage.spread / length)}
    step = 2.0**0.5
    while len(tried) + 2 <= evaluations:
        best = max(tried, key=tried.__getitem__)
        for gamma in (best * step, best / step):
            tried[gamma] = damage(torch.add(mean, direction, alpha=gamma))
        step **= 0.5
    best = max(tried, key=tried.__getitem__)
    return best, tried[best]


def _coarse(unit: float) -> list[float]:
    return [_FAR * unit / 2**place for place in range(COARSE)]
