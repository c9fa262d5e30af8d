"""SignVote: every client has one vote a coordinate."""

import torch
from pydantic import NonNegativeInt

from phalanx.aggregators.preconditions import require_majority
from phalanx.core.columns import reduce_columns
from phalanx.core.families import Aggregator
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class SignVote(Aggregator):
    """step · sign(Σ sign(x_i)): a majority vote on the direction of every coordinate; a tie leaves it alone.

    Size tells nothing here, so huge rows gain nothing: f attackers turn only coordinates whose honest vote is closer than f. It
    moves every coordinate by the same `step`, so it learns roughly, and wrongly where clients are heterogeneous (the majority's
    sign is not the mean's). `num_byzantine` changes no number: it states f, so that n > 2f is checked. Time O(n d).

    Raises: PreconditionError unless n > 2f.
    Reference: Bernstein, Zhao, Azizzadenesheli, Anandkumar, signSGD with Majority Vote is Communication Efficient and Fault
    Tolerant, ICLR 2019 (arXiv 1810.05291), Algorithm 1.
    >>> SignVote(step=0.1)(torch.tensor([[1., -1.], [2., -1.], [-99., -99.]]))
    tensor([ 0.1000, -0.1000])
    """

    step: PositiveFloat32
    num_byzantine: NonNegativeInt = 0

    def require(self, n: int) -> None:
        require_majority("SignVote", n, self.num_byzantine)

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        return Aggregate(self.step * sum_of_signs(updates).sign().to(updates.matrix.dtype)), state


def sum_of_signs(updates: Updates) -> torch.Tensor:
    """How many more rows are positive than negative, `[d]`, in column blocks: no second matrix."""
    return reduce_columns(updates.matrix, lambda block: block.sign().sum(dim=0))
