"""The backdoor of A Little Is Enough: poisoned updates, clamped to where honest ones would have been."""

import torch

from phalanx.attacks.update.colluding import Colluding
from phalanx.attacks.update.moments import moments
from phalanx.core.numbers import NonNegativeFloat32
from phalanx.core.types import AttackView, Crafted, RoundContext, State


class LieBackdoor(Colluding):
    """Each attacker sends its own poisoned row, clamped to `mean ± z · std` of the honest rows in every coordinate.

    The second half of the paper's backdoor; the first, training that stays near the mean, is the client attack
    LieBackdoorTraining, and what is learnt there a data attack. A coordinate that was cut adds (1 + z²) σ² to the squared
    distance from an honest row, where two of those have 2 σ²: Krum chooses the row for z < 1, or where training left most
    coordinates uncut. Under the mean it is weaker than the poisoned row itself, which is longer; metric `clamped` is the share
    of coordinates that were cut. Useless without a data attack. With `knowledge = "own"` a single attacker has no spread to
    move in and sends its honest row: metric `room` is 0 then (1 otherwise). O(h d) time.

    Reference: Baruch et al., A Little Is Enough: Circumventing Defenses For Distributed Learning, NeurIPS 2019
    (arXiv 1902.06156), the attack that adds backdoors; z = 1.43 is that of SkyMask's experiments.
    Differs from the paper: the clamp comes after the training, once a round, and each attacker keeps a row of its own.

    >>> import torch
    >>> view = AttackView(torch.tensor([[9.0, 1.5]]), torch.Tensor, 3, honest=torch.tensor([[0.0, 0.0], [2.0, 2.0]]))
    >>> LieBackdoor(1.0).craft(view, {}, RoundContext.for_matrix(view.own))[0].rows
    tensor([[2.0000, 1.5000]])
    """

    z: NonNegativeFloat32 = 1.43
    """How many (population) standard deviations."""

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """The clamped rows; metrics `z`, `clamped` and `room`."""
        mean, std = moments(view.reference())
        reach = std.mul_(self.z)
        rows = torch.clamp(view.own, mean - reach, mean + reach)
        clamped = float((rows != view.own).double().mean())
        return Crafted(rows, {"z": self.z, "clamped": clamped, "room": float(reach.any())}), state
