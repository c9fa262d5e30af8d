"""The abstract bases of all families. They live here because an attack may hold an aggregator, and families do not import
each other. A new method subclasses one of these, in one file."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from phalanx.core import linalg
from phalanx.core.capabilities import Capability, require
from phalanx.core.component import Component
from phalanx.core.errors import PreconditionError
from phalanx.core.events import RunFacts, Sink
from phalanx.core.leak import Leak, Reconstruction, Watch
from phalanx.core.params import Layout
from phalanx.core.privacy import Mechanism, Sampling
from phalanx.core.types import (
    Aggregate,
    AttackView,
    Cohort,
    Crafted,
    DataSplit,
    Draw,
    RoundContext,
    Rows,
    Samples,
    State,
    Updates,
)


class Dataset(Component, ABC, family="dataset"):
    """Where samples come from."""

    @property
    def measures_training_samples(self) -> bool:
        """Whether the model sees numbers of all training samples together, such as their mean; published constants are none."""
        return False

    @abstractmethod
    def load(self) -> DataSplit:
        """Read (fetch if need be), verify and return all samples.

        Raises: DataError in one sentence naming the files and where to put them.
        """


class Partitioner(Component, ABC, family="partitioner"):
    """How samples are dealt to clients."""

    @abstractmethod
    def split(self, labels: Tensor, groups: Tensor | None, generator: torch.Generator) -> list[Tensor]:
        """Positions `[m_i]` int64 for each client, disjoint. `labels`, `groups` are `[N]`.

        Raises: DataError if the data cannot be split so.
        """


class Augmentation(Component, ABC, family="augmentation"):
    """A random change of a training batch, as tensor operations."""

    @abstractmethod
    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Changed copies of float images `[B, C, H, W]` in [0, 1].

        Raises: ConfigError if the samples are no images, or the change does not fit them.
        """


class Architecture(Component, ABC, family="architecture"):
    """A model's recipe; what it builds is a plain torch module."""

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], num_classes: int, generator: torch.Generator) -> nn.Module:
        """A freshly initialised module for inputs `[B, *input_shape]` giving logits `[B, num_classes]`.

        Raises: ConfigError if the architecture cannot take this shape.
        """


class StepHook(Component, ABC, family="step_hook"):
    """Something that happens inside every local step, on the flat parameters of `k` clients at once. Every engine calls it.

    Terms added to the loss enter through their gradient. Both methods change their first argument in place.
    """

    def gradient(self, gradient: Tensor, params: Tensor, context: RoundContext) -> None:
        """Change the gradients `[k, d]` before the optimiser sees them; `params` `[k, d]` are the clients' current weights."""

    def after_step(self, params: Tensor, context: RoundContext) -> None:
        """Change the clients' weights `[k, d]` after the optimiser stepped, such as projecting them onto a ball."""


class LearningRateSchedule(Component, ABC, family="learning_rate_schedule"):
    """How the clients' learning rate changes over rounds."""

    @abstractmethod
    def factor(self, round: int) -> float:
        """What the learning rate is multiplied with in this round (counted from 0)."""


class Trainer(Component, ABC, family="trainer"):
    """What clients do with their data in a round."""

    def check(self, model: nn.Module, samples: Samples) -> None:
        """Fail before round 0 where this trainer cannot train this model on these samples.

        Raises: ConfigError.
        """

    def mechanism(self, num_samples: int) -> Mechanism | None:
        """What one round of this training promises to a client with so many samples, or None: no privacy is claimed.

        Write it where it can be proved: every number that leaves the client is then noised. Who trains differently in other
        rounds, or lets something else out, has none.
        """
        return None

    def in_steps(self, steps: int) -> "Trainer":
        """The same training in so many steps, whatever the number of samples; a trainer that counts no steps stays as it is."""
        return self

    def tells(self, state: State, ids: Sequence[int], context: RoundContext) -> Mapping[str, float]:
        """What the event of a round says of the training of these clients, from what they remember of it.

        For what would otherwise go wrong in silence, such as a defence that found nothing to do.
        """
        return {}

    @abstractmethod
    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        """Train every client of the cohort from `context.global_params` and write row `cohort.places[i]` of `out`.

        Writes matrix, buffers, mean loss, number of steps and status. A client without samples gets `Status.NO_SAMPLES`.
        Returns the new state of the cohort's clients; every key begins with the client's roster int and a dot ("17.trigger"),
        so that clients can be trained anywhere and their states merged.
        """


class Trigger(Component, ABC, family="trigger"):
    """A mark on an image that a backdoor answers to."""

    @abstractmethod
    def stamp(self, images: Tensor) -> Tensor:
        """Copies of images `[B, C, H, W]` in [0, 1] with the mark on them.

        Raises: ConfigError if the mark does not fit the images.
        """

    def part(self, attacker: int) -> "Trigger":
        """What attacker number `attacker` stamps: the whole mark, unless the attack is distributed."""
        return self


class DataAttack(Component, ABC, family="data_attack"):
    """Poison in the attackers' training data."""

    @property
    def success_class(self) -> int | None:
        """The class that a success predicts, or None where success is not defined (an untargeted attack)."""
        return None

    @property
    def is_fitted(self) -> bool:
        """Whether `fitted` looks at the samples."""
        return type(self).fitted is not DataAttack.fitted

    def fitted(self, samples: Samples, generator: torch.Generator) -> "DataAttack":
        """The attack as it is against these training samples; called once, before round 0. Most know nothing of them.

        Raises: ConfigError if it does not fit them.
        """
        return self

    def choose(self, samples: Samples, index: Tensor, generator: torch.Generator) -> Tensor | None:
        """Which of a client's samples, those at `index` `[m]`, are poisoned in every round, as a mask; None: batch by batch."""
        return None

    @abstractmethod
    def poison(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """A poisoned copy of a batch: float images `[B, ...]` before normalisation, labels `[B]`."""

    def stamp(self, images: Tensor) -> Tensor:
        """Test images `[B, ...]` as the attacker presents them: with the union of all attackers' triggers."""
        return images

    def eligible(self, images: Tensor, labels: Tensor) -> Tensor:
        """The mask `[B]` of test images that count towards attack success: those whose true class is not the target."""
        return labels.ne(-1 if self.success_class is None else self.success_class)


class ClientAttack(Component, ABC, family="client_attack"):
    """A change of the attackers' local training itself."""

    def check(self, data: DataAttack | None) -> None:
        """Fail where this attack cannot go with this data attack. Raises: ConfigError."""

    def hooks(self) -> tuple[StepHook, ...]:
        """What the attackers' training does in every step."""
        return ()

    def training(self, honest: Trainer) -> Trainer:
        """The attackers' trainer (own learning rate, epochs …), given the honest one."""
        return honest


class UpdateAttack(Component, ABC, family="update_attack"):
    """Attackers who replace what their clients send."""

    needs: ClassVar[frozenset[Capability]] = frozenset()
    knows_aggregator: ClassVar[bool] = False

    @property
    def is_omniscient(self) -> bool:
        """Whether the attackers see the honest clients' rows."""
        return False

    def check(self, model: nn.Module) -> None:
        """Fail before round 0 where the attack cannot work with this model. Raises: ConfigError."""

    def init(self, layout: Layout) -> State:
        """What the attack remembers before round 0."""
        return {}

    @abstractmethod
    def craft(self, view: AttackView, state: State, context: RoundContext) -> tuple[Crafted, State]:
        """The attackers' rows `[f, d]` for this round, from what they may know."""

    def __call__(self, honest: Tensor, *, num_byzantine: int, context: RoundContext | None = None) -> Tensor:
        """Malicious rows `[f, d]` against honest rows `[h, d]`, outside of any federation.

        The attackers' own clean rows are taken to be copies of the honest mean.
        """
        if not isinstance(honest, Tensor):
            raise PreconditionError(f"{type(self).__name__} needs a torch tensor [h, d]; got a {type(honest).__name__}.")
        if honest.dim() != 2 or not honest.dtype.is_floating_point or honest.numel() < 1 or num_byzantine < 1:
            raise PreconditionError(
                f"{type(self).__name__} needs floating-point honest updates [h, d] with h >= 1, d >= 1 and num_byzantine >= 1; "
                f"got {honest.dtype} of shape {list(honest.shape)}, num_byzantine={num_byzantine}."
            )
        own = honest.mean(0, keepdim=True).repeat(num_byzantine, 1)
        view = AttackView(
            own=own,
            own_clean=lambda: own,
            num_updates=len(honest) + num_byzantine,
            honest=honest if self.is_omniscient else None,
        )
        context = context or RoundContext.for_matrix(honest)
        crafted, _ = self.craft(view, self.init(context.layout), context)
        return crafted.rows


class Stage(Component, ABC, family="stage"):
    """A link of a `Pipeline`: pre-aggregators, then one aggregator."""


class PreAggregator(Stage, ABC, family="pre_aggregator"):
    """Rows in, rows out, before the rule sees them. `hides` is what a rule behind it cannot have any more."""

    hides: ClassVar[frozenset[Capability]] = frozenset()

    def require(self, n: int) -> None:
        """Raise PreconditionError unless `n` rows are enough."""

    def rows_out(self, n: int) -> int:
        """How many rows come out when `n` go in."""
        return n

    @abstractmethod
    def transform(self, updates: Updates, context: RoundContext) -> tuple[Updates, Tensor | None]:
        """New updates and, if rows were mixed or scaled, the matrix `[n', n]` of who went into whom (None: row i stayed row i).

        The input is not changed.
        """


class Aggregator(Stage, ABC, family="aggregator"):
    """A rule: rows in, one update out. Write `combine`; `require` if it needs more than one row."""

    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.INDIVIDUAL_UPDATES})
    uses_weights: ClassVar[bool] = False
    """Whether the updates' weights change the result; the others count every client alike."""

    def require(self, n: int) -> None:
        """Raise PreconditionError unless `n` rows are enough for what the rule promises."""
        if n < 1:
            raise PreconditionError(f"{type(self).__name__} needs n >= 1 updates; got n={n}.")

    def check(self, model: nn.Module) -> None:
        """Fail before round 0 where the rule cannot look at this model as it has to. Raises: ConfigError."""

    def mechanism(self, participation: "Participation", num_clients: int) -> Mechanism | None:
        """What one round of this rule promises to a client, or None: no privacy is claimed.

        It needs a proof: clip every row alone, sum, add noise. A rule that chooses rows has no such bound, whatever is added.

        Raises: ConfigError if clients are sampled in a way that it cannot count.
        """
        return None

    def init(self, layout: Layout) -> State:
        """What the rule remembers before round 0."""
        return {}

    def public_state(self, context: RoundContext) -> State:
        """What of its memory follows from what everyone knows in a round: attackers who know the rule know that, too."""
        return self.init(context.layout)

    @abstractmethod
    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        """The rule itself, on finite rows whose number has been checked. Inputs are never modified."""

    def aggregate(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        """Check the precondition, then `combine`.

        Raises: PreconditionError with the numbers in it.
        """
        self.require(len(updates))
        return self.combine(updates, state, context)

    def __call__(self, matrix: Tensor, *, context: RoundContext | None = None) -> Tensor:
        """`[n, d] -> [d]`: the rule outside of any federation; non-finite rows are dropped, dtype and device kept.

        A rule that decides to keep the model returns zeros. Without a context every call is round 0 of seed 0, so what a rule
        draws (noise, coordinates) is the same each time: give `RoundContext.for_matrix(matrix, seed=round)`.

        Raises: PreconditionError (shape, dtype, too few rows), CapabilityError (the rule needs more than rows).
        """
        updates = finite_rows(matrix, type(self).__name__)
        given = {Capability.INDIVIDUAL_UPDATES, Capability.STABLE_IDS}
        if context is not None:
            given |= {Capability.ROOT_DATA} if context.root is not None else set()
            given |= {Capability.MODEL} if context.model is not None else set()
        require(type(self).__name__, self.needs, given)
        context = context or RoundContext.for_matrix(updates.matrix)
        aggregate, _ = self.aggregate(updates, self.init(context.layout), context)
        update = matrix.new_zeros(matrix.shape[1]) if aggregate.update is None else aggregate.update
        return update.to(matrix.dtype)


def finite_rows(matrix: Tensor, who: str) -> Updates:
    """The rows of `[n, d]` without NaN or infinity, in float32 (float64 stays), measured; their ids are their places.

    Raises: PreconditionError if the matrix is no floating-point `[n, d]` or nothing is left.
    """
    if not isinstance(matrix, Tensor):
        raise PreconditionError(f"{who} needs a torch tensor [n, d]; got a {type(matrix).__name__}. Wrap it in torch.tensor.")
    if matrix.dim() != 2 or not matrix.dtype.is_floating_point or matrix.shape[1] < 1:
        raise PreconditionError(
            f"{who} needs a floating-point matrix [n, d] with d >= 1; got {matrix.dtype} of shape {list(matrix.shape)}."
        )
    rows = matrix.detach() if matrix.dtype == torch.float64 else matrix.detach().to(torch.float32)
    # Norms take one read, and the rule may want them; `isfinite().all()` makes copies of the matrix.
    norms = linalg.norms(rows)
    keep = norms.isfinite()
    if not keep.any():
        raise PreconditionError(f"{who} needs a finite update; got n={len(matrix)}, of which 0 are finite.")
    kept = Updates.of(rows if keep.all() else rows[keep]).measured(norms[keep])
    return dataclasses.replace(kept, ids=keep.nonzero().flatten().cpu())


class Selection(Component, ABC, family="selection"):
    """Who is malicious."""

    needs: ClassVar[frozenset[Capability]] = frozenset()

    @abstractmethod
    def attackers(self, ids: Tensor, num_clients: int, context: RoundContext) -> dict[int, int]:
        """The malicious among this round's roster ints `ids` `[k]`, each with its number among all attackers."""


class Schedule(Component, ABC, family="schedule"):
    """When attackers attack; outside of it they are honest."""

    @abstractmethod
    def is_active(self, round: int, attacker: int) -> bool:
        """Whether attacker number `attacker` attacks in this round (counted from 0)."""

    def begins_before(self, round: int) -> bool:
        """Whether anybody attacks in a round before this one. As it stands it asks for attacker 0."""
        return any(self.is_active(earlier, 0) for earlier in range(round))


class Participation(Component, ABC, family="participation"):
    """Which clients take part in a round, and with what probability a sampled one never answers."""

    sampling: ClassVar[Sampling | None] = None
    """What an accountant may count it as; None: nothing is proved of it."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = dataclasses.field(default=0.0, kw_only=True)

    @property
    def counted_as(self) -> Sampling | None:
        """`sampling`, said by the class that samples: an heir that samples otherwise inherits no claim."""
        decides = {"sampling", "sample", "expected", "largest"}
        samples = next(member for member in type(self).__mro__ if decides & vars(member).keys())
        counted: Sampling | None = vars(samples).get("sampling")
        return counted

    @abstractmethod
    def sample(self, num_clients: int, context: RoundContext) -> Tensor:
        """Distinct roster ints `[k]`, ascending; may be empty."""

    @abstractmethod
    def largest(self, num_clients: int) -> int:
        """The most clients that one round can have: what memory and preconditions are checked with."""

    def expected(self, num_clients: int) -> float:
        """How many clients a round samples on average."""
        return float(self.largest(num_clients))

    def drops(self, ids: Tensor, num_clients: int, context: RoundContext) -> Tensor:
        """The mask `[k]` of sampled clients that do not answer this round."""
        if self.dropout == 0:
            return torch.zeros(len(ids), dtype=torch.bool)
        return torch.rand(num_clients, generator=context.generator("dropout"))[ids] < self.dropout


class ServerOptimizer(Component, ABC, family="server_optimizer"):
    """How the aggregate changes the global model."""

    def init(self, layout: Layout) -> State:
        """What the optimiser remembers before its first step."""
        return {}

    @abstractmethod
    def step(self, params: Tensor, update: Tensor, state: State) -> tuple[Tensor, State]:
        """New parameters `[d]`; `update` points downhill (it is a mean of w_i − w). Inputs are not modified."""

    def step_buffers(self, buffers: Tensor, combined: Tensor) -> Tensor:
        """New float buffers `[b]`, given what the clients' combine to: these."""
        return combined


class InversionAttack(Component, ABC, family="inversion_attack"):
    """What a server, or who listens to it, makes of one client's update: the images behind it."""

    def check(self, leak: Leak, model: nn.Module) -> None:
        """Refuse, before any work, a leak that this attack cannot attack whatever its gradient is. Raises: as `reconstruct`."""

    @abstractmethod
    def reconstruct(self, leak: Leak, model: nn.Module, generator: torch.Generator) -> Reconstruction:
        """The images behind `leak`; `model` holds the global weights that the client began with, and is not changed.

        BatchNorm uses the statistics of the batch where it is in training mode, its own in evaluation mode.

        Raises: PreconditionError if leak and model do not fit each other; ConfigError if the attack does not suit the model.
        """

    def reconstruct_all(
        self, leaks: Sequence[Leak], model: nn.Module, generator: torch.Generator, *, watch: Watch | None = None
    ) -> list[Reconstruction]:
        """What is behind each of several leaks of one model: the same as one after the other, perhaps faster.

        A search tells `watch` of its steps. Raises: as `reconstruct`.
        """
        return [self.reconstruct(leak, model, generator) for leak in leaks]


class Tracker(Component, ABC, family="tracker"):
    """Where a run can be watched beside its own folder: TensorBoard and the like. It decides no result."""

    def check(self, folder: Path | None) -> None:
        """Fail before any work where this tracker cannot follow a run in `folder` (None: in memory). Raises: ConfigError."""

    @abstractmethod
    def open(self, run: RunFacts) -> AbstractContextManager[Sink]:
        """A sink for the run's events, open while it goes on. Of a run that goes on, each point is there once in the end.

        What it raises while a run goes on switches it off, and never stops the run.
        """
