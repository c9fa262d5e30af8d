"""FedProx: a spring between a client's weights and the global ones."""

from torch import Tensor

from phalanx.core.families import StepHook
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import RoundContext


class FedProx(StepHook):
    """Adds `mu / 2 · |w − w_global|²` to the local loss, so `g <- g + mu (w − w_global)`; O(k d) a step.

    Keeps clients with unlike data from drifting apart. Does nothing in a client's first step, so nothing at all with steps=1.

    Reference: Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020 (arXiv 1812.06127), equation 2.

    Differs from the paper: no γ-inexact solver and no partial work, only the proximal term, as in common practice.

    >>> import torch
    >>> gradient = torch.zeros(1, 2)
    >>> FedProx(0.5).gradient(gradient, torch.tensor([[2.0, 0.0]]), RoundContext.for_matrix(gradient)); gradient
    tensor([[1., 0.]])
    """

    mu: PositiveFloat32

    def gradient(self, gradient: Tensor, params: Tensor, context: RoundContext) -> None:
        """Add the term's gradient in place."""
        gradient.add_(params - context.global_params, alpha=self.mu)
