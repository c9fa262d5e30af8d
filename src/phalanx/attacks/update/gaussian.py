"""Pure noise: what a broken or careless attacker sends."""

import torch

from phalanx.core.families import UpdateAttack
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import AttackView, Crafted, RoundContext, State


class Gaussian(UpdateAttack):
    """Each attacker sends `N(0, std² I)`, centred on zero, not on its own row; independent rows, new ones every round.

    In d dimensions its norm is about std · √d: a std that looks small may be huge. Easy for every robust rule; it is here as
    the baseline that a defence must not fail. Differs from some public code, whose "Gaussian" is uniform.

    Reference: Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent, NeurIPS 2017
    (arXiv 1703.02757), where std = 200.

    >>> Gaussian(1.0)(torch.zeros(1, 5), num_byzantine=2).shape
    torch.Size([2, 5])
    """

    std: PositiveFloat32 = 1.0
    """Standard deviation per coordinate."""

    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """Noise in the shape of the attackers' rows, drawn on the CPU so that devices agree."""
        noise = torch.randn(view.own.shape, generator=context.generator("gaussian attack"), dtype=view.own.dtype)
        return Crafted(noise.mul_(self.std).to(view.own.device)), state
