"""ARC: clipping to a norm that this round's norms decide."""

import torch
from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.aggregators.preconditions import require_majority
from phalanx.core import linalg
from phalanx.core.families import PreAggregator
from phalanx.core.types import RoundContext, Updates


class ARC(PreAggregator, kind="arc"):
    """Adaptive robust clipping: rows longer than the (k + 1)-th largest norm are scaled down to it, k = ⌊2 (f / n) (n − f)⌋.

    Clips about twice as many rows as there could be attackers, so that no bound has to be known; keeps what the rule behind it
    promises, and helps most in the first rounds and where clients are very heterogeneous. Time O(n d), memory O(n), and one
    more matrix for rules that read the rows.

    Raises: PreconditionError unless n > 2f.
    Reference: Allouah, Guerraoui, Gupta, Jellouli, Rizk, Stephan, Adaptive Gradient Clipping for Robust Federated Learning,
    ICLR 2025 (arXiv 2405.14432), Algorithm 2.
    >>> updates = Updates.of(torch.tensor([[1.], [2.], [3.], [99.]]))
    >>> ARC(num_byzantine=1).transform(updates, RoundContext.for_matrix(updates.matrix))[0].matrix.flatten()
    tensor([1., 2., 3., 3.])
    """

    num_byzantine: NonNegativeInt

    def require(self, n: int) -> None:
        require_majority("ARC", n, self.num_byzantine)

    def transform(self, updates: Updates, context: RoundContext) -> tuple[Updates, Tensor | None]:
        n, f = len(updates), self.num_byzantine
        clipped = 2 * f * (n - f) // n
        bound = updates.norms.sort(descending=True).values[clipped]
        factors = linalg.clip_factors(updates.norms, bound)
        return updates.scaled(factors), torch.diag(factors)
