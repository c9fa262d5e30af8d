"""What a malicious row would do to a rule's result, and a search for the length that does most."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from phalanx.attacks.update.line import Line
from phalanx.attacks.update.stand_ins import crowd
from phalanx.core import linalg, rng
from phalanx.core.capabilities import Capability, require
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.matrix import Stored
from phalanx.core.types import AttackView, Root, RoundContext, Updates

Objective: TypeAlias = Literal["distance", "against"]

COARSE = 16
"""Powers of two that a length is tried at first, down from far outside the honest spread; what is left refines the best."""
_FAR = 256.0
_MOST_REFUSALS = 3
_ROOT_LIKE = 100


@dataclass(frozen=True, eq=False)
class _Sent(Stored):
    """All rows of one try. Only f of them are new, and those are equal; what is known of the others is worked out once."""

    line: Line
    gamma: float
    honest: Updates

    @cached_property
    def _place(self) -> Tensor:
        """Of every row: 0 for the new one, and from 1 on the honest ones' own."""
        n = len(self.tensor)
        return (torch.arange(n, device=self.device) - (n - len(self.honest)) + 1).clamp(min=0)

    @cached_property
    def norms(self) -> Tensor:
        return torch.cat([linalg.norms(self.tensor[:1]), self.honest.norms])[self._place]

    @cached_property
    def squared_distances(self) -> Tensor:
        return self.line.distances(self.gamma, self.honest.squared_distances)[self._place[:, None], self._place]

    @cached_property
    def gram(self) -> Tensor:
        return self.line.gram(self.gamma, self.honest.gram)[self._place[:, None], self._place]


class Damage:
    """Calls the rule on the honest rows `[h, d]` and f copies of a malicious one. `spread` is how far the former lie apart.

    Of the rule's memory it has what is public, and its random choices are not the server's. A round that the rule refuses or
    keeps is a step of zero; the metric `refused` is the share of such calls. `refused`: how many ended in a PreconditionError.

    Where the rule needs the server's data, attackers who have samples put some of their own in their place.

    Raises: ConfigError without a rule; CapabilityError for a rule that needs the server's data from attackers without samples.
    """

    def __init__(self, rule: Aggregator | None, view: AttackView, context: RoundContext, objective: Objective) -> None:
        if rule is None:
            raise ConfigError("Outside of a federation the attack needs the rule that it is made for: give `aggregator`.")
        hidden = {Capability.ROOT_DATA} if view.own_samples is None else set()
        require(f"An attack made for {type(rule).__name__}", rule.needs, {*Capability} - hidden)
        guess = rng.derive(context.seed, "the attackers' guess of the server's choices", context.round)
        self._rule, self._f, self._objective = rule, view.num_byzantine, objective
        self._context = replace(context, seed=guess, previous_update=view.previous_update)
        if Capability.ROOT_DATA in rule.needs:
            self._context = replace(self._context, root=_own_root(view, self._context))
        self._memory = rule.public_state(self._context)
        self.rows = crowd(view, context)
        self._updates, self._honest = _updates(view, self.rows), Updates.of(self.rows)
        self._mean = self.rows.mean(0)
        squares = linalg.norms(self.rows, centre=self._mean).square().mean()
        self.spread = float(squares.sqrt()) or float(linalg.norms(self._mean[None])) or 1.0
        self._calls = self._idle = self.refused = 0

    def __call__(self, line: Line, gamma: float) -> float:
        """How far the row at γ moves the result from the honest mean, or to the other side of it."""
        try:
            result = self._rule.aggregate(self._sent(line, gamma), self._memory, self._context)[0].update
        except PreconditionError:
            result = None
            self.refused += 1
        self._calls += 1
        self._idle += result is None
        gap = (-self._mean if result is None else result - self._mean).double()
        if self._objective == "distance":
            return float(torch.linalg.vector_norm(gap))
        return -float(gap @ torch.nn.functional.normalize(self._mean.double(), dim=0))

    def _sent(self, line: Line, gamma: float) -> Updates:
        """All rows of this try, in the place of the last one's."""
        matrix = self._updates.matrix
        matrix[: self._f] = line.at(gamma)
        return replace(self._updates, rows=_Sent(matrix, line, gamma, self._honest))

    def metrics(self, gamma: float, reached: float) -> dict[str, float]:
        """What the events are told of a search that ended in this γ and this damage."""
        return {"gamma": gamma, "deviation": reached / self.spread, "refused": self._idle / max(self._calls, 1)}


def _own_root(view: AttackView, context: RoundContext) -> Root:
    """What attackers take the server's root data to be: some of their clients' samples, and the mean of their clean rows."""
    assert view.own_samples is not None
    samples = view.own_samples()
    drawn = torch.randperm(len(samples), generator=context.generator("attackers' root set"))[:_ROOT_LIKE]
    chosen, update = drawn.to(samples.labels.device), view.own_clean().mean(dim=0)
    return Root(replace(samples, images=samples.images[chosen], labels=samples.labels[chosen]), lambda: update)


def _updates(view: AttackView, honest: Tensor) -> Updates:
    """Room for f rows and the honest ones behind them, under the clients' own ids where those are known."""
    f, known = view.num_byzantine, view.honest_ids
    updates = Updates.of(torch.cat([honest.new_zeros(f, honest.shape[1]), honest]))
    if view.own_ids is None or known is None or len(known) != len(honest):
        return updates
    return replace(updates, ids=torch.cat([view.own_ids, known]))


def search(damage: Damage, line: Line, evaluations: int) -> tuple[float, float]:
    """The γ >= 0 found to do most along the line, and what it does; at most `evaluations` calls of the rule.

    It ends once the rule has refused a few: a refusal may have cost a long search (MDA's), and others would follow.
    """
    if line.length == 0:
        return 0.0, damage(line, 0.0)
    tried, before = dict[float, float](), damage.refused
    for gamma in _proposals(tried, damage.spread / line.length**0.5, evaluations):
        tried[gamma] = damage(line, gamma)
        if damage.refused - before == _MOST_REFUSALS:
            break
    best = max(tried, key=tried.__getitem__)
    return best, tried[best]


def _proposals(tried: Mapping[float, float], unit: float, evaluations: int) -> Iterator[float]:
    """Powers of two, then ever smaller steps around the best that was `tried`."""
    yield from (_FAR * unit / 2**place for place in range(COARSE))
    step = 2.0**0.5
    for _ in range((evaluations - COARSE) // 2):
        best = max(tried, key=tried.__getitem__)
        yield from (best * step, best / step)
        step **= 0.5
