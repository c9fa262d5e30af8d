"""SMEA: the mean of the n − f updates that vary least along any direction."""

from collections.abc import Iterator
from dataclasses import KW_ONLY
from itertools import combinations, islice
from math import comb

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from phalanx.aggregators.preconditions import REMEDY, require_majority
from phalanx.aggregators.selection import TIE
from phalanx.core.errors import PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates

_BATCH_VALUES = 1 << 20


class SMEA(Aggregator, kind="smea"):
    """Smallest maximum eigenvalue averaging: the mean of the n − f rows whose covariance has the smallest top eigenvalue.

    Tries every subset, which only a small n allows; its error has the best known order, with no factor for the dimension. Among
    equals the subset with the smaller content. Time O(n² d + C(n, f) n³), memory O(n²).

    Raises: PreconditionError unless n > 2f and there are at most `max_subsets` subsets (100,000 take about a second).
    Reference: Allouah, Guerraoui, Gupta, Pinot, Stephan, On the Privacy-Robustness-Utility Trilemma in Distributed Learning,
    ICML 2023 (arXiv 2302.04787), Section 4.
    >>> SMEA(num_byzantine=1)(torch.tensor([[0.], [1.], [2.], [99.]]))
    tensor([1.])
    """

    num_byzantine: NonNegativeInt
    _: KW_ONLY
    max_subsets: PositiveInt = 200_000

    def require(self, n: int) -> None:
        require_majority("SMEA", n, self.num_byzantine)
        if comb(n, self.num_byzantine) > self.max_subsets:
            raise PreconditionError(
                f"SMEA tries C(n, f) <= {self.max_subsets:,} subsets; got n={n}, f={self.num_byzantine}: "
                f"{comb(n, self.num_byzantine):,}. Take CAF. {REMEDY}"
            )

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        n, count = len(updates), len(updates) - self.num_byzantine
        order = updates.content_rank.argsort(stable=True)
        gram = updates.gram[order][:, order]
        best, chosen = torch.inf, torch.arange(count)
        for subsets in _subsets(n, count):
            tops = _top_eigenvalues(gram, subsets.to(gram.device))
            smallest = float(tops.min())
            if smallest < best * (1 - TIE):
                best, chosen = smallest, subsets[int((tops <= smallest * (1 + TIE)).int().argmax())]
        influence = torch.zeros(n, dtype=torch.float64, device=gram.device)
        influence[order[chosen.to(order.device)]] = 1 / count
        return Aggregate(updates.weighted_sum(influence), influence=influence, metrics={"top_eigenvalue": best}), state


def _subsets(n: int, count: int) -> Iterator[Tensor]:
    """All subsets of `count` of n rows, in order, in batches `[b, count]`."""
    remaining = combinations(range(n), count)
    while batch := list(islice(remaining, max(1, _BATCH_VALUES // count**2))):
        yield torch.tensor(batch)


def _top_eigenvalues(gram: Tensor, subsets: Tensor) -> Tensor:
    """The top eigenvalue of each subset's covariance, `[b]`: that of its centred Gram matrix over the number of rows."""
    inner = gram[subsets[:, :, None], subsets[:, None, :]]
    centred = inner - inner.mean(dim=1, keepdim=True) - inner.mean(dim=2, keepdim=True) + inner.mean(dim=(1, 2), keepdim=True)
    eigenvalues: Tensor = torch.linalg.eigvalsh(centred)
    return eigenvalues[:, -1].clamp(min=0) / subsets.shape[1]
