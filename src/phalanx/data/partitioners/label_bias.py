"""LabelBias: groups of clients that prefer one class each, as FLTrust and SkyMask deal their data."""

from dataclasses import KW_ONLY

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from phalanx.core.errors import DataError
from phalanx.core.families import Partitioner
from phalanx.core.numbers import Probability
from phalanx.data.partitioners.search import enough, search


class LabelBias(Partitioner):
    """A sample of class l goes to the l-th of C groups of clients with probability `bias`, else to another group uniformly,
    there to a uniform client.

    `bias = 1 / C` makes the classes independent of the clients. Group g holds the clients i with `i C // n = g`, so n need not
    be a multiple of C: the clients of a smaller group then get more samples. Every sample is dealt exactly once. Deals again,
    at most 100 times, until everyone has `min_samples`. Time O(N) a try.

    Reference: Fang et al., Local Model Poisoning Attacks to Byzantine-Robust Federated Learning, USENIX Security 2020
    (arXiv 1911.11815), section 4.1.
    >>> parts = LabelBias(num_clients=2, bias=1.0).split(torch.tensor([0, 1, 0, 1]), None, torch.Generator())
    >>> [sorted(part.tolist()) for part in parts]
    [[0, 2], [1, 3]]
    """

    num_clients: PositiveInt = 10
    _: KW_ONLY
    bias: Probability = 0.5
    min_samples: NonNegativeInt = 1

    def split(self, labels: Tensor, groups: Tensor | None, generator: torch.Generator) -> list[Tensor]:
        enough(len(labels), self.num_clients, self.min_samples, "LabelBias")
        num_classes = int(labels.max()) + 1
        if not 2 <= num_classes <= self.num_clients:
            raise DataError(
                f"LabelBias needs two classes or more and a client for each; got {num_classes} classes, "
                f"{self.num_clients} clients. Raise num_clients."
            )
        return search(
            lambda: self._deal(labels, num_classes, generator),
            min_samples=self.min_samples,
            who="LabelBias",
            remedy="Lower bias, num_clients or min_samples.",
        )

    def _deal(self, labels: Tensor, num_classes: int, generator: torch.Generator) -> list[Tensor]:
        count, n = len(labels), self.num_clients
        own = torch.rand(count, generator=generator, dtype=torch.float64) < self.bias
        shift = torch.randint(1, num_classes, (count,), generator=generator)
        group = torch.where(own, labels, (labels + shift) % num_classes)
        # The first client of group g is ceil(g n / C).
        starts = (torch.arange(num_classes + 1) * n + num_classes - 1) // num_classes
        place = torch.rand(count, generator=generator, dtype=torch.float64) * starts.diff()[group]
        owner = starts[group] + place.long()
        sizes = owner.bincount(minlength=n).tolist()
        return list(torch.split(torch.argsort(owner, stable=True), sizes))
