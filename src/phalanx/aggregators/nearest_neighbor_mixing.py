"""NearestNeighborMixing: every row becomes the mean of its neighbours."""

from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.aggregators.preconditions import require_majority
from phalanx.aggregators.selection import smallest
from phalanx.core.families import PreAggregator
from phalanx.core.types import RoundContext, Updates


class NearestNeighborMixing(PreAggregator):
    """Replace each row by the mean of its n − f nearest rows, itself included: Y = M X.

    Makes the rule behind it optimal where honest clients are heterogeneous; on homogeneous ones it only costs time. The mixed
    rows are made if the rule reads them; distances and weighted sums come from M alone. Time O(n² d), memory O(n²), and a
    matrix for coordinate-wise rules.

    Raises: PreconditionError unless n > 2f.
    Reference: Allouah et al., Fixing by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity, AISTATS 2023
    (arXiv 2302.01772), Algorithm 2.
    >>> import torch
    >>> updates = Updates.of(torch.tensor([[0.], [1.], [3.]]))
    >>> NearestNeighborMixing(num_byzantine=1).transform(updates, RoundContext.for_matrix(updates.matrix))[0].matrix
    tensor([[0.5000],
            [0.5000],
            [2.0000]])
    """

    num_byzantine: NonNegativeInt

    def require(self, n: int) -> None:
        require_majority("NearestNeighborMixing", n, self.num_byzantine)

    def transform(self, updates: Updates, context: RoundContext) -> tuple[Updates, Tensor | None]:
        count = len(updates) - self.num_byzantine
        mixing = smallest(updates.squared_distances, count, updates).double() / count
        return updates.mixed(mixing), mixing
