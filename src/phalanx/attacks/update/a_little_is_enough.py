"""ALIE: a shift so small that the attackers stand inside the honest spread."""

from statistics import NormalDist

from torch import Tensor

from phalanx.attacks.update.colluding import Colluding
from phalanx.attacks.update.moments import moments
from phalanx.core.numbers import Float32
from phalanx.core.types import AttackView, Crafted, RoundContext, State


class ALittleIsEnough(Colluding):
    """All attackers send `mean − z · std` per coordinate of the honest rows (LIE).

    By default z is the largest shift for which enough honest rows lie farther out than the attackers to make a majority with
    them: `z = Φ⁻¹((n − ⌊n/2 + 1⌋) / (n − f))`. That is 0.21 at n = 30, f = 6, zero at 10/2 and negative at 10/1: for z <= 0
    there is *no room to attack*, nor where the rows do not differ, as one attacker's own; the metric `room` is then 0, else 1.
    Experiments commonly give z = 1.5.

    Weak where honest updates hardly differ, and against rules that use correlations between coordinates. The std is the
    population's. O(h d) time, O(d) memory beyond the rows.

    Reference: Baruch et al., A Little Is Enough: Circumventing Defenses For Distributed Learning, NeurIPS 2019
    (arXiv 1902.06156), the attack that prevents convergence.
    Differs from the paper: where the formula's share is 0 or 1, and z infinite, it is taken half a client away from there.

    >>> import torch
    >>> ALittleIsEnough(1.5)(torch.tensor([[0.0], [2.0]]), num_byzantine=2)
    tensor([[-0.5000],
            [-0.5000]])
    """

    z: Float32 | None = None
    """How many standard deviations; None: the formula."""

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """One shifted row for all attackers (one memory, seen f times); metrics `z` and `room`."""
        z = largest_shift(view.num_updates, view.num_byzantine) if self.z is None else self.z
        mean, std = moments(view.reference())
        room = z > 0 and bool(std.any())
        row: Tensor = mean.sub_(std, alpha=z)
        return Crafted(row.expand(view.num_byzantine, -1), {"z": z, "room": float(room)}), state


def largest_shift(n: int, f: int) -> float:
    """The paper's z for n updates, f of them malicious.

    >>> [round(largest_shift(n, f), 2) for n, f in ((30, 6), (10, 2), (10, 1))]
    [0.21, 0.0, -0.14]
    """
    honest = max(n - f, 1)
    share = (n - (n // 2 + 1)) / honest
    return NormalDist().inv_cdf(min(max(share, 0.5 / honest), 1 - 0.5 / honest))
