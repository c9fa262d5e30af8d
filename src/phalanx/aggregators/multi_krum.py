"""MultiKrum: the mean of the updates that Krum likes best."""

from pydantic import NonNegativeInt, PositiveInt

from phalanx.aggregators.preconditions import require_krum
from phalanx.aggregators.selection import smallest
from phalanx.core import linalg
from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class MultiKrum(Aggregator):
    """Unweighted mean of the m = `num_selected` rows (n − f by default) with the smallest Krum scores, scored once.

    Tolerates f <= (n − 3)/2 arbitrary rows. With m > n − f an attacker is always among the selected. Time O(n² d), memory
    O(n²).

    Raises: PreconditionError unless n >= 2f + 3 and n >= m.
    Reference: Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, NeurIPS 2017
    (arXiv 1703.02757), Section 5.
    >>> import torch
    >>> MultiKrum(num_byzantine=1)(torch.tensor([[0.], [1.], [1.5], [2.], [99.]]))
    tensor([1.1250])
    """

    num_byzantine: NonNegativeInt
    num_selected: PositiveInt | None = None

    def require(self, n: int) -> None:
        require_krum("MultiKrum", n, self.num_byzantine)
        if self.num_selected is not None and self.num_selected > n:
            raise PreconditionError(
                f"MultiKrum needs n >= num_selected updates; got n={n}, num_selected={self.num_selected}. "
                "Lower num_selected or sample more clients."
            )

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        count = self.num_selected or len(updates) - self.num_byzantine
        selected = smallest(linalg.krum_scores(updates.squared_distances, self.num_byzantine), count, updates)
        influence = selected.double() / count
        return Aggregate(updates.weighted_sum(influence), influence=influence), state
