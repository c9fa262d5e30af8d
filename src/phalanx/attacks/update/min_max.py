"""Min-Max: as far from the honest mean as the honest clients are from each other, and no farther."""

import torch
from torch import Tensor

from phalanx.attacks.update.colluding import Colluding
from phalanx.attacks.update.deviations import Deviation, mean_and_direction
from phalanx.core import linalg
from phalanx.core.types import AttackView, Crafted, RoundContext, State

_COLUMNS = 4096
"""Columns a block: small enough for the cache, three times as fast as blocks of 16 MB."""


class MinMax(Colluding):
    """All attackers send `mean + γ p` with the largest γ for which no honest row is farther from them than the two farthest
    honest rows are from each other.

    The deviation p is `−mean / |mean|` ("unit"), `−sign(mean)` ("sign") or `−std` ("std"). Knows nothing of the rule, and
    stays within what a rule that compares distances can tell. With one known row, or identical ones, γ is 0: it needs two
    different rows to hide between. Untargeted: it shows in the accuracy only. O(h² d) time for the honest distances, O(h d)
    for the rest, in column blocks.

    Reference: Shejwalkar and Houmansadr, Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses for
    Federated Learning, NDSS 2021.
    Differs from the paper: there γ is doubled, then bisected. The squared distance to each row is a quadratic in γ, so the
    limit of that search is the smallest of h positive roots, taken here exactly.

    >>> MinMax("unit")(torch.tensor([[1.0], [3.0]]), num_byzantine=1)
    tensor([[1.]])
    """

    deviation: Deviation = "std"

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """One row for all attackers (one memory, seen f times); metric `gamma`."""
        rows = view.reference()
        mean, direction = mean_and_direction(rows, self.deviation)
        gamma = largest_step(rows, mean, direction)
        row = torch.add(mean, direction, alpha=gamma)
        return Crafted(row.expand(view.num_byzantine, -1), {"gamma": gamma}), state


def largest_step(rows: Tensor, mean: Tensor, direction: Tensor) -> float:
    """The largest γ with `max_i |mean + γ p − x_i|² <= max_ij |x_i − x_j|²`, in float64.

    With `a = |p|²`, `b_i = p · (mean − x_i)`, `c_i = |mean − x_i|²` each row allows `aγ² + 2 b_i γ + c_i <= D`. No c_i exceeds
    D, for the mean lies between the rows: every quadratic has its root at γ >= 0.
    """
    a = float(direction.double().square().sum())
    if a == 0:
        return 0.0
    largest = linalg.geometry(rows).distances.max()
    along = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    spread = torch.zeros_like(along)
    for start in range(0, rows.shape[1], _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        offset = mean[columns].double() - rows[:, columns].double()
        along += offset @ direction[columns].double()
        spread += offset.square_().sum(1)
    roots = (along.square() + a * (largest - spread).clamp(min=0)).sqrt() - along
    return float(roots.min()) / a
