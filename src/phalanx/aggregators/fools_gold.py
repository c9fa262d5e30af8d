"""FoolsGold: clients whose histories look alike share one vote."""

from typing import ClassVar

import torch
from torch import Tensor

from phalanx.core import linalg
from phalanx.core.capabilities import Capability
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class FoolsGold(Aggregator):
    """Weights from the cosine similarity of the clients' accumulated updates: sybils who push one way lose theirs.

    Needs no count of attackers and stands a majority of sybils, if they are more alike than honest clients are: on IID data the
    honest are alike too and lose their weight, and a single attacker, or sybils who add noise that cancels, keep theirs. If no
    weight is left, the model is kept. State: the sum of each client's updates, n · d numbers. Time O(n² d).

    Reference: Fung, Yoon, Beschastnikh, The Limitations of Federated Learning in Sybil Settings, RAID 2020 (arXiv 1808.04866),
    Algorithm 1. Differs from the paper: all coordinates count alike, not the output layer's indicative ones; a negative
    similarity is not pardoned into a positive one.
    >>> FoolsGold()(torch.tensor([[1., 0.], [0., 1.], [-5., -5.], [-5., -5.]])).tolist()
    [0.5, 0.5]
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.INDIVIDUAL_UPDATES, Capability.STABLE_IDS})

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        names = [f"{client}.history" for client in updates.ids.tolist()]
        past = [state.get(name) for name in names]
        history, largest = updates.matrix.clone(), torch.finfo(updates.matrix.dtype).max
        for row, before in zip(history, past):
            if before is not None:
                row += before.to(row.device)
        history.clamp_(-largest, largest)  # a sum that overflows must not make its client unlike everybody
        state = {**state, **{name: row.clone() for name, row in zip(names, history)}}
        weights = foolsgold_weights(1 - linalg.cosine_distances(history))
        if float(weights.sum()) == 0:
            return Aggregate(None, influence=weights), state
        influence = weights / weights.sum()
        return Aggregate(updates.weighted_sum(influence), influence=influence), state


def foolsgold_weights(cosines: Tensor) -> Tensor:
    """The weights `[n]` in [0, 1] of clients whose histories have these cosines `[n, n]`."""
    n = len(cosines)
    if n == 1:
        return torch.ones_like(cosines[0])
    others = cosines.masked_fill(torch.eye(n, dtype=torch.bool, device=cosines.device), -torch.inf)
    nearest = others.amax(dim=1)
    # An honest client beside one that is more alike to somebody is pardoned in proportion.
    pardon = torch.where(nearest > nearest[:, None], nearest[:, None].clamp(min=0) / nearest.clamp(min=1e-300), 1.0)
    alike = torch.where(others.isfinite(), others * pardon, -torch.inf).amax(dim=1)
    weights = (1 - alike).clamp(0, 1)
    if not weights.any():
        return weights
    weights = weights / weights.max()
    weights[weights == 1] = 0.99
    return (torch.log(weights / (1 - weights)) + 0.5).clamp(0, 1)
