"""`RobustStrategy`: a complete Flower strategy around any rule of Phalanx."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord
from torch import nn

from phalanx.accounts import Accounts
from phalanx.accounts.books import RuleBooks
from phalanx.config import PrivacySettings
from phalanx.core.errors import ConfigError, PrivacyBudgetExhausted
from phalanx.core.events import Event, Sink, Value
from phalanx.core.families import Aggregator, Participation, ServerOptimizer, Trainer
from phalanx.core.types import RoundContext, Samples
from phalanx.flower.attendance import Attendance
from phalanx.flower.defence import Defence, Verdict
from phalanx.flower.guarded import Step
from phalanx.flower.resumable import Resumable
from phalanx.flower.telling import LOG
from phalanx.flower.wire import Wire
from phalanx.server import AllClients, Screening, ServerSGD
from phalanx.server.aggregation import valid_buffers
from phalanx.server.state import FederationState


class RobustStrategy(Resumable):
    """`RobustStrategy(aggregator=Flame())` in the place of `FedAvg()`.

    What clients send back is checked before it is decoded, screened, and handed as one matrix to the rule: the same object, the
    same state, weights and random numbers as in Phalanx's simulator. Malformed, late and missing answers cost their client
    the round, never the others; `offences` counts them by node.

    Args:
        aggregator: the rule.
        server: how the rule's result changes the model.
        screening: what is dropped before the rule. `weights = "samples"` here believes the clients' own `num-examples`, up to
            `max_samples`, which must be set.
        participation: which of the nodes that are there take part in a round.
        seed: of everything random on the server. Who knows it knows who was sampled, which a private rule may count on.
        privacy: how the spending of a private rule is counted. The run ends behind the last round that `max_epsilon` pays for,
            with the reason in `stopped`.
        run: an experiment's digest, which tells its noise from that of others with the same seed. A private rule whose noise
            comes from the seed needs it: without an experiment the seed is no secret, and the noise could be taken off.
        model: a module whose state is the initial model. BatchNorm statistics then travel apart from the parameters, and rules
            that look at the model can be used.
        root: the server's own samples, for rules such as FLTrust and SkyMask; `root_trainer` trains on them.
        input_shape: of one sample, for rules such as DeepSight that try the model; else that of the root samples.
        min_nodes: how many nodes the first round waits for, at most `wait_seconds`, which may be `inf`; then the run fails.
        quorum: a round with fewer accepted updates keeps the model (but a private rule answers to any number, as its proof has
            it), one with fewer nodes waits like the first.
        embeddings: whether a round's event tells where a rule that maps updates to a plane saw each client: 20 bytes a client.
        sinks: who is told of every round.
        folder: where checkpoints and events are kept. A run that finds one there goes on with it.

    Raises: CheckpointError for a folder that cannot be used; ConfigError or CapabilityError for a combination that cannot work.
    """

    def __init__(
        self,
        *,
        aggregator: Aggregator,
        server: ServerOptimizer | None = None,
        screening: Screening | None = None,
        participation: Participation | None = None,
        privacy: PrivacySettings | None = None,
        seed: int = 0,
        run: str = "",
        model: nn.Module | None = None,
        root: Samples | None = None,
        root_trainer: Trainer | None = None,
        input_shape: tuple[int, ...] | None = None,
        min_nodes: int = 2,
        wait_seconds: float = 300.0,
        quorum: int = 1,
        embeddings: bool = False,
        sinks: Sequence[Sink] = (),
        folder: str | Path | None = None,
    ) -> None:
        attendance = Attendance(min_nodes=min_nodes, quorum=quorum, wait_seconds=wait_seconds)
        participation, screening = participation or AllClients(), screening or Screening()
        mechanism = aggregator.mechanism(participation, min_nodes)  # a private rule refuses what it cannot count
        if mechanism is None and privacy is not None:
            raise ConfigError(
                f"privacy is set, but the rule {aggregator.kind} is not differentially private; take central_dp, or leave "
                "privacy out."
            )
        if mechanism is not None:
            screening = screening.each_alone(aggregator.kind)
            if mechanism.is_reproducible and not run:
                raise ConfigError(
                    f"The noise of {aggregator.kind} would follow from seed={seed}, so that whoever knows it could take it off "
                    "again; set secure_rng = true."
                )
        defence = Defence(
            aggregator=aggregator,
            screening=screening,
            seed=seed,
            run=run,
            quorum=quorum,
            is_private=mechanism is not None,
            model=model,
            root=root,
            root_trainer=root_trainer,
            input_shape=input_shape,
            embeddings=embeddings,
        )
        super().__init__(defence, attendance, sinks=sinks, folder=folder)
        self.server, self.participation = server or ServerSGD(), participation
        self._accounts: Accounts | None = None
        if mechanism is not None:
            self._accounts = Accounts.opened(RuleBooks(mechanism), privacy or PrivacySettings(), 1, min_nodes)
        largest = participation.largest(min_nodes)
        attendance.refuse_quorum_above(largest)
        aggregator.require(largest)

    def _initial_state(self, wire: Wire, arrays: ArrayRecord) -> FederationState:
        params, buffers = wire.flat(arrays)
        return FederationState(
            round=0,
            params=params,
            buffers=buffers,
            rule=self.defence.aggregator.init(wire.layout),
            server=self.server.init(wire.layout),
        )

    def _settings(self) -> list[Any]:
        parts = [[part.kind, part.to_table()] for part in (self.server, self.participation)]
        # What was spent is counted at one rate for all rounds, which another `min_nodes` would change.
        return parts if self._accounts is None else [*parts, asdict(self._accounts.mechanism)]

    @property
    def spent(self) -> dict[str, Any] | None:
        """What a private rule has cost each client so far, with all that the number means; None for other rules."""
        return None if self._accounts is None or self._state is None else self._accounts.result(self._state)

    def _begun(self, arrays: ArrayRecord, num_rounds: int) -> tuple[ArrayRecord, int]:
        arrays, done = super()._begun(arrays, num_rounds)
        if self._accounts is not None:
            self._accounts = replace(self._accounts, rounds=num_rounds)
            state = self._accounts.charged(self._opened(done + 1, arrays), self._receipts)
            self._state = state
            begun = Event("privacy", state.round, self._accounts.event(state))
            is_told = done > 0 and not self._receipts
            self.tell(begun, [sink for sink in self.sinks if not (is_told and sink is self._journal)])
            LOG.info("\tIn the end each client will have spent %s", begun.values["statement"])
        return arrays, done

    def _ended(self) -> str | None:
        if self._accounts is not None and self._state is not None:
            try:
                self._accounts.afford(self._state, ())
            except PrivacyBudgetExhausted as reason:
                return str(reason)
        return None

    def _sample(self, clients: Sequence[int], state: FederationState) -> list[int]:
        """As in the simulator, where clients 0 … n-1 are always there: of fewer, the drawn places among those that are.

        Where sampling counts, of all clients that ever were there, and who is away is away: nobody is drawn the more often for
        another's absence.
        """
        assert self._wire is not None
        context = RoundContext(state.round, self.defence.seed, self._wire.layout, state.params, state.buffers)
        if self._accounts is not None:
            everyone = max(len(self.attendance.roster.ids), self.attendance.min_nodes)
            drawn = set(self.participation.sample(everyone, context).tolist())
            return [client for client in clients if client in drawn]
        try:
            self.participation.largest(len(clients))
        except ConfigError:  # fewer are there than a round is to have
            return list(clients)
        return torch.tensor(clients)[self.participation.sample(len(clients), context)].tolist()

    def _apply(self, verdict: Verdict, wire: Wire, state: FederationState) -> Step:
        update = verdict.result.update
        following = replace(state, round=state.round + 1, rule=verdict.memory)
        values: dict[str, Value] = {}
        if self._accounts is not None:
            if self._journal is not None:
                self._journal.ledger.write(self._accounts.receipt(state, following))
            values = self._accounts.values(state, following)
        if update is None:
            return Step(following, values=values)
        params, server = self.server.step(state.params, update, state.server)
        buffers = valid_buffers(self.server.step_buffers(state.buffers, verdict.buffers), wire.layout)
        following = replace(following, params=params, buffers=buffers, previous_update=update, server=server)
        return Step(following, wire.arrays(params, buffers), values)
