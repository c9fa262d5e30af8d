"""MaskAware: an inversion attack that knows that the update was pruned."""

from dataclasses import replace

from phalanx.core.leak import Leak
from phalanx.inversion.adaptive import AdaptiveAttack


class MaskAware(AdaptiveAttack):
    """`attack`, comparing only the coordinates that were sent: those of the leak that are not zero.

    ```
    known = (g != 0);  distance(known · ∇ loss(x), g)
    ```
    The adaptive attacker against `pruned_update`: a pruned coordinate is no small gradient, it is an unknown one. Without
    pruning nothing changes, except for models whose gradient has zeros of its own (ReLU), which are then not compared either.
    Labels are still read off what is left of the last layer, and `linear_recovery` gains nothing, since it compares nothing.

    >>> from phalanx.inversion import DLG
    >>> MaskAware(DLG(restarts=8)).to_table()["kind"]
    'mask_aware'
    """

    def taken(self, leak: Leak) -> Leak:
        return replace(leak, known=leak.gradient != 0)
