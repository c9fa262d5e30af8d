"""WorkerMomentum: clients send a running average of their updates."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, replace

from torch import nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import Trainer
from phalanx.core.numbers import Momentum
from phalanx.core.privacy import Mechanism
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State, Status


class WorkerMomentum(Trainer):
    """m_i ← β m_i + (1 − β) x_i, where x_i is what `trainer` makes of the client's data; the client sends m_i.

    Averages the noise out of honest rows over about 1 / (1 − β) rounds, so that attackers have less of it to hide in: many
    guarantees of robust rules hold only with it. With clients that are sampled seldom the average is old; then leave it. State:
    d numbers a client.

    Reference: Karimireddy, He, Jaggi, Learning from History for Byzantine Robust Optimization, ICML 2021 (arXiv 2012.10333),
    Algorithm 2. Differs from the paper: momentum of a round's whole update, not of every gradient; the first update counts in
    full, where a start at zero would shrink it.
    """

    trainer: Trainer
    _: KW_ONLY
    beta: Momentum = 0.9

    def __post_init__(self) -> None:
        if isinstance(self.trainer, WorkerMomentum):
            raise ConfigError("WorkerMomentum around WorkerMomentum is not supported; give one of them a larger beta.")

    def check(self, model: nn.Module, samples: Samples) -> None:
        self.trainer.check(model, samples)

    def mechanism(self, num_samples: int) -> Mechanism | None:
        """The trainer's: an average of what a client has sent tells nothing more of it."""
        return self.trainer.mechanism(num_samples)

    def in_steps(self, steps: int) -> "WorkerMomentum":
        return replace(self, trainer=self.trainer.in_steps(steps))

    def tells(self, state: State, ids: Sequence[int], context: RoundContext) -> Mapping[str, float]:
        return self.trainer.tells(state, ids, context)

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        new = dict(self.trainer.train(cohort, state, context, out))
        for client, place in zip(cohort.ids, cohort.places):
            if out.status[place] != Status.SENT:
                continue
            name, row = f"{client}.momentum", out.matrix[place]
            if name in state:
                row.mul_(1 - self.beta).add_(state[name].to(row.device), alpha=self.beta)
            if row.isfinite().all():  # a round that diverged is lost, not the client
                new[name] = row.clone()
        return new
