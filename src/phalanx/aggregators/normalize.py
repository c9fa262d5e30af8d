"""Normalize: every row as long as every other."""

import torch
from torch import Tensor

from phalanx.core.families import PreAggregator
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import RoundContext, Updates


class Normalize(PreAggregator):
    """Scale every row to the length `norm`: x_i · norm / |x_i|; rows of zeros stay.

    Only directions count then, which takes the gain out of boosting. Short honest updates are blown up, late in training all of
    them: the server's learning rate has to fall. Time O(n d), memory O(n), and one
    more matrix for rules that read the rows.

    Reference: Cao, Fang, Liu, Gong, FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping, NDSS 2021
    (arXiv 2012.13995), Section 4 (normalising the magnitudes).
    >>> updates = Updates.of(torch.tensor([[3., 4.], [0., 0.]]))
    >>> Normalize(norm=1.0).transform(updates, RoundContext.for_matrix(updates.matrix))[0].matrix
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """

    norm: PositiveFloat32 = 1.0

    def transform(self, updates: Updates, context: RoundContext) -> tuple[Updates, Tensor | None]:
        factors = torch.where(updates.norms > 0, self.norm / updates.norms, 0)
        return updates.scaled(factors), torch.diag(factors)
