"""The values that flow through a round: what clients train into, what the server sees, what a rule returns."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from phalanx.core import linalg, rng
from phalanx.core.params import Layout

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
class Updates:
    """The rows that passed screening: `matrix` `[n, d]`, `buffers` `[n, b]`, `ids` `[n]` (roster ints), `weights` `[n]`.

    The weights are the server's own, never a client's claim. Distances are computed once and shared by everyone who asks.
    """

    matrix: Tensor
    buffers: Tensor
    ids: Tensor
    weights: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> "Updates":
        """Anonymous updates with equal weights."""
        n = len(matrix)
        return Updates(matrix, matrix.new_zeros(n, 0), torch.arange(n), torch.ones(n, dtype=torch.float64))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _geometry(self) -> linalg.Geometry:
        return linalg.geometry(self.matrix, lengths=self.norms)

    @property
    def squared_distances(self) -> Tensor:
        """Squared Euclidean distance of every pair of rows, `[n, n]` float64."""
        return self._geometry.distances

    @cached_property
    def gram(self) -> Tensor:
        """Inner products of all rows `[n, n]` float64, seen from a row in the midst of most others.

        For sums over weights that add up to 1 or 0, where it does not matter which row that is: distances to a weighted mean,
        its covariance. Seen from the midst, the honest rows keep their digits beside attackers of any size.
        """
        seen, typical = self._geometry, self.squared_distances.median(dim=1).values
        if typical[seen.centre] <= 16 * typical.min():
            return seen.gram
        return self.gram_about(self.row(int(typical.argmin())))

    def gram_about(self, centre: Tensor) -> Tensor:
        """Inner products of the rows x_i − centre, `[n, n]` float64, for `centre` `[d]`."""
        return linalg.gram(self.matrix, centre=centre)

    @cached_property
    def norms(self) -> Tensor:
        """Euclidean norm of every row, `[n]` float64."""
        return linalg.norms(self.matrix)

    @cached_property
    def content_rank(self) -> Tensor:
        """The place `[n]` of every row in the lexicographic order of contents, to break ties with; equal rows share one."""
        first_equal = self.squared_distances.eq(0).int().argmax(dim=1)
        distinct, place = torch.unique(first_equal, return_inverse=True)
        rank = linalg.lexicographic_rank(lambda block: self.columns(block)[distinct], len(distinct))
        return rank.to(place.device)[place]

    def row(self, place: int) -> Tensor:
        """One row of the matrix, `[d]`."""
        return self.matrix[place]

    def columns(self, block: slice) -> Tensor:
        """Some columns of the matrix, `[n, w]`."""
        return self.matrix[:, block]

    def sums(self, mixing: Tensor) -> Tensor:
        """The rows M X, `[m, d]`, for M `[m, n]` float64."""
        return mixing.to(self.matrix) @ self.matrix

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """Σ w_i x_i, `[d]`, for weights `[n]` float64."""
        return linalg.weighted_sum(weights, self.matrix)

    def knowing(self, squared_distances: Tensor, gram: Tensor, norms: Tensor) -> "Updates":
        """The same rows, of which the caller knows squared distances and `gram` `[n, n]` and norms `[n]` already (float64)."""
        informed = replace(self)
        seen = linalg.Geometry(squared_distances, gram, centre=int(gram.diagonal().argmin()))
        vars(informed).update(_geometry=seen, gram=gram, norms=norms)
        return informed

    def measured(self, norms: Tensor) -> "Updates":
        """The same rows, whose norms `[n]` (float64) the caller has measured already."""
        informed = replace(self)
        vars(informed).update(norms=norms)
        return informed

    def scaled(self, factors: Tensor) -> "Updates":
        """The rows f_i x_i, for factors f_i >= 0 `[n]` float64: made only if someone reads them."""
        return _ScaledUpdates(self, factors)

    def replaced(self, matrix: Tensor) -> "Updates":
        """The same clients with other rows `[n, d]`."""
        return Updates(matrix, self.buffers, self.ids, self.weights)

    def mixed(self, mixing: Tensor, *, ids: Tensor | None = None, weights: Tensor | None = None) -> "Updates":
        """The rows M X, for M `[m, n]` float64 whose rows sum to 1: made only if someone reads them.

        The same clients, or where they are others than before, m of them with their `ids` and `weights` `[m]`.
        """
        return _MixedUpdates(self, mixing, self.ids if ids is None else ids, self.weights if weights is None else weights)


class _MixedUpdates(Updates):
    """Rows that are weighted means of a parent's: distances cost O(n³) and a sum one read of the parent, no second matrix."""

    def __init__(self, parent: Updates, mixing: Tensor, ids: Tensor, weights: Tensor) -> None:
        buffers = mixing.to(parent.buffers) @ parent.buffers
        vars(self).update(parent=parent, mixing=mixing, buffers=buffers, ids=ids, weights=weights)

    parent: Updates
    mixing: Tensor

    @cached_property
    def matrix(self) -> Tensor:
        return self.parent.sums(self.mixing)

    @cached_property
    def _distances(self) -> Tensor:
        return linalg.mixed_squared_distances(self.mixing, self.parent.squared_distances)

    @property
    def squared_distances(self) -> Tensor:
        return self._distances

    @cached_property
    def gram(self) -> Tensor:
        return self.mixing @ self.parent.gram @ self.mixing.T

    def gram_about(self, centre: Tensor) -> Tensor:
        return self.mixing @ self.parent.gram_about(centre) @ self.mixing.T

    def row(self, place: int) -> Tensor:
        return self.parent.weighted_sum(self.mixing[place])

    def sums(self, mixing: Tensor) -> Tensor:
        return self.parent.sums(mixing @ self.mixing)

    def columns(self, block: slice) -> Tensor:
        columns = self.parent.columns(block)
        return self.mixing.to(columns.dtype) @ columns

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return self.parent.weighted_sum(weights.to(self.mixing) @ self.mixing)


class _ScaledUpdates(Updates):
    """Rows that are multiples of a parent's: norms and sums come through the factors, distances from blocks, scaled in turn."""

    def __init__(self, parent: Updates, factors: Tensor) -> None:
        known = {"buffers": parent.buffers, "ids": parent.ids, "weights": parent.weights}
        vars(self).update(parent=parent, factors=factors, **known)

    parent: Updates
    factors: Tensor

    @cached_property
    def matrix(self) -> Tensor:
        return linalg.scale_rows(self.parent.matrix, self.factors)

    @cached_property
    def norms(self) -> Tensor:
        return self.factors * self.parent.norms

    @cached_property
    def _geometry(self) -> linalg.Geometry:
        return linalg.geometry(self.parent.matrix, factors=self.factors, lengths=self.norms)

    def gram_about(self, centre: Tensor) -> Tensor:
        return linalg.gram(self.parent.matrix, centre=centre, factors=self.factors)

    def row(self, place: int) -> Tensor:
        return linalg.scale_rows(self.parent.row(place)[None], self.factors[place, None])[0]

    def columns(self, block: slice) -> Tensor:
        return linalg.scale_rows(self.parent.columns(block), self.factors)

    def sums(self, mixing: Tensor) -> Tensor:
        if linalg.fits(self.factors, self.parent.matrix.dtype):
            return self.parent.sums(mixing * self.factors)
        return super().sums(mixing)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return self.parent.weighted_sum(weights.to(self.factors) * self.factors)


@dataclass(frozen=True)
class Aggregate:
    """What a rule makes of a round.

    `update` `[d]`, or None: keep the model, the server does not step. `influence` `[n]` is each row's weight in the result
    (0 = rejected), or None where the rule does not attribute. `scores` `[n]` say how suspicious each row is to a rule that
    measures it (more is worse, NaN: not judged). `buffers` `[b]`, or None: the server averages those of the influential
    clients. `metrics` are numbers worth a line in the events.
    """

    update: Tensor | None
    influence: Tensor | None = None
    scores: Tensor | None = field(default=None, kw_only=True)
    buffers: Tensor | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Root:
    """The server's trusted data and, lazily, the update `[d]` that the server's own training on it gives."""

    samples: Samples
    update: Callable[[], Tensor]


@dataclass(frozen=True)
class RoundContext:
    """What everyone may know in a round. `model` is a scratch module that takes samples of `input_shape`: load what you need
    into it."""

    round: int
    seed: int
    layout: Layout
    global_params: Tensor
    global_buffers: Tensor
    previous_update: Tensor | None = None
    model: nn.Module | None = None
    root: Root | None = None
    input_shape: tuple[int, ...] | None = None

    @classmethod
    def for_matrix(cls, matrix: Tensor, *, seed: int = 0) -> Self:
        """A context for rows `[n, d]` that belong to no model: global parameters are zero."""
        d = matrix.shape[1]
        return cls(0, seed, Layout.flat(d), matrix.new_zeros(1).expand(d), matrix.new_zeros(0))

    def generator(self, purpose: str, client: int = -1) -> torch.Generator:
        """The generator of this purpose (and client) in this round."""
        return rng.generator(self.seed, purpose, self.round, client)

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
    federation None: `own_ids` `[f]` and `honest_ids` `[h]`, whose rows they are; `own_samples`, all that their clients hold.
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

    @property
    def num_byzantine(self) -> int:
        """How many rows the attackers send."""
        return len(self.own)

    def reference(self) -> Tensor:
        """The rows that stand for the honest ones `[h, d]`: they themselves if there are any and the attack sees them, else the
        attackers' own clean ones."""
        return self.own_clean() if self.honest is None or not len(self.honest) else self.honest


@dataclass(frozen=True)
class Crafted:
    """Malicious rows `[f, d]` and what the attack reached (`z`, `gamma` …)."""

    rows: Tensor
    metrics: Mapping[str, float] = field(default_factory=dict)
