"""Elementwise gradient clamping: SkyMask's local training."""

from torch import Tensor

from phalanx.core.families import StepHook
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import RoundContext


class ClampGradient(StepHook):
    """`g <- clamp(g, −limit, limit)`, every coordinate of a batch's gradient by itself; O(k d) a step.

    Keeps a large learning rate (SkyMask's 0.5 with limit 0.01) from diverging. It changes the gradient's direction; to keep
    that, take ClipGradientNorm.

    >>> import torch
    >>> gradient = torch.tensor([[0.3, -2.0]])
    >>> ClampGradient(1.0).gradient(gradient, torch.zeros(1, 2), RoundContext.for_matrix(gradient)); gradient
    tensor([[ 0.3000, -1.0000]])
    """

    limit: PositiveFloat32

    def gradient(self, gradient: Tensor, params: Tensor, context: RoundContext) -> None:
        """Clamp in place."""
        gradient.clamp_(-self.limit, self.limit)
