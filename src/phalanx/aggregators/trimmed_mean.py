"""TrimmedMean: every coordinate without its extremes."""

from pydantic import NonNegativeInt

from phalanx.aggregators.preconditions import require_majority
from phalanx.core.columns import reduce_sorted_columns
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class TrimmedMean(Aggregator):
    """Coordinate-wise mean after dropping the f largest and the f smallest values: mean(sort(x)[f : n − f]).

    Tolerates f < n/2 arbitrary rows; weak against small consistent shifts (A Little Is Enough) and against heterogeneous
    clients: put NearestNeighborMixing in front. Time O(n d log n), memory one block.

    Raises: PreconditionError unless n > 2f.
    Reference: Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018
    (arXiv 1803.01498), Definition 2.
    >>> import torch
    >>> TrimmedMean(num_byzantine=1)(torch.tensor([[0.], [1.], [2.], [99.]]))
    tensor([1.5000])
    """

    num_byzantine: NonNegativeInt

    def require(self, n: int) -> None:
        require_majority("TrimmedMean", n, self.num_byzantine)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        kept = slice(self.num_byzantine, len(updates) - self.num_byzantine)
        update = reduce_sorted_columns(updates.matrix, lambda ascending: ascending.mean(dim=1), kept=kept)
        return Aggregate(update), state
