"""PartialDeployment: a defence that only some clients have installed."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, replace

import torch
from torch import nn

from phalanx.core import rng
from phalanx.core.families import Trainer
from phalanx.core.numbers import Probability
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State


class PartialDeployment(Trainer):
    """Each client trains with `trainer` with probability `share`, drawn once a run, and with `others` otherwise.

    What a clients' defence is worth where not everybody takes part: FLIP assumes that every honest client does. Attackers draw,
    too, where they train as the honest do. Of n clients n · share ± √(n · share · (1 − share)) have the trainer, whatever their
    place in the partition; who has it depends on the seed alone. The server's own update, on root data, is made with `others`:
    the defence is installed at clients. No privacy is claimed for the mixture.

    >>> from phalanx.training import SGD, Flip
    >>> PartialDeployment(Flip(), SGD(0.1, epochs=1)).share
    0.5
    """

    trainer: Trainer
    others: Trainer
    _: KW_ONLY
    share: Probability = 0.5

    def check(self, model: nn.Module, samples: Samples) -> None:
        """Both trainers must suit. Raises: ConfigError."""
        self.trainer.check(model, samples)
        self.others.check(model, samples)

    def in_steps(self, steps: int) -> "PartialDeployment":
        """Both in so many steps."""
        return replace(self, trainer=self.trainer.in_steps(steps), others=self.others.in_steps(steps))

    def tells(self, state: State, ids: Sequence[int], context: RoundContext) -> Mapping[str, float]:
        """Of those who have the defence."""
        return self.trainer.tells(state, [client for client in ids if self._has_it(client, context)], context)

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        """Train one part of the cohort after the other."""
        has_it = [self._has_it(client, context) for client in cohort.ids]
        new = dict[str, torch.Tensor]()
        for trainer, part in ((self.trainer, has_it), (self.others, [not it for it in has_it])):
            if any(part):
                new |= trainer.train(_only(cohort, part), state, context, out)
        return new

    def _has_it(self, client: int, context: RoundContext) -> bool:
        if client < 0:  # the server's own update: a coin of its own would make FLTrust's reference another method's
            return False
        drawn = torch.rand((), generator=rng.generator(context.seed, "partial deployment", 0, client))
        return bool(drawn < self.share)


def _only(cohort: Cohort, part: list[bool]) -> Cohort:
    """The cohort's clients that are in the part."""
    kept = [place for place, is_in in enumerate(part) if is_in]
    return replace(
        cohort,
        ids=tuple(cohort.ids[place] for place in kept),
        places=tuple(cohort.places[place] for place in kept),
        index=tuple(cohort.index[place] for place in kept),
        attackers=tuple(cohort.attackers[place] for place in kept if cohort.attackers),
    )
