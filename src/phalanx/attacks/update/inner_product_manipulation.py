"""Inner product manipulation: a short step the wrong way."""

from torch import Tensor

from phalanx.attacks.update.colluding import Colluding
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import AttackView, Crafted, RoundContext, State


class InnerProductManipulation(Colluding):
    """All attackers send `−ε · mean` of the honest rows, so that the aggregate may point against it.

    A small ε (0.1 to 0.5) hides from rules that look at distances when honest updates vary much; a large one turns a plain mean
    around once f · ε > h. Rules that look at angles see it. Untargeted. O(h d) time.

    Reference: Xie, Koyejo, Gupta, Fall of Empires: Breaking Byzantine-tolerant SGD by Inner Product Manipulation, UAI 2019
    (arXiv 1903.03936).

    >>> import torch
    >>> InnerProductManipulation(0.5)(torch.tensor([[1.0], [3.0]]), num_byzantine=2)
    tensor([[-1.],
            [-1.]])
    """

    epsilon: PositiveFloat32 = 0.5

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """One row for all attackers."""
        row: Tensor = view.reference().mean(0).mul_(-self.epsilon)
        return Crafted(row.expand(view.num_byzantine, -1)), state
