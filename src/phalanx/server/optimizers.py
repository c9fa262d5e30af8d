"""How the aggregate, a mean of w_i − w that points downhill, changes the global model."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from phalanx.core.families import ServerOptimizer
from phalanx.core.numbers import Momentum, PositiveFloat32
from phalanx.core.params import Layout
from phalanx.core.types import State

_Damping = Annotated[float, Field(ge=1e-18, le=1e18)]  # its square is a float32, too


class ServerSGD(ServerOptimizer, kind="sgd"):
    """`v = momentum v + update; w += lr v`. With the defaults, FedAvg's plain step.

    Reference: Hsu, Qi and Brown, Measuring the Effects of Non-Identical Data Distribution (FedAvgM), 2019 (arXiv 1909.06335).
    """

    lr: PositiveFloat32 = 1.0
    momentum: Momentum = 0.0

    def step(self, params: Tensor, update: Tensor, state: State) -> tuple[Tensor, State]:
        if self.momentum == 0:
            return torch.add(params, update, alpha=self.lr), state
        velocity = update if "velocity" not in state else torch.add(update, state["velocity"], alpha=self.momentum)
        return torch.add(params, velocity, alpha=self.lr), {"velocity": velocity}

    def step_buffers(self, buffers: Tensor, combined: Tensor) -> Tensor:
        """As far as the parameters go, at most all of the way."""
        return combined if self.lr >= 1 else torch.lerp(buffers, combined, self.lr)


class FedAdam(ServerOptimizer):
    """`m = β1 m + (1−β1) u; v = β2 v + (1−β2) u²; w += lr m / (√v + τ)`, with m = 0 and v = τ² at first, uncorrected.

    Reference: Reddi et al., Adaptive Federated Optimization, ICLR 2021 (arXiv 2003.00295), Algorithm 2.
    """

    lr: PositiveFloat32 = 0.01
    beta1: Momentum = 0.9
    beta2: Momentum = 0.99
    tau: _Damping = 1e-3

    def init(self, layout: Layout) -> State:
        return {"m": torch.zeros(layout.d), "v": torch.full((layout.d,), self.tau**2)}

    def step(self, params: Tensor, update: Tensor, state: State) -> tuple[Tensor, State]:
        m = torch.lerp(update, state["m"].to(update), self.beta1)
        v = torch.lerp(update.square(), state["v"].to(update), self.beta2)
        return torch.addcdiv(params, m, v.sqrt().add_(self.tau), value=self.lr), {"m": m, "v": v}
