"""Dirichlet: each class is shared out among the clients by proportions of its own."""

from dataclasses import KW_ONLY

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from phalanx.core.families import Partitioner
from phalanx.core.numbers import PositiveFloat32
from phalanx.data.partitioners.proportions import dirichlet
from phalanx.data.partitioners.search import enough, search


class Dirichlet(Partitioner):
    """For every class c, draw `p_c ~ Dir(alpha, …, alpha)` over the clients and cut the shuffled class at those proportions.

    A small `alpha` gives clients with few classes and very different sizes; a large one tends to IID. Every sample is dealt
    exactly once. With `balance`, a client that holds its even share N / n gets nothing of the classes that follow, as in the
    code of Li et al.: sizes come nearer to each other. Deals again, at most 100 times, until everyone has `min_samples`.
    Where clients should be equally large, use ClientDirichlet. Time O(N + C n) a try.

    Reference: Yurochkin et al., Bayesian Nonparametric Federated Learning of Neural Networks, ICML 2019 (arXiv 1905.12022);
    Li et al., Federated Learning on Non-IID Data Silos, ICDE 2022 (arXiv 2102.02079).
    >>> parts = Dirichlet(num_clients=4, alpha=1.0).split(torch.arange(40) % 2, None, torch.Generator())
    >>> torch.cat(parts).sort().values.equal(torch.arange(40))
    True
    """

    num_clients: PositiveInt = 10
    _: KW_ONLY
    alpha: PositiveFloat32 = 0.5
    min_samples: NonNegativeInt = 1
    balance: bool = False

    def split(self, labels: Tensor, groups: Tensor | None, generator: torch.Generator) -> list[Tensor]:
        enough(len(labels), self.num_clients, self.min_samples, "Dirichlet")
        return search(
            lambda: self._deal(labels, generator),
            min_samples=self.min_samples,
            who="Dirichlet",
            remedy="Raise alpha, lower num_clients or min_samples, or set balance = true.",
        )

    def _deal(self, labels: Tensor, generator: torch.Generator) -> list[Tensor]:
        shuffled = torch.randperm(len(labels), generator=generator)
        owner = torch.empty_like(shuffled)
        concentration = torch.full((self.num_clients,), self.alpha, dtype=torch.float64)
        sizes = torch.zeros(self.num_clients, dtype=torch.int64)
        for label in torch.unique(labels):
            members = shuffled[labels[shuffled] == label]
            proportions = dirichlet(concentration, 1, generator)[0]
            if self.balance:
                proportions = _among(sizes * self.num_clients < len(labels), proportions)
            cuts = (proportions.cumsum(0) * len(members)).round().long()
            cuts[-1] = len(members)
            counts = cuts.diff(prepend=cuts.new_zeros(1))
            owner[members] = torch.arange(self.num_clients).repeat_interleave(counts)
            sizes += counts
        by_owner = shuffled[torch.argsort(owner[shuffled], stable=True)]
        return list(torch.split(by_owner, sizes.tolist()))


def _among(allowed: Tensor, proportions: Tensor) -> Tensor:
    """The proportions of those allowed, summing to one again; equal ones if theirs have vanished."""
    kept = torch.where(allowed, proportions, 0.0)
    kept = kept if kept.sum() > 0 else allowed.double()
    return kept / kept.sum()
