"""Bulyan: rows chosen by Krum again and again, then a mean around the median of each coordinate."""

import torch
from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.aggregators.median import middle
from phalanx.aggregators.preconditions import REMEDY
from phalanx.aggregators.selection import smallest
from phalanx.aggregators.windows import nearest_mean
from phalanx.core.columns import reduce_sorted_columns
from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class Bulyan(Aggregator):
    """θ = n − 2f rows, each Krum's choice among those that remain; then the mean of the θ − 2f values nearest their median.

    The second step is coordinate-wise. With m rows left, a score counts the max(1, m − f − 2) nearest others. Tolerates
    f <= (n − 3)/4 rows, also those that hide one huge coordinate, which pass Krum alone. It keeps few values, so it pays
    without an attack, and consistent small shifts (A Little Is Enough) still pass. Distances are computed once.
    Time O(n² d + n³), memory O(n²).

    Raises: PreconditionError unless n >= 4f + 3.
    Reference: El Mhamdi, Guerraoui, Rouault, The Hidden Vulnerability of Distributed Learning in Byzantium, ICML 2018
    (arXiv 1802.07927), Section 4.
    >>> Bulyan(num_byzantine=1)(torch.tensor([[0.], [1.], [2.], [3.], [4.], [5.], [99.]]))
    tensor([2.])
    """

    num_byzantine: NonNegativeInt

    def require(self, n: int) -> None:
        f = self.num_byzantine
        if n < 4 * f + 3:
            raise PreconditionError(f"Bulyan needs n >= 4f + 3 updates; got n={n}, f={f}. {REMEDY}")

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        f = self.num_byzantine
        chosen = repeated_krum(updates, f, len(updates) - 2 * f).nonzero().flatten()
        count = len(chosen) - 2 * f

        def around_the_median(ascending: Tensor) -> Tensor:
            return nearest_mean(ascending, middle(ascending), count)

        return Aggregate(reduce_sorted_columns(updates.matrix, around_the_median, members=chosen)), state


def repeated_krum(updates: Updates, f: int, count: int) -> Tensor:
    """The mask `[n]` of `count` rows: Krum's choice, taken out, again and again on what remains."""
    distances, order = updates.squared_distances.sort(dim=1)
    is_other = order != torch.arange(len(updates), device=order.device)[:, None]
    remaining = torch.ones(len(updates), dtype=torch.bool, device=order.device)
    for left in range(len(updates), len(updates) - count, -1):
        neighbours = max(1, left - f - 2)
        near = remaining[order] & is_other
        near &= near.cumsum(dim=1) <= neighbours
        scores = torch.where(near, distances, 0).sum(dim=1)
        remaining &= ~smallest(scores.masked_fill(~remaining, torch.inf), 1, updates)
    return ~remaining
