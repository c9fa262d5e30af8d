"""Bucketing: the rule sees means of a few random clients each."""

from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor

from phalanx.core.capabilities import Capability
from phalanx.core.families import PreAggregator
from phalanx.core.types import RoundContext, Updates


class Bucketing(PreAggregator):
    """Means of `size` clients each, dealt anew every round: ⌈n / s⌉ rows, the last bucket the smaller one.

    Averaging s clients divides their heterogeneity by s, and the number of rows as well: f attackers may spoil f of the n / s
    buckets, so the rule behind it keeps its f and must stand that share. NearestNeighborMixing does better and needs no chance.
    The deal goes by client id. Time O(n d), memory one smaller matrix.

    Reference: Karimireddy, He, Jaggi, Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing, ICLR 2022
    (arXiv 2006.09365), Algorithm 1.
    >>> updates = Updates.of(torch.tensor([[1.], [1.], [1.], [1.], [1.]]))
    >>> Bucketing(size=2).transform(updates, RoundContext.for_matrix(updates.matrix))[0].matrix.flatten()
    tensor([1., 1., 1.])
    """

    hides: ClassVar[frozenset[Capability]] = frozenset({Capability.STABLE_IDS})

    size: PositiveInt = 2

    def rows_out(self, n: int) -> int:
        return -(-n // self.size)

    def transform(self, updates: Updates, context: RoundContext) -> tuple[Updates, Tensor | None]:
        n = len(updates)
        by_id = updates.ids.argsort()
        dealt = by_id[torch.randperm(n, generator=context.generator("buckets"))]
        mixing = torch.zeros(self.rows_out(n), n, dtype=torch.float64)
        mixing[torch.arange(n) // self.size, dealt.cpu()] = 1
        mixing *= updates.weights.to(mixing)
        weights = mixing.sum(dim=1)
        mixing = (mixing / weights[:, None]).to(updates.buffers.device)
        return updates.mixed(mixing, ids=torch.arange(len(mixing)), weights=weights), mixing
