"""Median: the middle value of every coordinate."""

from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.aggregators.preconditions import require_majority
from phalanx.core.columns import reduce_sorted_columns
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class Median(Aggregator):
    """Coordinate-wise median; for an even n the mean of the two middle values.

    Tolerates f < n/2 arbitrary rows. It is not the mean when nobody attacks, and it is biased where clients are heterogeneous:
    put NearestNeighborMixing in front. `num_byzantine` changes no number: it states f, so that n > 2f is checked.
    Time O(n d log n), memory one block.

    Raises: PreconditionError unless n > 2f.
    Reference: Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018
    (arXiv 1803.01498), Definition 1.
    >>> import torch
    >>> Median()(torch.tensor([[0.], [1.], [2.], [99.]]))
    tensor([1.5000])
    """

    num_byzantine: NonNegativeInt = 0

    def require(self, n: int) -> None:
        require_majority("Median", n, self.num_byzantine)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        n = len(updates)
        kept = slice((n - 1) // 2, n // 2 + 1)
        return Aggregate(reduce_sorted_columns(updates.matrix, middle, kept=kept)), state


def middle(ascending: Tensor) -> Tensor:
    """The median of each ascending row of `[w, n]`."""
    n = ascending.shape[1]
    if n % 2:
        return ascending[:, n // 2]
    # Halved before they are added: the sum of two finite values may not be finite.
    return ascending[:, n // 2 - 1] * 0.5 + ascending[:, n // 2] * 0.5
