"""Adam on the clients."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY

import torch
from torch import Tensor

from phalanx.core.numbers import Momentum, NonNegativeFloat32, PositiveFloat32
from phalanx.training.local import LocalTrainer


class Adam(LocalTrainer):
    """`m = β1 m + (1−β1) g; v = β2 v + (1−β2) g²; w -= lr m̂ / (√v̂ + eps)`, with m̂, v̂ corrected for their start at 0.

    As torch.optim.Adam does it; weight decay is added to the gradient. Moments start afresh every round, as is usual in
    federated learning: a client may not be seen again, and the model has moved. With few local steps Adam is close to sign
    descent, so rows of all clients have nearly the same norm: norm-based defences then see little.

    Reference: Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015 (arXiv 1412.6980), Algorithm 1.

    >>> Adam(1e-3, steps=5).betas
    (0.9, 0.999)
    """

    _: KW_ONLY
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    eps: PositiveFloat32 = 1e-8
    weight_decay: NonNegativeFloat32 = 0.0

    def optimizer(self, lr: float) -> "AdaptiveMoments":
        """Adam without a past."""
        return AdaptiveMoments(lr, self.betas, self.eps, self.weight_decay)


class AdaptiveMoments:
    """Adam's steps and its two moments."""

    def __init__(self, lr: float, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self._steps = 0
        self._first: list[Tensor] = []
        self._second: list[Tensor] = []

    @property
    def plain_rate(self) -> None:
        """None: a step is more than the gradient."""

    def begin(self, epoch: int) -> None:
        """Every pass is like the others."""

    def step(self, params: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """One step in place."""
        params, gradients = list(params), list(gradients)
        if self.weight_decay:
            gradients = list(torch._foreach_add(gradients, params, alpha=self.weight_decay))
        if not self._first:
            self._first, self._second = ([torch.zeros_like(gradient) for gradient in gradients] for _ in range(2))
        self._steps += 1
        beta1, beta2 = self.betas
        torch._foreach_lerp_(self._first, gradients, 1 - beta1)
        torch._foreach_mul_(self._second, beta2)
        torch._foreach_addcmul_(self._second, gradients, gradients, value=1 - beta2)
        denominators = list(torch._foreach_sqrt(self._second))
        torch._foreach_div_(denominators, math.sqrt(1 - beta2**self._steps))
        torch._foreach_add_(denominators, self.eps)
        torch._foreach_addcdiv_(params, self._first, denominators, value=-self.lr / (1 - beta1**self._steps))

    def keep(self, clients: int) -> None:
        """Forget the moments of finished clients."""
        self._first = [moment[:clients] for moment in self._first]
        self._second = [moment[:clients] for moment in self._second]
