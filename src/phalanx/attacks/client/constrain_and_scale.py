"""Constrain-and-scale: attackers whose training is drawn back to the global model."""

from dataclasses import KW_ONLY
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from phalanx.core.families import ClientAttack, StepHook, Trainer
from phalanx.core.types import RoundContext


class AnomalyTerm(StepHook):
    """The gradient of α · loss + (1 − α) · anomaly: the distance |w − w_global| ("l2") or 1 − cos(w, w_global) ("cosine")."""

    alpha: Annotated[float, Field(gt=0, le=1)]
    distance: Literal["l2", "cosine"] = "l2"

    def gradient(self, gradient: Tensor, params: Tensor, context: RoundContext) -> None:
        """Weigh the loss's gradients `[k, d]` and add the anomaly's, in place."""
        pull = self._pull(params, context.global_params)
        gradient.mul_(self.alpha).add_(pull, alpha=1 - self.alpha)

    def _pull(self, params: Tensor, centre: Tensor) -> Tensor:
        if self.distance == "l2":
            drift: Tensor = torch.nn.functional.normalize(params - centre, dim=1)
            return drift
        length, unit = torch.linalg.vector_norm(params, dim=1, keepdim=True), torch.nn.functional.normalize(centre, dim=0)
        towards = torch.nn.functional.normalize(params, dim=1)
        cosine = (towards @ unit)[:, None]
        pull: Tensor = (cosine * towards - unit) / length.clamp(min=torch.finfo(params.dtype).tiny)
        return pull


class ConstrainAndScale(ClientAttack):
    """Local training on α · loss + (1 − α) · anomaly, so that the poisoned model looks like the global one.

    Goes with a data attack, and with a boosted update (Scaling, ModelReplacement): constrain first, then scale. A small α hides
    better and learns the backdoor worse. Rules that bound the norm still take the boost away. O(k d) a step.

    Reference: Bagdasaryan et al., How To Backdoor Federated Learning, AISTATS 2020 (arXiv 1807.00459), Algorithm 1.

    >>> ConstrainAndScale(alpha=0.7).hooks()
    (AnomalyTerm(alpha=0.7, distance='l2'),)
    """

    alpha: Annotated[float, Field(gt=0, le=1)] = 0.7
    """The loss's share; the paper takes 0.4 to 0.9."""
    _: KW_ONLY
    distance: Literal["l2", "cosine"] = "l2"
    trainer: Trainer | None = None
    """The attackers' own trainer (learning rate, epochs …); None: the honest one."""

    def hooks(self) -> tuple[StepHook, ...]:
        """The anomaly term."""
        return (AnomalyTerm(self.alpha, self.distance),)

    def training(self, honest: Trainer) -> Trainer:
        """The attackers' own trainer, if they have one."""
        return self.trainer or honest
