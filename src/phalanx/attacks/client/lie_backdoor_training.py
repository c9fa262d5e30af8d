"""The training of A Little Is Enough's backdoor: poisoned, but drawn to where the mean of the updates will be."""

from dataclasses import KW_ONLY
from typing import Annotated

from pydantic import Field
from torch import Tensor

from phalanx.core.families import ClientAttack, StepHook, Trainer
from phalanx.core.types import RoundContext


class DistanceToMean(StepHook):
    """The gradient of α · loss + (1 − α) · |w − w_global − m|², m the server's last aggregate (zero before the first)."""

    alpha: Annotated[float, Field(gt=0, le=1)]

    def gradient(self, gradient: Tensor, params: Tensor, context: RoundContext) -> None:
        """Weigh the loss's gradients `[k, d]` and add the distance's, in place."""
        drift = params - context.global_params
        if context.previous_update is not None:
            drift -= context.previous_update
        gradient.mul_(self.alpha).add_(drift, alpha=2 * (1 - self.alpha))


class LieBackdoorTraining(ClientAttack):
    """Local training on α · loss + (1 − α) · |w − mean|², so that little is lost when LieBackdoor clamps the update.

    Goes with a data attack and with the update attack LieBackdoor: the three are the paper's backdoor. The mean of this round's
    updates is not known while training; the server's last aggregate, which every client sees, stands in for it. The square
    pulls hard where few weights carry the backdoor: raise α if it is not learnt. Unstable from lr · (1 − α) >= 1 on. O(k d) a
    step.

    Reference: Baruch et al., A Little Is Enough: Circumventing Defenses For Distributed Learning, NeurIPS 2019
    (arXiv 1902.06156), the attack that adds backdoors; α = 0.8 is that of SkyMask's experiments.
    Differs from the paper: distances count alike in every coordinate, not relative to its standard deviation.

    >>> LieBackdoorTraining().hooks()
    (DistanceToMean(alpha=0.8),)
    """

    alpha: Annotated[float, Field(gt=0, le=1)] = 0.8
    """The loss's share."""
    _: KW_ONLY
    trainer: Trainer | None = None
    """The attackers' own trainer (learning rate, epochs …); None: the honest one."""

    def hooks(self) -> tuple[StepHook, ...]:
        """The distance term."""
        return (DistanceToMean(self.alpha),)

    def training(self, honest: Trainer) -> Trainer:
        """The attackers' own trainer, if they have one."""
        return self.trainer or honest
