"""How a search moves: many points at once `[R, P]`, none of which knows of the others."""

from typing import Protocol

import torch
from torch import Tensor


class Descent(Protocol):
    """What turns gradients into new points; it remembers the steps it made."""

    def step(self, points: Tensor, gradients: Tensor) -> Tensor:
        """New points `[R, P]`. Inputs are not changed."""


class Adam:
    """Adam's steps (Kingma and Ba, ICLR 2015), by the gradient's sign alone if `signed`.

    The learning rate is divided by ten after 3/8, 5/8 and 7/8 of `steps` if `decay`. The first numbers of a point, as many as
    `box` has, stay within it.
    """

    def __init__(
        self, lr: float, steps: int, *, signed: bool = False, decay: bool = False, box: tuple[Tensor, Tensor] | None = None
    ) -> None:
        self._lr, self._signed, self._box, self._made = lr, signed, box, 0
        self._drops = [steps * eighths // 8 for eighths in (3, 5, 7)] if decay else []

    def step(self, points: Tensor, gradients: Tensor) -> Tensor:
        gradients = gradients.sign() if self._signed else gradients
        if not self._made:
            self._first, self._second = torch.zeros_like(points), torch.zeros_like(points)
        lr = self._lr * 0.1 ** sum(drop <= self._made for drop in self._drops)
        self._made += 1
        self._first = self._first.lerp(gradients, 0.1)
        self._second = self._second.lerp(gradients.square(), 0.001)
        scale = (self._second / (1 - 0.999**self._made)).sqrt_().add_(1e-8)
        moved = points - lr / (1 - 0.9**self._made) * self._first / scale
        if self._box is None:
            return moved
        boxed, free = moved.tensor_split([len(self._box[0])], dim=1)
        return torch.cat([boxed.clamp(*self._box), free], dim=1)


class LBFGS:
    """Limited-memory BFGS as torch.optim.LBFGS makes its steps without a line search, each point with a history of its own.

    The first step has length min(1, 1 / |g|_1) · lr, the others lr. A pair without positive curvature is left out.

    Reference: Nocedal and Wright, Numerical Optimization, 2006, Algorithm 7.4.
    """

    def __init__(self, lr: float = 1.0, history: int = 100) -> None:
        self._lr, self._history = lr, history
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        self._last: tuple[Tensor, Tensor] | None = None

    def step(self, points: Tensor, gradients: Tensor) -> Tensor:
        if self._last is None:
            self._last, self._scale = (points, gradients), torch.ones(len(points), 1).to(points)
            length = gradients.abs().sum(1, keepdim=True).clamp(min=1).reciprocal()
            return points - self._lr * length * gradients
        s, y = points - self._last[0], gradients - self._last[1]
        self._last = points, gradients
        curvature = (s * y).sum(1, keepdim=True)
        is_curved = curvature > 1e-10
        # Weight 0 makes a pair that a point must not use an identity for it: histories differ, the loop stays one.
        weight = torch.where(is_curved, curvature.reciprocal(), 0)
        self._scale = torch.where(is_curved, curvature / y.square().sum(1, keepdim=True), self._scale)
        self._pairs = [*self._pairs, (s, y, weight)][-self._history :]
        return points - self._lr * self._direction(gradients)

    def _direction(self, gradients: Tensor) -> Tensor:
        direction, alphas = gradients, []
        for s, y, weight in reversed(self._pairs):
            alpha = weight * (s * direction).sum(1, keepdim=True)
            direction = direction - alpha * y
            alphas.append(alpha)
        direction = direction * self._scale
        for (s, y, weight), alpha in zip(self._pairs, reversed(alphas)):
            direction = direction + s * (alpha - weight * (y * direction).sum(1, keepdim=True))
        return direction
