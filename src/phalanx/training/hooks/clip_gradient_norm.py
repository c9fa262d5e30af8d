"""Gradient clipping by norm, one norm a client."""

import torch
from torch import Tensor

from phalanx.core.families import StepHook
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import RoundContext


class ClipGradientNorm(StepHook):
    """`g <- g · min(1, max_norm / |g|)` for a batch's gradient over all parameters; O(k d) a step.

    Gives no privacy: the norm is the batch's, not a sample's.

    Reference: Pascanu, Mikolov and Bengio, On the Difficulty of Training Recurrent Neural Networks, ICML 2013
    (arXiv 1211.5063).

    Differs from torch.nn.utils.clip_grad_norm_, which adds 1e-6 to the norm and so clips a little more.

    >>> gradient = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    >>> ClipGradientNorm(1.0).gradient(gradient, torch.zeros(2, 2), RoundContext.for_matrix(gradient)); gradient
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """

    max_norm: PositiveFloat32

    def gradient(self, gradient: Tensor, params: Tensor, context: RoundContext) -> None:
        """Scale in place."""
        # 0 / 0 never happens: a gradient of norm 0 makes max_norm / 0 = inf, of which the minimum with 1 is 1.
        gradient.mul_((self.max_norm / torch.linalg.vector_norm(gradient, dim=1, keepdim=True)).clamp_(max=1))
