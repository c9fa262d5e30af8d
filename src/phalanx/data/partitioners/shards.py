"""Shards: samples sorted by label, cut into pieces, a few pieces a client."""

from dataclasses import KW_ONLY

import torch
from pydantic import PositiveInt
from torch import Tensor

from phalanx.core.families import Partitioner
from phalanx.data.partitioners.search import enough


class Shards(Partitioner):
    """Sort by label, cut into `num_clients · shards_per_client` shards, deal each client that many at random.

    Most clients see at most `shards_per_client` classes, or one more for each shard that crosses a border. Shards differ in
    size by at most one, and every sample is dealt exactly once. An extreme with no degrees but the number of shards: where
    heterogeneity is to be swept, take Dirichlet. Time O(N log N).

    Reference: McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017
    (arXiv 1602.05629), section 3.
    Differs from the paper: the number of samples need not be a multiple of the number of shards.
    >>> parts = Shards(num_clients=2, shards_per_client=1).split(torch.tensor([7, 3, 7, 3]), None, torch.Generator())
    >>> sorted(sorted(part.tolist()) for part in parts)
    [[0, 2], [1, 3]]
    """

    num_clients: PositiveInt = 10
    _: KW_ONLY
    shards_per_client: PositiveInt = 2

    def split(self, labels: Tensor, groups: Tensor | None, generator: torch.Generator) -> list[Tensor]:
        enough(len(labels), self.num_clients, self.shards_per_client, "Shards")
        shuffled = torch.randperm(len(labels), generator=generator)
        by_label = shuffled[torch.argsort(labels[shuffled], stable=True)]
        shards = by_label.tensor_split(self.num_clients * self.shards_per_client)
        hands = torch.randperm(len(shards), generator=generator).view(self.num_clients, -1)
        return [torch.cat([shards[shard] for shard in hand]) for hand in hands.tolist()]
