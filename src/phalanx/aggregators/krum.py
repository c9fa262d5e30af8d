"""Krum: the one update that has the closest neighbours."""

from pydantic import NonNegativeInt

from phalanx.aggregators.preconditions import require_krum
from phalanx.aggregators.selection import smallest
from phalanx.core import linalg
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class Krum(Aggregator):
    """The row with the smallest sum of squared distances to its n − f − 2 nearest others; ties go to the smaller content.

    Tolerates f <= (n − 3)/2 arbitrary rows. One client's update is all that remains of a round, so it learns slowly and favours
    some clients where data is heterogeneous: use MultiKrum, or put NearestNeighborMixing in front. Time O(n² d), memory O(n²).

    Raises: PreconditionError unless n >= 2f + 3.
    Reference: Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, NeurIPS 2017
    (arXiv 1703.02757), Section 4. Differs from the paper: there the smallest identifier wins a tie.
    >>> import torch
    >>> Krum(num_byzantine=1)(torch.tensor([[0.], [1.], [1.5], [2.], [99.]]))
    tensor([1.5000])
    """

    num_byzantine: NonNegativeInt

    def require(self, n: int) -> None:
        require_krum("Krum", n, self.num_byzantine)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        winner = smallest(linalg.krum_scores(updates.squared_distances, self.num_byzantine), 1, updates).double()
        return Aggregate(updates.weighted_sum(winner), influence=winner), state
