"""ByGroup: the data set's own clients, such as the people who wore the phones."""

import torch
from torch import Tensor

from phalanx.core.errors import DataError
from phalanx.core.families import Partitioner


class ByGroup(Partitioner):
    """One client for each group of the data set, in the groups' order; all of a group's samples are its own.

    As real as a split can be, but the number of clients and how unlike they are cannot be chosen. Time O(N log N).

    >>> ByGroup().split(torch.zeros(3), torch.tensor([5, 2, 5]), torch.Generator())
    [tensor([1]), tensor([0, 2])]
    """

    def split(self, labels: Tensor, groups: Tensor | None, generator: torch.Generator) -> list[Tensor]:
        if groups is None:
            raise DataError("ByGroup needs a data set with groups, such as har; this one has none. Use another partition.")
        _, counts = torch.unique(groups, return_counts=True)
        return list(torch.split(torch.argsort(groups, stable=True), counts.tolist()))
