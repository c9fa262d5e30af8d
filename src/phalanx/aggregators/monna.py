"""MoNNA: the mean of the updates nearest to one that is trusted."""

from pydantic import NonNegativeInt
from torch import Tensor

from phalanx.aggregators.preconditions import require_majority
from phalanx.aggregators.selection import smallest
from phalanx.core import linalg
from phalanx.core.capabilities import Capability
from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class MoNNA(Aggregator, kind="monna"):
    """The mean of the n − f rows nearest to a reference: the server's own update on its root data, or a trusted client's row.

    In the paper every honest node takes itself as the reference; a server has no row of its own, so one must be named. It is as
    good as the reference: a root set unlike the clients' data favours whoever is like it. Time O(n d), memory O(n).

    Raises: PreconditionError unless n > 2f, or if the trusted client sent nothing or the root update is not finite;
    CapabilityError without root data.
    Reference: Farhadkhani, Guerraoui, Gupta, Hoang, Pinot, Stephan, Robust Collaborative Learning with Linear Gradient
    Overhead, ICML 2023 (arXiv 2209.10931), Algorithm 1.
    >>> import torch
    >>> MoNNA(num_byzantine=1, trusted_client=0)(torch.tensor([[0.], [1.], [2.], [99.]]))
    tensor([1.])
    """

    num_byzantine: NonNegativeInt
    trusted_client: NonNegativeInt | None = None

    @property
    def needs(self) -> frozenset[Capability]:  # type: ignore[override]
        return super().needs | {Capability.ROOT_DATA if self.trusted_client is None else Capability.STABLE_IDS}

    def require(self, n: int) -> None:
        require_majority("MoNNA", n, self.num_byzantine)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        reference = self._reference(updates, context)
        count = len(updates) - self.num_byzantine
        influence = smallest(linalg.norms(updates.matrix, centre=reference), count, updates).double() / count
        return Aggregate(updates.weighted_sum(influence), influence=influence), state

    def _reference(self, updates: Updates, context: RoundContext) -> Tensor:
        if self.trusted_client is None:
            assert context.root is not None  # what `needs` promises
            return context.root.finite_update("MoNNA")
        place = (updates.ids == self.trusted_client).nonzero().flatten()
        if not len(place):
            raise PreconditionError(
                f"MoNNA needs an update of its trusted client {self.trusted_client}; it is not among the n={len(updates)}."
            )
        return updates.matrix[int(place)]
