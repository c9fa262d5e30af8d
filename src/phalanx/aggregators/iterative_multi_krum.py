"""IterativeMultiKrum: the mean of Krum's choices, one after another."""

from pydantic import NonNegativeInt

from phalanx.aggregators.bulyan import repeated_krum
from phalanx.aggregators.preconditions import require_krum
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class IterativeMultiKrum(Aggregator):
    """Mean of the rows that Krum chooses, each taken out before the next choice, while more than 2f + 2 remain.

    So n − 2f − 2 rows count; with m left, a score counts the m − f − 2 nearest others. What experiments after Shejwalkar and
    Houmansadr call Multi-Krum: scoring again finds a tight group of attackers later than MultiKrum, which scores once and keeps
    n − f rows, but more honest rows are lost. Not the mean at f = 0. Distances are computed once. Time O(n² d + n³).

    Raises: PreconditionError unless n >= 2f + 3.
    Reference: Shejwalkar, Houmansadr, Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses for Federated
    Learning, NDSS 2021, whose implementation of Blanchard et al. (NeurIPS 2017) it is.
    >>> import torch
    >>> IterativeMultiKrum(num_byzantine=1)(torch.tensor([[0.], [1.], [1.5], [2.], [4.], [99.]]))
    tensor([1.2500])
    """

    num_byzantine: NonNegativeInt

    def require(self, n: int) -> None:
        require_krum("IterativeMultiKrum", n, self.num_byzantine)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        count = len(updates) - 2 * self.num_byzantine - 2
        influence = repeated_krum(updates, self.num_byzantine, count).double() / count
        return Aggregate(updates.weighted_sum(influence), influence=influence), state
