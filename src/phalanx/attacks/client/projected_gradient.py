"""PGD: attackers who train as they like, but never leave a ball around the global model."""

from dataclasses import KW_ONLY

import torch
from torch import Tensor

from phalanx.core.families import ClientAttack, StepHook, Trainer
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import RoundContext


class ProjectOntoBall(StepHook):
    """After every step, `w <- w_global + (w − w_global) · min(1, radius / |w − w_global|)`. Weights inside stay as they are."""

    radius: PositiveFloat32

    def after_step(self, params: Tensor, context: RoundContext) -> None:
        """Bring the rows of `params` `[k, d]` that left the ball back to its surface, in place."""
        drift = params - context.global_params
        norm = torch.linalg.vector_norm(drift, dim=1)
        outside = norm > self.radius
        if outside.any():
            factor = (self.radius / norm[outside]).unsqueeze(1)
            params[outside] = context.global_params + drift[outside] * factor


class ProjectedGradient(ClientAttack):
    """Local training with projected gradient descent (PGD), so that the update's norm never exceeds `epsilon`.

    Made against norm clipping and norm-based detection, together with a data attack: the clipped update would lose its
    backdoor, the projected one was trained to have it. Against rules that look at directions it gains nothing by itself.
    O(k d) a step for k attackers trained together.

    Reference: Wang et al., Attack of the Tails: Yes, You Really Can Backdoor Federated Learning, NeurIPS 2020
    (arXiv 2007.05084), "PGD attack".

    >>> ProjectedGradient(2.0).hooks()
    (ProjectOntoBall(radius=2.0),)
    """

    epsilon: PositiveFloat32
    """The radius: the Euclidean norm that an attacker's update may have."""
    _: KW_ONLY
    trainer: Trainer | None = None
    """The attackers' own trainer (learning rate, epochs …); None: the honest one."""

    def hooks(self) -> tuple[StepHook, ...]:
        """The projection."""
        return (ProjectOntoBall(self.epsilon),)

    def training(self, honest: Trainer) -> Trainer:
        """The attackers' own trainer, if they have one."""
        return self.trainer or honest
