"""What a server holds against the answers of a round: the same screening, rule and buffers as in the simulator."""

from collections.abc import Set
from copy import deepcopy
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from phalanx.core.capabilities import Capability, require
from phalanx.core.errors import ConfigError
from phalanx.core.events import Event
from phalanx.core.families import Aggregator, Trainer
from phalanx.core.types import Aggregate, Root, RoundContext, Samples, State
from phalanx.flower.answers import Received, believed
from phalanx.flower.wire import Wire
from phalanx.server import Rejection, Screening
from phalanx.server.aggregation import aggregate, combined_buffers, owned, root
from phalanx.server.events import Stopwatch, number, round_values
from phalanx.server.state import FederationState
from phalanx.training.engines.loop import use_channels_last


@dataclass(frozen=True)
class Verdict:
    """What became of a round: the rule's result, the new buffers `[b]`, the rule's memory, and the event that tells of it."""

    result: Aggregate
    buffers: Tensor
    memory: State
    event: Event
    rejected: tuple[Rejection, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Defence:
    """A rule with all that it may need; `RobustStrategy` says what the fields mean. `is_private`: its noise is counted on."""

    aggregator: Aggregator
    screening: Screening = field(default_factory=Screening)
    seed: int = 0
    run: str = ""
    quorum: int = 1
    is_private: bool = False
    model: nn.Module | None = None
    root: Samples | None = None
    root_trainer: Trainer | None = None
    input_shape: tuple[int, ...] | None = None
    embeddings: bool = False

    def __post_init__(self) -> None:
        if (self.root is None) != (self.root_trainer is None):
            raise ConfigError("The server's own update needs `root` (its samples) and `root_trainer` (how to train on them).")
        if self.root_trainer is not None and self.model is None:
            raise ConfigError("The server trains on its root data in a model; give `model`, too.")
        given = {Capability.MODEL} if self.model is not None else set()
        given |= {Capability.ROOT_DATA} if self.root is not None else set()
        check_rule(self.aggregator, self.screening, given)
        if self.model is not None:
            own = deepcopy(self.model)
            use_channels_last(own)  # as the simulator has it: the memory's layout decides the last bits
            object.__setattr__(self, "model", own)
            self.aggregator.check(own)
            if self.root is not None and self.root_trainer is not None:
                self.root_trainer.check(own, self.root)

    @property
    def cap(self) -> int:
        """The most examples that a client's claim counts for."""
        return self.screening.max_samples or 1

    def judge(self, received: Received, wire: Wire, state: FederationState) -> Verdict:
        """Screen the rows of a round and hand them to the rule. A round that cannot go on keeps the model and says so."""
        watch = Stopwatch()
        with watch.phase("screen"):
            updates, dropped = self.screening.screen(received.rows, received.clients, received.weights)
        accepted = updates.ids.tolist()
        context = self._context(wire, state, believed(received.steps, accepted))
        with watch.phase("aggregate"):
            # To keep the model because somebody is missing would tell who: a private rule's noise covers an empty round, too.
            if len(updates) < self.quorum and not self.is_private:
                result, memory = Aggregate(None), state.rule
                reason: str | None = f"{len(updates)} updates are fewer than the quorum of {self.quorum}."
            else:
                result, memory, reason = aggregate(self.aggregator, updates, state.rule, context)
        rejected = tuple(sorted([*received.rejected, *dropped], key=lambda rejection: rejection.client))
        absent = {"no_answer": len(received.silent), "strangers": received.strangers}
        values = round_values(
            sampled=received.sampled,
            absent=absent,
            updates=updates,
            aggregate=result if self.embeddings else replace(result, embedding=None),
            rejected=rejected,
            kept_model=reason,
        )
        loss = number(believed(received.losses, accepted))
        return Verdict(
            result=result,
            buffers=combined_buffers(result, updates, context),
            memory=owned(memory, received.rows),
            event=Event("round", state.round, {**values, "claimed_loss": loss, "seconds": watch.seconds}),
            rejected=rejected,
        )

    def _context(self, wire: Wire, state: FederationState, steps: float | None) -> RoundContext:
        shape = self.input_shape or (None if self.root is None else tuple(self.root.images.shape[1:]))
        context = RoundContext(
            round=state.round,
            seed=self.seed,
            layout=wire.layout,
            global_params=state.params,
            global_buffers=state.buffers,
            previous_update=state.previous_update,
            model=self.model,
            input_shape=shape,
            run=self.run,
        )
        return replace(context, root=self._root(context, steps))

    def _root(self, context: RoundContext, steps: float | None) -> Root | None:
        if self.root is None or self.root_trainer is None:
            return None
        trainer = self.root_trainer if steps is None else self.root_trainer.in_steps(int(steps))
        return root(self.root, trainer, context)


def check_rule(aggregator: Aggregator, screening: Screening, given: Set[Capability]) -> None:
    """Refuse a rule that this federation cannot serve, and weights that nobody can know. `given` beside what any has.

    Raises: CapabilityError or ConfigError.
    """
    if screening.weights == "samples" and screening.max_samples is None:
        raise ConfigError(
            'screening.weights = "samples" would believe what clients claim: one that claims 1e9 examples would own the '
            "average. Set screening.max_samples, the most that anybody counts for, or leave the weights uniform."
        )
    if screening.weights != "uniform" and not aggregator.uses_weights:
        raise ConfigError(
            f'The rule {aggregator.kind} counts every client alike; screening.weights = "samples" would change nothing.'
        )
    require(type(aggregator).__name__, aggregator.needs, {Capability.INDIVIDUAL_UPDATES, Capability.STABLE_IDS, *given})
