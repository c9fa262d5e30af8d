"""Sign flipping: the simplest way to push the model where it came from."""

from torch import Tensor

from phalanx.core.families import UpdateAttack
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import AttackView, Crafted, RoundContext, State


class SignFlip(UpdateAttack):
    """Each attacker sends `−scale · x`, x the row that its own training gave.

    Turns the mean around once f · scale > h; any rule that looks at distances or angles sees it. Knows nothing of the others.

    Reference: Li et al., RSA: Byzantine-Robust Stochastic Aggregation Methods, AAAI 2019 (arXiv 1811.03761).

    >>> import torch
    >>> SignFlip(2.0)(torch.tensor([[1.0, -3.0]]), num_byzantine=1)
    tensor([[-2.,  6.]])
    """

    scale: PositiveFloat32 = 1.0

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """The attackers' own rows, turned around."""
        rows: Tensor = view.own * -self.scale
        return Crafted(rows), state
