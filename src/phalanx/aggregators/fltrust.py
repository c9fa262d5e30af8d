"""FLTrust: clients count by how much their update points where the server's own does."""

from typing import ClassVar

import torch
from torch import Tensor

from phalanx.core import linalg
from phalanx.core.capabilities import Capability
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates

_COLUMNS = 1 << 16


class FLTrust(Aggregator, kind="fltrust"):
    """`Σ t_i |x_0| / |x_i| x_i / Σ t_i` with trust t_i = max(0, cos(x_i, x_0)), x_0 the server's own update on its root data.

    All rows get the length of the server's, so no attacker gains by a long one, and a majority of attackers may be stood.
    Honest clients count for little where their data are unlike the root set; as the model converges angles become noise, and
    attackers close to the server's direction keep their trust. The model is kept if nobody is trusted. Scores: 1 − cos.
    Time O(n d).

    Raises: PreconditionError if the server's own update is not finite; CapabilityError without root data.
    Reference: Cao, Fang, Liu, Gong, FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping, NDSS 2021
    (arXiv 2012.13995), Algorithm 2.
    >>> from dataclasses import replace
    >>> from phalanx.core.types import Root, Samples
    >>> rows = torch.tensor([[2., 0.], [0., 5.], [-9., 0.]])
    >>> samples = Samples(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64), 2)
    >>> context = RoundContext.for_matrix(rows)
    >>> FLTrust()(rows, context=replace(context, root=Root(samples, lambda: torch.tensor([1., 0.]))))
    tensor([1., 0.])
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.INDIVIDUAL_UPDATES, Capability.ROOT_DATA})

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        assert context.root is not None  # what `needs` promises
        root = context.root.finite_update("FLTrust")
        length = linalg.norms(root[None])[0]
        cosines = _inner_products(updates.matrix, root) / (updates.norms * length).clamp(min=1e-300)
        trust = cosines.clamp(0, 1)
        total = trust.sum()
        if total == 0:
            return Aggregate(None, influence=trust, scores=1 - cosines), state
        # A row of length 0 has no direction and no trust.
        influence = torch.where(trust > 0, trust / total * length / updates.norms, 0.0)
        return Aggregate(updates.weighted_sum(influence), influence=influence, scores=1 - cosines), state


def _inner_products(matrix: Tensor, vector: Tensor) -> Tensor:
    """Of every row of `[n, d]` with the vector `[d]`, `[n]` float64."""
    blocks = zip(torch.split(matrix, _COLUMNS, dim=1), torch.split(vector.to(matrix.device), _COLUMNS))
    return torch.stack([rows.double() @ part.double() for rows, part in blocks]).sum(dim=0)
