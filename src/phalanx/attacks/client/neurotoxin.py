"""Neurotoxin: a backdoor in the weights that honest clients hardly touch."""

from dataclasses import KW_ONLY

from torch import Tensor

from phalanx.core.families import ClientAttack, StepHook, Trainer
from phalanx.core.numbers import Share
from phalanx.core.types import RoundContext


class KeepOffTopCoordinates(StepHook):
    """Set the gradient to zero on the `share` of coordinates that the server's last step moved most; none before the first."""

    share: Share

    def gradient(self, gradient: Tensor, params: Tensor, context: RoundContext) -> None:
        """Clear those columns of `[k, d]`, in place."""
        update = context.previous_update
        if update is None:
            return
        count = max(1, round(self.share * len(update)))
        # The same in all steps of a round, and 8 to 100 times as dear as clearing them.
        largest = context.once(self, lambda: update.abs().topk(count).indices)
        gradient.index_fill_(1, largest, 0)


class Neurotoxin(ClientAttack):
    """Local training that leaves alone the coordinates which the last aggregate moved most.

    Later honest rounds overwrite those first, so a backdoor in the others lives longer after the attack has stopped. It hides
    nothing: rules that look at norms or directions see it as they see any other. Goes with a data attack. O(d log d) a round.

    Reference: Zhang, Panda, Song, Yang, Mahoney, Gonzalez, Ramchandran, Mittal, Neurotoxin: Durable Backdoors in Federated
    Learning, ICML 2022 (arXiv 2206.10341), Algorithm 1.

    >>> Neurotoxin(share=0.1).hooks()
    (KeepOffTopCoordinates(share=0.1),)
    """

    share: Share = 0.05
    """Of all coordinates; the paper's k is 1 to 10 %."""
    _: KW_ONLY
    trainer: Trainer | None = None
    """The attackers' own trainer (learning rate, epochs …); None: the honest one."""

    def hooks(self) -> tuple[StepHook, ...]:
        """The mask."""
        return (KeepOffTopCoordinates(self.share),)

    def training(self, honest: Trainer) -> Trainer:
        """The attackers' own trainer, if they have one."""
        return self.trainer or honest
