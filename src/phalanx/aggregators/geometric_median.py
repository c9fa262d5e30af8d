"""GeometricMedian: the point with the smallest sum of distances to all updates."""

import torch
from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.aggregators.preconditions import require_majority
from phalanx.aggregators.selection import smallest
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates

STEPS = 100
SMOOTHING, SMALL_STEP = 1e-6, 1e-10
"""Both relative to the medoid's median distance from the rows, so that the rule has no scale."""


class GeometricMedian(Aggregator):
    """The minimiser of Σ |x_i − y|, by smoothed Weiszfeld steps: y = Σ β_i x_i / Σ β_i with β_i = 1 / max(ν, |x_i − y|).

    Begins at the row with the smallest sum of distances; ν is 1e-6 of its median distance; ends with a step below 1e-10 of it,
    or after 100. Tolerates f < n/2 arbitrary rows, each of which pulls by one unit vector whatever its size: consistent small
    shifts add up, and so does heterogeneity (put NearestNeighborMixing in front). `num_byzantine` changes no number: it states
    f, so that n > 2f is checked. Steps are taken on the Gram matrix: time O(n² d + 100 n²), memory O(n²).

    Raises: PreconditionError unless n > 2f.
    Reference: Pillutla, Kakade, Harchaoui, Robust Aggregation for Federated Learning, IEEE TSP 2022 (arXiv 1912.13445).
    Differs from the paper: the start, and ν relative to the rows (an absolute one fails beside attackers at 1e12).
    >>> import torch
    >>> GeometricMedian()(torch.tensor([[0., 0.], [0., 2.], [2., 0.], [2., 2.], [1., 1.]]))
    tensor([1., 1.])
    """

    num_byzantine: NonNegativeInt = 0

    def require(self, n: int) -> None:
        require_majority("GeometricMedian", n, self.num_byzantine)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        weights, steps = _weiszfeld(updates)
        return Aggregate(updates.weighted_sum(weights), influence=weights, metrics={"steps": float(steps)}), state


def _weiszfeld(updates: Updates) -> tuple[Tensor, int]:
    """The weights `[n]` of the rows in their geometric median, and how many steps it took."""
    lengths = updates.squared_distances.sqrt()
    medoid = int(smallest(lengths.sum(dim=1), 1, updates).int().argmax())
    weights = updates.squared_distances[medoid].eq(0).double()  # rows equal to the medoid share its weight
    weights /= weights.sum()
    typical = float(lengths[medoid].median())  # of all pairs it would be an attacker's distance once f > 0.3 n
    if typical == 0:  # at least half of all rows are equal to the medoid: it is a geometric median
        return weights, 0
    steps = 0
    while steps < STEPS:
        steps += 1
        distances = _distances_to(weights, updates)
        following = 1 / distances.clamp(min=SMOOTHING * typical)
        following /= following.sum()
        # No less than the step's length; the length itself, a small difference, could be lost in rounding errors.
        step, weights = (following - weights).abs() @ distances, following
        if float(step) <= SMALL_STEP * typical:
            break
    return weights, steps


def _distances_to(weights: Tensor, updates: Updates) -> Tensor:
    """|x_i − y| of each row from y = Σ w_j x_j, `[n]`, for weights `[n]` that add up to 1.

    From inner products or from distances, whichever is the smaller difference of large numbers: the former lose the rows next
    to y (attackers who are the medoid would hold the median in rounding errors), the latter all others beside a huge row.
    """
    products = updates.gram @ weights
    around = weights @ products
    squares, size = updates.gram.diagonal() - 2 * products + around, updates.gram.diagonal() + around
    mixed = updates.squared_distances @ weights
    half = weights @ mixed / 2
    return torch.where(mixed + half < size, mixed - half, squares).clamp(min=0).sqrt()
