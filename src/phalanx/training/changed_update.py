"""`ChangedUpdate`: what trainers share that change a finished update before it is sent."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn

from phalanx.core.families import Trainer
from phalanx.core.privacy import Mechanism
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State, Status


class ChangedUpdate(Trainer, ABC):
    """What `trainer` makes of a client's data, changed without another look at the data. Float buffers stay as they are."""

    trainer: Trainer

    @abstractmethod
    def change(self, row: Tensor, generator: torch.Generator) -> None:
        """Change a finite update `[d]` in place."""

    def check(self, model: nn.Module, samples: Samples) -> None:
        self.trainer.check(model, samples)

    def mechanism(self, num_samples: int) -> Mechanism | None:
        """The trainer's: what is made of a client's message without its data tells nothing more of it."""
        return self.trainer.mechanism(num_samples)

    def in_steps(self, steps: int) -> Self:
        return replace(self, trainer=self.trainer.in_steps(steps))

    def tells(self, state: State, ids: Sequence[int], context: RoundContext) -> Mapping[str, float]:
        return self.trainer.tells(state, ids, context)

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        new = self.trainer.train(cohort, state, context, out)
        for client, place in zip(cohort.ids, cohort.places):
            row = out.matrix[place]
            if out.status[place] == Status.SENT and row.isfinite().all():  # the server judges what diverged
                self.change(row, context.generator(self.kind, client))
        return new
