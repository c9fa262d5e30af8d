"""Pipeline: pre-aggregators and a rule, as one rule."""

from dataclasses import replace

from torch import Tensor, nn

from phalanx.core.capabilities import Capability
from phalanx.core.errors import ConfigError
from phalanx.core.families import Aggregator, Participation, PreAggregator, Stage
from phalanx.core.params import Layout
from phalanx.core.privacy import Mechanism
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class Pipeline(Aggregator):
    """Pre-aggregators in order, then one aggregator, which may be a pipeline itself.

    Every stage's precondition is checked with the number of rows that reach it. Influence is that of the original rows: the
    rule's influence carried back through what the stages mixed and scaled. State is the rule's.

    Raises: ConfigError unless the stages are pre-aggregators and then exactly one aggregator; PreconditionError of any stage.
    Reference: none of its own.
    >>> import torch
    >>> from phalanx.aggregators import ClipNorm, NearestNeighborMixing, TrimmedMean
    >>> Pipeline((ClipNorm(1.0), NearestNeighborMixing(1), TrimmedMean(1)))(torch.tensor([[0.], [1.], [2.], [99.]]))
    tensor([1.])
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        *first, last = self.stages or (None,)
        if not isinstance(last, Aggregator) or not all(isinstance(stage, PreAggregator) for stage in first):
            raise ConfigError(
                "Pipeline needs pre-aggregators followed by exactly one aggregator; "
                f"got stages = [{', '.join(stage.kind for stage in self.stages)}]. Reorder them."
            )
        for stage in self.before:
            for hidden in sorted(stage.hides & self.rule.needs, key=lambda capability: capability.name):
                raise ConfigError(f"{type(self.rule).__name__} needs {hidden.value}; {type(stage).__name__} in front hides it.")

    @property
    def rule(self) -> Aggregator:
        """The last stage."""
        last = self.stages[-1]
        assert isinstance(last, Aggregator)
        return last

    @property
    def before(self) -> tuple[PreAggregator, ...]:
        """All stages but the last."""
        return tuple(stage for stage in self.stages if isinstance(stage, PreAggregator))

    @property
    def needs(self) -> frozenset[Capability]:  # type: ignore[override]
        return self.rule.needs | ({Capability.INDIVIDUAL_UPDATES} if self.before else frozenset())

    @property
    def uses_weights(self) -> bool:  # type: ignore[override]
        return self.rule.uses_weights

    def require(self, n: int) -> None:
        for stage in self.before:
            stage.require(n)
            n = stage.rows_out(n)
        self.rule.require(n)

    def check(self, model: nn.Module) -> None:
        self.rule.check(model)

    def mechanism(self, participation: Participation, num_clients: int) -> Mechanism | None:
        mechanism = self.rule.mechanism(participation, num_clients)
        if mechanism is not None and self.before:
            raise ConfigError(
                f"{self.rule.kind} behind {self.before[0].kind} has no privacy proof: its noise is for rows as clients send "
                "them, one each. Use it without a pipeline."
            )
        return mechanism

    def init(self, layout: Layout) -> State:
        return self.rule.init(layout)

    def public_state(self, context: RoundContext) -> State:
        return self.rule.public_state(context)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        mixings: list[Tensor] = []
        for stage in self.before:
            updates, mixing = stage.transform(updates, context)
            mixings += [] if mixing is None else [mixing]
        aggregate, state = self.rule.aggregate(updates, state, context)
        if self.before:  # a stage is there to stand something: its mean is not to be had around it, by the buffers
            aggregate = replace(aggregate, buffers=None)
        if mixings:  # scores and places of mixed rows are nobody's
            aggregate = replace(aggregate, scores=None, embedding=None)
        if aggregate.influence is None:
            return aggregate, state
        influence = aggregate.influence
        for mixing in reversed(mixings):
            influence = influence.to(mixing) @ mixing
        return replace(aggregate, influence=influence), state
