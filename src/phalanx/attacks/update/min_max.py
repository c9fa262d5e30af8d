"""Min-Max: as far from the honest mean as the honest clients are from each other, and no farther."""

from phalanx.attacks.update.colluding import Colluding
from phalanx.attacks.update.deviations import Deviation
from phalanx.attacks.update.line import Line
from phalanx.core import linalg
from phalanx.core.types import AttackView, Crafted, RoundContext, State


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

    >>> import torch
    >>> MinMax("unit")(torch.tensor([[1.0], [3.0]]), num_byzantine=1)
    tensor([[1.]])
    """

    deviation: Deviation = "std"

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """One row for all attackers (one memory, seen f times); metric `gamma`."""
        rows = view.reference()
        line = Line.away_from(rows, self.deviation)
        gamma = largest_step(line, float(linalg.geometry(rows).distances.max()))
        row = line.at(gamma)
        return Crafted(row.expand(view.num_byzantine, -1), {"gamma": gamma}), state


def largest_step(line: Line, largest: float) -> float:
    """The largest γ whose row is no farther from any honest one than D = `largest`, the largest |x_i − x_j|².

    With `a = |p|²`, `b_i = p · (mean − x_i)`, `c_i = |mean − x_i|²` each row allows `aγ² + 2 b_i γ + c_i <= D`. No c_i exceeds
    D, for the mean lies between the rows: every quadratic has its root at γ >= 0.
    """
    if line.length == 0:
        return 0.0
    roots = (line.along.square() + line.length * (largest - line.squares).clamp(min=0)).sqrt() + line.along
    return float(roots.min()) / line.length
