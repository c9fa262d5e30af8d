"""IterativeBulyan: the trimmed mean of Krum's choices, one after another."""

from pydantic import NonNegativeInt

from phalanx.aggregators.bulyan import repeated_krum
from phalanx.aggregators.preconditions import REMEDY
from phalanx.core.columns import reduce_sorted_columns
from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class IterativeBulyan(Aggregator):
    """Krum's n − 2f − 2 choices as in IterativeMultiKrum; per coordinate their mean without the f largest and f smallest.

    SkyMask's experiments call this Bulyan. Bulyan itself chooses n − 2f rows and takes the values around their median: use that
    one, unless you compare with those experiments. Few values are left (n − 4f − 2), so it pays without an attack.
    Time O(n² d + n³).

    Raises: PreconditionError unless n >= 4f + 3.
    Reference: Yan et al., SkyMask: Attack-agnostic Robust Federated Learning with Fine-grained Learnable Masks, ECCV 2024
    (arXiv 2312.12484), whose variant of El Mhamdi et al. (ICML 2018) it is.
    >>> import torch
    >>> IterativeBulyan(num_byzantine=1)(torch.tensor([[0.], [1.], [2.], [3.], [4.], [5.], [6.], [99.]]))
    tensor([2.5000])
    """

    num_byzantine: NonNegativeInt

    def require(self, n: int) -> None:
        f = self.num_byzantine
        if n < 4 * f + 3:
            raise PreconditionError(f"IterativeBulyan needs n >= 4f + 3 updates; got n={n}, f={f}. {REMEDY}")

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        f = self.num_byzantine
        chosen = repeated_krum(updates, f, len(updates) - 2 * f - 2).nonzero().flatten()
        kept = slice(f, len(chosen) - f)
        update = reduce_sorted_columns(updates.matrix, lambda ascending: ascending.mean(dim=1), members=chosen, kept=kept)
        return Aggregate(update), state
