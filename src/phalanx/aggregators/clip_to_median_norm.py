"""ClipToMedianNorm: no row longer than the middle one."""

import torch
from torch import Tensor

from phalanx.core import linalg
from phalanx.core.families import PreAggregator
from phalanx.core.types import RoundContext, Updates


class ClipToMedianNorm(PreAggregator):
    """Scale rows that are longer than the median norm down to it: x_i · min(1, M / |x_i|).

    A bound that needs no knowledge and that fewer than half of the rows cannot move beyond the honest norms. It takes from the
    honest half, too; stops no attacker who stays below the bound. Time O(n d), memory O(n), and one
    more matrix for rules that read the rows.

    Reference: Nguyen et al., FLAME: Taming Backdoors in Federated Learning, USENIX Security 2022 (arXiv 2101.02281), Section 4.
    >>> updates = Updates.of(torch.tensor([[1.], [2.], [99.]]))
    >>> ClipToMedianNorm().transform(updates, RoundContext.for_matrix(updates.matrix))[0].matrix.flatten()
    tensor([1., 2., 2.])
    """

    def transform(self, updates: Updates, context: RoundContext) -> tuple[Updates, Tensor | None]:
        factors = linalg.clip_factors(updates.norms, torch.quantile(updates.norms, 0.5))
        return updates.scaled(factors), torch.diag(factors)
