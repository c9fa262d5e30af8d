"""Min-Sum: as far from the honest rows, summed over all, as the most remote honest row is."""

import torch

from phalanx.attacks.update.colluding import Colluding
from phalanx.attacks.update.deviations import Deviation, mean_and_direction
from phalanx.core import linalg
from phalanx.core.types import AttackView, Crafted, RoundContext, State


class MinSum(Colluding):
    """All attackers send `mean + γ p` with the largest γ for which their squared distances to the honest rows sum to no more
    than those of any honest row to the others.

    Bounds the sum where MinMax bounds the largest distance: made against rules that sum distances (Krum). The deviation p is
    as in MinMax. Untargeted: it shows in the accuracy only. O(h² d) time for the honest distances.

    Reference: Shejwalkar and Houmansadr, Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses for
    Federated Learning, NDSS 2021.
    Differs from the paper: γ in closed form, the limit of its search: h |p|² γ² + Σ |mean − x_i|² = max_i Σ_j |x_i − x_j|².

    >>> MinSum("unit")(torch.tensor([[1.0], [3.0]]), num_byzantine=1)
    tensor([[1.]])
    """

    deviation: Deviation = "std"

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """One row for all attackers (one memory, seen f times); metric `gamma`."""
        rows = view.reference()
        mean, direction = mean_and_direction(rows, self.deviation)
        length = len(rows) * float(direction.double().square().sum())
        around_mean = float(linalg.norms(rows, centre=mean).square().sum())
        room = float(linalg.geometry(rows).distances.sum(dim=1).max()) - around_mean
        gamma = (max(room, 0.0) / length) ** 0.5 if length else 0.0
        return Crafted(torch.add(mean, direction, alpha=gamma).expand(view.num_byzantine, -1), {"gamma": gamma}), state
