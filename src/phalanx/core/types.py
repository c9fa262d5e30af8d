"""The values that flow through a round: what clients train into, what the server sees, what a rule returns."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from phalanx.core import rng
from phalanx.core.errors import PreconditionError
from phalanx.core.noise import SeededNoise
from phalanx.core.params import Layout
from phalanx.core.updates import Updates as Updates

if TYPE_CHECKING:
    from phalanx.core.families import Aggregator, DataAttack, StepHook

State = Mapping[str, Tensor]
"""What a component remembers between rounds: named tensors, written to the checkpoint as they are."""


class Status(IntEnum):
    """What became of a sampled client this round."""

    SENT = 0
    NO_SAMPLES = 1
    DROPPED_OUT = 2


@dataclass(frozen=True)
class Samples:
    """All samples of one split: `images` `[N, ...]` as stored (uint8 0..255, or float32), `labels` `[N]` int64.

    `mean` and `std`, shaped to broadcast against one sample, are applied last, after augmentation and after poison: a trigger
    is a thing of pixels.
    """

    images: Tensor
    labels: Tensor
    num_classes: int
    mean: Tensor | None = None
    std: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The samples at `index` as float32 (uint8 becomes [0, 1]) with their labels."""
        images = self.images.index_select(0, index)
        if images.dtype == torch.uint8:
            images = images.to(torch.float32).div_(255)
        return images, self.labels.index_select(0, index)

    def extremes(self) -> Tensor:
        """Where the samples are that hold the smallest and the largest value, `[2]`."""
        values = self.images.flatten(1)
        return torch.stack([values.amin(1).argmin(), values.amax(1).argmax()])

    def normalize(self, images: Tensor) -> Tensor:
        """What the model sees of float images: standardised if this data set asks for it. The input is not changed."""
        return images if self.mean is None or self.std is None else (images - self.mean).div_(self.std)

    def to(self, device: torch.device | str) -> Self:
        """The same samples on a device."""
        moved = [None if tensor is None else tensor.to(device) for tensor in (self.mean, self.std)]
        return type(self)(self.images.to(device), self.labels.to(device), self.num_classes, *moved)


@dataclass(frozen=True)
class DataSplit:
    """What a data set loads: train and test samples, a group per train sample (a subject …) or None, and where it came from."""

    name: str
    train: Samples
    test: Samples
    groups: Tensor | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Rows:
    """What a round's clients send, one row each, preallocated and written in place.

    `matrix` `[k, d]` is w_i − w_global over trainable parameters; `buffers` `[k, b]` are float buffers as they ended up (not
    differences); `loss`, `steps`, `status` are `[k]`.
    """

    matrix: Tensor
    buffers: Tensor
    loss: Tensor
    steps: Tensor
    status: Tensor

    @classmethod
    def empty(cls, k: int, layout: Layout, *, device: torch.device | str = "cpu") -> Self:
        """Room for `k` clients."""
        return cls(
            matrix=torch.zeros(k, layout.d, device=device),
            buffers=torch.zeros(k, layout.b, device=device),
            loss=torch.zeros(k, device=device),
            steps=torch.zeros(k, dtype=torch.int64),
            status=torch.zeros(k, dtype=torch.int64),
        )

    def first(self, k: int) -> Self:
        """The first `k` rows, as views: one allocation serves rounds of different sizes."""
        return type(self)(self.matrix[:k], self.buffers[:k], self.loss[:k], self.steps[:k], self.status[:k])


@dataclass(frozen=True)
class Aggregate:
    """What a rule makes of a round.

    `update` `[d]`, or None: keep the model, the server does not step. `influence` `[n]` is each row's weight in the result
    (0 = rejected), or None where the rule does not attribute. `scores` `[n]` say how suspicious each row is to a rule that
    measures it (more is worse, NaN: not judged). `embedding` `[n, 2]`: where a rule that maps rows to a plane saw each, for
    pictures; a rule with root data has the server's own update at the origin. `buffers` `[b]`, or None: the server takes
    the median of the influential clients'. `metrics` are numbers worth a line in the events.
    """

    update: Tensor | None
    influence: Tensor | None = None
    scores: Tensor | None = field(default=None, kw_only=True)
    embedding: Tensor | None = field(default=None, kw_only=True)
    buffers: Tensor | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Root:
    """The server's trusted data and, lazily, the update `[d]` that the server's own training on it gives."""

    samples: Samples
    update: Callable[[], Tensor]

    def finite_update(self, who: str) -> Tensor:
        """The server's own update, for the rule `who`.

        Raises: PreconditionError if it is not finite.
        """
        update = self.update()
        if not update.isfinite().all():
            raise PreconditionError(
                f"{who} needs a finite root update; the server's own training diverged. Lower its learning rate."
            )
        return update


@dataclass(frozen=True)
class RoundContext:
    """What everyone may know in a round. `model` is a scratch module that takes samples of `input_shape`: load what you need
    into it. `run` is the experiment's digest, empty outside of a run.
    """

    round: int
    seed: int
    layout: Layout
    global_params: Tensor
    global_buffers: Tensor
    previous_update: Tensor | None = None
    model: nn.Module | None = None
    root: Root | None = None
    input_shape: tuple[int, ...] | None = None
    run: str = ""

    @classmethod
    def for_matrix(cls, matrix: Tensor, *, seed: int = 0) -> Self:
        """A context for rows `[n, d]` that belong to no model: global parameters are zero."""
        d = matrix.shape[1]
        return cls(0, seed, Layout.flat(d), matrix.new_zeros(1).expand(d), matrix.new_zeros(0))

    def generator(self, purpose: str, client: int = -1) -> torch.Generator:
        """The generator of this purpose (and client) in this round."""
        return rng.generator(self.seed, purpose, self.round, client)

    def noise(self, purpose: str, client: int = -1) -> SeededNoise:
        """The noise of a private mechanism in this round. Another experiment's is another one, whatever its seed: with
        the same noise in both, their difference would have none."""
        return SeededNoise(self.seed, purpose, self.round, client, self.run)

    def once(self, who: Hashable, work: Callable[[], Tensor]) -> Tensor:
        """What `work` gives, worked out the first time that `who` asks; a component asks as itself.

        It lives as long as this context: a worker gets a new one with every piece of work.
        """
        if who not in self._worked_out:
            self._worked_out[who] = work()
        return self._worked_out[who]

    @cached_property
    def _worked_out(self) -> dict[Hashable, Tensor]:
        return {}


@dataclass(frozen=True)
class Cohort:
    """Clients that train alike in one round.

    `ids` are roster ints, `places` their rows in `out`, `index[i]` the positions of client i's samples. Attackers have a data
    attack and hooks; `attackers[i]` is then client i's number among all attackers (which part of a trigger is his).
    """

    ids: tuple[int, ...]
    places: tuple[int, ...]
    samples: Samples
    index: tuple[Tensor, ...]
    poison: "DataAttack | None" = None
    attackers: tuple[int, ...] = ()
    hooks: "tuple[StepHook, ...]" = ()

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Draw:
    """What poisoning one batch depends on beside its samples.

    `chosen` `[B]`: which of them the attack chose for every round (`DataAttack.choose`), or None. `attacker`: the attacker's
    number among all attackers. `pool` `[p]`: where in `samples` all those lie that it chose of this client's, or None.
    """

    num_classes: int
    generator: torch.Generator
    chosen: Tensor | None = None
    attacker: int = 0
    samples: Samples | None = None
    pool: Tensor | None = None


@dataclass(frozen=True)
class AttackView:
    """What the attackers of a round may know, and nothing else.

    `own` `[f, d]`: the rows their clients trained (with their data attack). `own_clean`: the rows they would have sent if
    honest, trained on demand. `honest` `[h, d]`: everyone else's rows, only for an omniscient attack. `num_updates`: how many
    rows the server will get. `aggregator`: the server's rule, only for an attack that declares to know it. Outside of a
    federation None: `own_ids` `[f]` and `honest_ids` `[h]`, whose rows they are; `own_samples`, all that their clients hold;
    `own_buffers` `[f, b]`, the float buffers as their training left them.
    """

    own: Tensor
    own_clean: Callable[[], Tensor]
    num_updates: int
    honest: Tensor | None = None
    aggregator: "Aggregator | None" = None
    previous_update: Tensor | None = None
    own_ids: Tensor | None = None
    honest_ids: Tensor | None = None
    own_samples: Callable[[], Samples] | None = None
    own_buffers: Tensor | None = None

    @property
    def num_byzantine(self) -> int:
        """How many rows the attackers send."""
        return len(self.own)

    def enlarged(self, factor: float, context: "RoundContext") -> "Crafted":
        """The own rows times a factor, and buffers as much farther from the global ones: what outweighs others in a mean."""
        buffers, start = self.own_buffers, context.global_buffers
        return Crafted(self.own * factor, buffers=None if buffers is None else start + factor * (buffers - start))

    def reference(self) -> Tensor:
        """The rows that stand for the honest ones `[h, d]`: they themselves if there are any and the attack sees them, else the
        attackers' own clean ones."""
        return self.own_clean() if self.honest is None or not len(self.honest) else self.honest


@dataclass(frozen=True)
class Crafted:
    """Malicious rows `[f, d]`, what the attack reached (`z`, `gamma` …), and float buffers `[f, b]` (None: as trained)."""

    rows: Tensor
    metrics: Mapping[str, float] = field(default_factory=dict)
    buffers: Tensor | None = None
