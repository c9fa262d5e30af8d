"""What a malicious row would do to a rule's result, and a search for the length that does most."""

from dataclasses import replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from phalanx.attacks.update.stand_ins import crowd
from phalanx.core import linalg, rng
from phalanx.core.capabilities import Capability, require
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import AttackView, RoundContext, Updates

Objective: TypeAlias = Literal["distance", "against"]

COARSE = 16
"""Powers of two that a length is tried at first, down from far outside the honest spread; what is left refines the best."""
_FAR = 256.0


class Damage:
    """Calls the rule on the honest rows `[h, d]` and f copies of a malicious one. `spread` is how far the former lie apart.

    The rule begins without memory, and its random choices are not the server's: an attacker knows neither. A round that the
    rule refuses or keeps is a step of zero; `refused` is the share of such calls.

    Raises: ConfigError without a rule; CapabilityError for a rule that needs the server's data.
    """

    def __init__(self, rule: Aggregator | None, view: AttackView, context: RoundContext, objective: Objective) -> None:
        if rule is None:
            raise ConfigError("Outside of a federation the attack needs the rule that it is made for: give `aggregator`.")
        require(f"An attack made for {type(rule).__name__}", rule.needs, {*Capability} - {Capability.ROOT_DATA})
        guess = rng.derive(context.seed, "the attackers' guess of the server's choices", context.round)
        self._rule, self._f, self._objective = rule, view.num_byzantine, objective
        self._context = replace(context, seed=guess)
        self.rows = crowd(view, context)
        self._updates = _updates(view, self.rows)
        self._mean = self.rows.mean(0)
        squares = linalg.norms(self.rows, centre=self._mean).square().mean()
        self.spread = float(squares.sqrt()) or float(linalg.norms(self._mean[None])) or 1.0
        self._calls = self._refused = 0

    def __call__(self, row: Tensor) -> float:
        """How far the result lies from the honest mean, or on the other side of it."""
        self._updates.matrix[: self._f] = row
        try:
            # `replace`: what was computed from the last row, such as distances, is not kept.
            aggregate, _ = self._rule.aggregate(replace(self._updates), self._rule.init(self._context.layout), self._context)
            result = aggregate.update
        except PreconditionError:
            result = None
        self._calls += 1
        self._refused += result is None
        gap = (-self._mean if result is None else result - self._mean).double()
        if self._objective == "distance":
            return float(torch.linalg.vector_norm(gap))
        return -float(gap @ torch.nn.functional.normalize(self._mean.double(), dim=0))

    def metrics(self, gamma: float, reached: float) -> dict[str, float]:
        """What the events are told of a search that ended in this γ and this damage."""
        return {"gamma": gamma, "deviation": reached / self.spread, "refused": self._refused / max(self._calls, 1)}


def _updates(view: AttackView, honest: Tensor) -> Updates:
    """Room for f rows and the honest ones behind them, under the clients' own ids where those are known."""
    f, known = view.num_byzantine, view.honest_ids
    updates = Updates.of(torch.cat([honest.new_zeros(f, honest.shape[1]), honest]))
    if view.own_ids is None or known is None or len(known) != len(honest):
        return updates
    return replace(updates, ids=torch.cat([view.own_ids, known]))


def search(damage: Damage, mean: Tensor, direction: Tensor, evaluations: int) -> tuple[float, float]:
    """The γ >= 0 found to do most with `mean + γ direction`, and what it does; `evaluations` calls of the rule."""
    length = float(linalg.norms(direction[None]))
    if length == 0:
        return 0.0, damage(mean)
    tried = {gamma: damage(torch.add(mean, direction, alpha=gamma)) for gamma in _coarse(damage.spread / length)}
    step = 2.0**0.5
    for _ in range((evaluations - COARSE) // 2):
        best = max(tried, key=tried.__getitem__)
        for gamma in (best * step, best / step):
            tried[gamma] = damage(torch.add(mean, direction, alpha=gamma))
        step **= 0.5
    best = max(tried, key=tried.__getitem__)
    return best, tried[best]


def _coarse(unit: float) -> list[float]:
    return [_FAR * unit / 2**place for place in range(COARSE)]
