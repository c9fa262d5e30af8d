"""ClipNorm: no row longer than a bound."""

import torch
from torch import Tensor

from phalanx.core import linalg
from phalanx.core.families import PreAggregator
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import RoundContext, Updates


class ClipNorm(PreAggregator):
    """Scale rows that are longer than `max_norm` down to it: x_i · min(1, max_norm / |x_i|).

    Bounds what one row can do; stops no attacker who stays below the bound. Time O(n d), memory O(n), and one more
    matrix for rules that read the rows.

    Reference: Sun et al., Can You Really Backdoor Federated Learning?, 2019 (arXiv 1911.07963), Section 3.
    >>> updates = Updates.of(torch.tensor([[3., 4.], [0., 1.]]))
    >>> ClipNorm(max_norm=1.0).transform(updates, RoundContext.for_matrix(updates.matrix))[0].matrix
    tensor([[0.6000, 0.8000],
            [0.0000, 1.0000]])
    """

    max_norm: PositiveFloat32

    def transform(self, updates: Updates, context: RoundContext) -> tuple[Updates, Tensor | None]:
        factors = linalg.clip_factors(updates.norms, self.max_norm)
        return updates.scaled(factors), torch.diag(factors)
