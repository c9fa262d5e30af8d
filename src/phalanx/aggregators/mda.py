"""MDA: the mean of the n − f updates that lie closest together."""

import torch
from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.aggregators.preconditions import require_majority
from phalanx.aggregators.selection import TIE
from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates

MOST_STEPS = 200_000


class MDA(Aggregator, kind="mda"):
    """Minimum-diameter averaging: the mean of the n − f rows whose largest pairwise distance is smallest.

    Exact, by a search for f rows that touch every pair farther apart than the diameter (a vertex cover), whose time grows with
    2^f in the worst case; where it cannot finish, that is an error, never an approximation. Among subsets of the same diameter
    the one with the smaller content. Tolerates f < n/2 rows. Time O(n² d) and the search, memory O(n²).

    Raises: PreconditionError unless n > 2f, or if the search takes more than 200,000 steps.
    Reference: El Mhamdi, Guerraoui, Guirguis, Rouault, SGD: Decentralized Byzantine Resilience, 2019 (arXiv 1905.03853).
    >>> MDA(num_byzantine=1)(torch.tensor([[0.], [1.], [2.], [99.]]))
    tensor([1.])
    """

    num_byzantine: NonNegativeInt

    def require(self, n: int) -> None:
        require_majority("MDA", n, self.num_byzantine)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        order = updates.content_rank.argsort(stable=True)
        diameter, kept = _tightest(updates.squared_distances[order][:, order], len(updates) - self.num_byzantine)
        influence = torch.zeros(len(updates), dtype=torch.float64, device=updates.matrix.device)
        influence[order[kept]] = 1 / len(kept)
        return Aggregate(updates.weighted_sum(influence), influence=influence, metrics={"diameter": diameter}), state


def _tightest(distances: Tensor, count: int) -> tuple[float, list[int]]:
    """The smallest diameter of `count` rows, and which rows: of several sets the first in order."""
    n = len(distances)
    i, j = torch.triu_indices(n, n, offset=1)
    levels = [0.0, *torch.unique(distances[i.to(distances.device), j.to(distances.device)]).tolist()]
    budget = _Budget()
    low, high = 0, len(levels) - 1  # dropping nobody is enough for the largest distance
    while low < high:
        middle = (low + high) // 2
        if _can_cover(_far_rows(distances, levels[middle]), (1 << n) - 1, n - count, budget):
            high = middle
        else:
            low = middle + 1
    far = _far_rows(distances, levels[high] * (1 + TIE))
    kept: list[int] = []
    open_rows, room = (1 << n) - 1, n - count
    for row in range(n):
        if len(kept) == count or not open_rows >> row & 1:
            continue
        open_rows &= ~(1 << row)
        lost = far[row] & open_rows
        if lost.bit_count() <= room and _can_cover(far, open_rows & ~lost, room - lost.bit_count(), budget):
            kept.append(row)
            open_rows &= ~lost
            room -= lost.bit_count()
        else:
            room -= 1
    return levels[high] ** 0.5, kept


def _far_rows(distances: Tensor, limit: float) -> list[int]:
    """For each row the set (as bits) of those farther away than `limit`."""
    return [sum(1 << place for place in row.nonzero().flatten().tolist()) for row in distances > limit]


class _Budget:
    """Steps that a search may still take."""

    def __init__(self) -> None:
        self.left = MOST_STEPS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise PreconditionError(f"MDA could not finish its search in {MOST_STEPS:,} steps. Lower num_byzantine.")


def _can_cover(far: list[int], among: int, room: int, budget: _Budget) -> bool:
    """Whether `room` of the rows in the set `among` touch every far pair in it (a vertex cover)."""
    budget.spend()
    degrees = [(far[row] & among).bit_count() if among >> row & 1 else 0 for row in range(len(far))]
    busiest = max(range(len(far)), key=degrees.__getitem__)
    largest = degrees[busiest]
    if largest == 0:
        return True
    if sum(degrees) > 2 * room * largest:
        return False
    # Either the busiest row goes, or all that are far from it do.
    if _can_cover(far, among & ~(1 << busiest), room - 1, budget):
        return True
    return largest <= room and _can_cover(far, among & ~(1 << busiest | far[busiest]), room - largest, budget)
