"""CAF: covariance-bound agnostic filtering; rows that stretch the covariance most lose weight."""

import torch
from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.aggregators.preconditions import require_majority
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates

ROUNDING = 1e-9


class CAF(Aggregator):
    """Weights c = 1; while Σ c > n − 2f: c_i *= 1 − τ_i / max τ, τ_i the squared projection on the covariance's top direction.

    The result is the weighted mean whose covariance had the smallest top eigenvalue. Tolerates f < n/2 arbitrary rows, with an
    error that does not grow with d; small consistent shifts inside the honest spread stay, as with every rule. f = 0 is the
    mean. On the Gram matrix: time O(n² d + n⁴), memory O(n²).

    Raises: PreconditionError unless n > 2f.
    Reference: Allouah, Guerraoui, Stephan, Towards Trustworthy Federated Learning with Untrusted Participants, ICML 2025
    (arXiv 2505.01874), Algorithm 2.
    >>> CAF(num_byzantine=1)(torch.tensor([[0.], [1.], [2.], [99.]]))
    tensor([1.0068])
    """

    num_byzantine: NonNegativeInt

    def require(self, n: int) -> None:
        require_majority("CAF", n, self.num_byzantine)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        n, gram = len(updates), updates.gram
        weights = torch.ones(n, dtype=torch.float64, device=gram.device)
        best, smallest = weights / n, torch.inf
        while float(weights.sum()) > n - 2 * self.num_byzantine:  # every turn takes at least one row's whole weight
            shares = weights / weights.sum()
            variance, projections = top_direction(gram, shares)
            if variance < smallest:
                best, smallest = shares, variance
            largest = float(projections[weights > 0].max())
            if largest <= 0:
                break
            weights = weights * (1 - projections / largest).clamp(min=0, max=1)
            weights[weights < ROUNDING] = 0  # of rows that lie equally far out all must go, whatever their last digits
        return Aggregate(updates.weighted_sum(best), influence=best, metrics={"top_eigenvalue": smallest}), state


def top_direction(gram: Tensor, shares: Tensor) -> tuple[float, Tensor]:
    """The top eigenvalue of the covariance of rows with weights `shares` (sum 1), and the squared projections `[n]` on it.

    From the rows' Gram matrix: (x_i − μ)ᵀ v with v = Zᵀ √s u / √λ, where u is the top eigenvector of √s Z Zᵀ √s. Directions
    with the same eigenvalue count together, so that which of them a solver returns does not decide.
    """
    pulled = gram @ shares
    centred = gram - pulled[:, None] - pulled + shares @ pulled
    root = shares.sqrt()
    values, vectors = torch.linalg.eigh(root[:, None] * centred * root)
    top = float(values[-1])
    if top <= 0:
        return 0.0, torch.zeros_like(shares)
    alike = vectors[:, values >= top * (1 - 1e-9)]
    return top, (centred @ (root[:, None] * alike)).square().sum(dim=1) / top
