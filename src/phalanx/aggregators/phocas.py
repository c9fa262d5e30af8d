"""Phocas: the mean around the trimmed mean."""

from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.aggregators.preconditions import require_majority
from phalanx.aggregators.windows import nearest_mean
from phalanx.core.columns import reduce_sorted_columns
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class Phocas(Aggregator):
    """Coordinate-wise mean of the n − f values nearest to the trimmed mean.

    Tolerates f < n/2 arbitrary rows. Weak against small consistent shifts (A Little Is Enough) and against heterogeneous
    clients: put NearestNeighborMixing in front. Time O(n d log n), memory one block.

    Raises: PreconditionError unless n > 2f.
    Reference: Xie, Koyejo, Gupta, Phocas: Dimensional Byzantine-Resilient Stochastic Gradient Descent, 2018
    (arXiv 1805.09682), Definition 7.
    >>> import torch
    >>> Phocas(num_byzantine=1)(torch.tensor([[0.], [1.], [2.], [99.]]))
    tensor([1.])
    """

    num_byzantine: NonNegativeInt

    def require(self, n: int) -> None:
        require_majority("Phocas", n, self.num_byzantine)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        count = len(updates) - self.num_byzantine
        kept = slice(self.num_byzantine, count)

        def around_the_trimmed_mean(ascending: Tensor) -> Tensor:
            return nearest_mean(ascending, ascending[:, kept].mean(dim=1), count)

        return Aggregate(reduce_sorted_columns(updates.matrix, around_the_trimmed_mean)), state
