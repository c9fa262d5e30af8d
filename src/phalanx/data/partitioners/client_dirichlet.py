"""ClientDirichlet: clients of one size, each with class proportions of its own."""

from dataclasses import KW_ONLY

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from phalanx.core.families import Partitioner
from phalanx.core.numbers import PositiveFloat32
from phalanx.data.partitioners.proportions import dirichlet
from phalanx.data.partitioners.search import enough


class ClientDirichlet(Partitioner):
    """For every client i, draw `q_i ~ Dir(alpha · C · prior)` over the classes and fill it from them, all to the same size.

    `prior` are the class frequencies. Sizes differ by at most one; every sample is dealt exactly once, so the last clients
    served take what is left of exhausted classes (the order is random). Real clients differ in size, too: for that take
    Dirichlet. Time O(N + n C).

    Reference: Hsu et al., Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification, 2019
    (arXiv 1909.06335).
    Differs from the paper: its alpha is the sum of the concentrations, ours their mean, so that alpha means the same for any
    number of classes and as in Dirichlet; theirs is `alpha · C`.
    >>> parts = ClientDirichlet(num_clients=4, alpha=0.1).split(torch.arange(40) % 2, None, torch.Generator())
    >>> [len(part) for part in parts]
    [10, 10, 10, 10]
    """

    num_clients: PositiveInt = 10
    _: KW_ONLY
    alpha: PositiveFloat32 = 0.5
    min_samples: NonNegativeInt = 1

    def split(self, labels: Tensor, groups: Tensor | None, generator: torch.Generator) -> list[Tensor]:
        enough(len(labels), self.num_clients, self.min_samples, "ClientDirichlet")
        _, classes, remaining = torch.unique(labels, return_inverse=True, return_counts=True)
        concentration = self.alpha * len(remaining) * remaining.double() / len(labels)
        proportions = dirichlet(concentration, self.num_clients, generator)
        sizes = [len(part) for part in torch.empty(len(labels)).tensor_split(self.num_clients)]
        counts = torch.zeros(self.num_clients, len(remaining), dtype=torch.int64)
        for client in torch.randperm(self.num_clients, generator=generator).tolist():
            counts[client] = _fill(sizes[client], proportions[client], remaining, generator)
            remaining = remaining - counts[client]
        # Sort the samples by class, and the (class, client) cells alike: cell after cell, each takes its count.
        shuffled = torch.randperm(len(labels), generator=generator)
        by_class = shuffled[torch.argsort(classes[shuffled], stable=True)]
        owners = torch.arange(self.num_clients).repeat(counts.shape[1]).repeat_interleave(counts.T.flatten())
        return list(torch.split(by_class[torch.argsort(owners, stable=True)], sizes))


def _fill(size: int, proportions: Tensor, available: Tensor, generator: torch.Generator) -> Tensor:
    """How many samples of each class `[C]`: a multinomial draw, drawn again among the others where a class runs out."""
    taken = torch.zeros_like(available)
    while (need := size - int(taken.sum())) > 0:
        left = available - taken
        weights = torch.where(left > 0, proportions, 0.0)
        weights = weights if weights.sum() > 0 else left.double()
        draws = torch.multinomial(weights, need, replacement=True, generator=generator)
        taken += torch.minimum(draws.bincount(minlength=len(left)), left)
    return taken
