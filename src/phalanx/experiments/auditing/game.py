"""`Game`: a federation made for an audit, in which each canary takes part or not by a fair coin."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from phalanx.accounts.accounts import no_proof
from phalanx.config import Experiment
from phalanx.core import rng
from phalanx.core.errors import ConfigError, PrivacyBudgetExhausted
from phalanx.privacy import OneRunAudit, PrivacyStatement
from phalanx.simulation import FederationState, Simulation

MOST_CANARIES = 1000


@dataclass(frozen=True)
class Game(ABC):
    """The engine itself runs it, with the experiment's private component: nothing of a mechanism is written a second time.

    Whoever is no canary is silent. A promise that holds whatever the others have holds then, too, and nobody hides a canary.
    """

    simulation: Simulation
    is_in: Tensor
    """Who was in, `[m]`."""

    @abstractmethod
    def seen(self, state: FederationState, following: FederationState) -> Tensor:
        """How far what the observer gets of this round goes each canary's way, `[m]`."""

    def play(self, confidence: float) -> tuple[PrivacyStatement, OneRunAudit, int]:
        """What the run claims in the end, what its outcome shows, and after how many rounds.

        Raises: ConfigError if it claims nothing.
        """
        accounts, rounds = self.simulation.accounts, list[Tensor]()
        if accounts is None:
            raise ConfigError(no_proof(self.simulation.experiment))
        with self.simulation:
            state = self.simulation.initial_state()
            try:
                while state.round < self.simulation.experiment.run.rounds:
                    following, _ = self.simulation.step(state)
                    rounds.append(self.seen(state, following).double().cpu())
                    state = following
            except PrivacyBudgetExhausted:
                pass  # what was released until then is what the budget paid for
        statement = accounts.statement(accounts.epsilon(state))
        scores = added_up(torch.stack(rounds))
        return statement, OneRunAudit.of(scores, self.is_in, delta=statement.delta, confidence=confidence), state.round


def coins(experiment: Experiment, m: int) -> Tensor:
    """Who is in `[m]`: fair coins, from the experiment's seed, and from a stream that no mechanism uses."""
    return torch.rand(m, generator=rng.generator(experiment.run.seed, "audit coins")) < 0.5


def added_up(rounds: Tensor) -> Tensor:
    """One score a canary `[m]` from those of all rounds `[T, m]`: a round counts by how little it varies.

    Under the same noise in every round that is the sum. A round whose noise was forgotten decides alone.
    """
    middle = rounds.median(dim=1, keepdim=True).values
    spread = (rounds - middle).abs().median(dim=1).values
    # Without noise most canaries may be at exactly the same value.
    spread = spread.maximum(1e-6 * rounds.abs().amax(dim=1))
    told = spread > 0
    relative = spread[told] / spread[told].min() if told.any() else spread[told]
    return (rounds[told] / spread[told, None] / relative[:, None]).sum(dim=0)
