"""MeaMed: the mean around the median."""

from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.aggregators.median import middle
from phalanx.aggregators.preconditions import require_majority
from phalanx.aggregators.windows import nearest_mean
from phalanx.core.columns import reduce_sorted_columns
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class MeaMed(Aggregator, kind="meamed"):
    """Coordinate-wise mean of the n − f values nearest to the median.

    Tolerates f < n/2 arbitrary rows and wastes fewer honest values than the median or the trimmed mean. Weak against small
    consistent shifts (A Little Is Enough) and against heterogeneous clients: put NearestNeighborMixing in front.
    Time O(n d log n), memory one block.

    Raises: PreconditionError unless n > 2f.
    Reference: Xie, Koyejo, Gupta, Generalized Byzantine-tolerant SGD, 2018 (arXiv 1802.10116), Definition 4.
    >>> import torch
    >>> MeaMed(num_byzantine=1)(torch.tensor([[0.], [1.], [2.], [99.]]))
    tensor([1.])
    """

    num_byzantine: NonNegativeInt

    def require(self, n: int) -> None:
        require_majority("MeaMed", n, self.num_byzantine)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        count = len(updates) - self.num_byzantine

        def around_the_median(ascending: Tensor) -> Tensor:
            return nearest_mean(ascending, middle(ascending), count)

        return Aggregate(reduce_sorted_columns(updates.matrix, around_the_median)), state
