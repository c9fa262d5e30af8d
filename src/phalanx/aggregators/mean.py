"""Mean: the weighted average that everything else is compared with."""

from typing import ClassVar

from torch import Tensor

from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class Mean(Aggregator):
    """Weighted mean of the updates, by the server's own weights: Σ w_i x_i / Σ w_i.

    No defence: one client can move it anywhere. Use it where every client is trusted, or as the baseline. Float buffers are
    averaged alike. Time O(n d).

    Raises: PreconditionError if no update has a positive weight.
    Reference: McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017
    (arXiv 1602.05629), Algorithm 1.
    >>> import torch
    >>> Mean()(torch.tensor([[0.], [1.], [2.], [99.]]))
    tensor([25.5000])
    """

    uses_weights: ClassVar[bool] = True

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        shares = shares_of(updates, who="Mean")
        buffers, weights = updates.buffers, updates.weights.to(updates.buffers)
        mean = (weights[:, None] * buffers).sum(dim=0) / weights.sum()
        return Aggregate(updates.weighted_sum(shares), influence=shares, buffers=mean), state


def shares_of(updates: Updates, *, who: str) -> Tensor:
    """The weights `[n]` scaled to sum to 1, on the device of the rows."""
    total = updates.weights.sum()
    if not total > 0:
        raise PreconditionError(f"{who} needs an update of positive weight; got n={len(updates)} whose weights sum to {total}.")
    return (updates.weights / total).to(updates.buffers.device)
