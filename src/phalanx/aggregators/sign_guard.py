"""SignGuard: rows of unusual length or with unusual signs are dropped."""

from dataclasses import KW_ONLY

import torch
from torch import Tensor

from phalanx.aggregators.mean_shift import largest_cluster
from phalanx.core import linalg
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import Aggregator
from phalanx.core.numbers import NonNegativeFloat32, PositiveFloat32, Share
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class SignGuard(Aggregator):
    """The mean, clipped to the median norm M, of rows with `lower` <= norm / M <= `upper` whose signs are like most others'.

    On a random share of the coordinates each row has three features: how many are positive, negative, zero. Only the largest
    cluster that mean shift finds of all rows is kept; of two as large the one nearer the median of the features. Sees attacks
    that change the statistics of signs (sign flips, noise, A Little Is Enough with a large z); blind to a backdoor that trains
    and keeps them, and loses honest minorities. If no row is left, the model is kept. Time O(n d + n²).

    Raises: PreconditionError unless n >= 4: fewer rows have no neighbours to be compared with, and each is a cluster.
    Reference: Xu, Huang, Song, Lan, Byzantine-robust Federated Learning through Collaborative Malicious Gradient Filtering,
    ICDCS 2022 (arXiv 2109.05872), Algorithm 2 (plain SignGuard).
    >>> SignGuard(share=1.0)(torch.tensor([[1., 2.], [2., 1.], [1., 1.], [-1., -1.], [99., 99.]])).tolist()
    [1.3333333730697632, 1.3333333730697632]
    """

    lower: NonNegativeFloat32 = 0.1
    upper: PositiveFloat32 = 3.0
    _: KW_ONLY
    share: Share = 0.1

    def __post_init__(self) -> None:
        if self.lower >= self.upper:
            raise ConfigError(f"SignGuard needs lower < upper; got lower={self.lower}, upper={self.upper}.")

    def require(self, n: int) -> None:
        if n < 4:
            raise PreconditionError(f"SignGuard needs n >= 4 updates to tell a majority; got n={n}. Sample more clients.")

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        median = torch.quantile(updates.norms, 0.5)
        usual = (updates.norms >= self.lower * median) & (updates.norms <= self.upper * median)
        kept = usual & largest_cluster(self._features(updates, context), quantile=0.5)
        metrics = {"clip_norm": float(median)}
        if not kept.any():
            return Aggregate(None, influence=kept.double(), metrics=metrics), state
        influence = kept.double() / kept.sum() * linalg.clip_factors(updates.norms, median)
        return Aggregate(updates.weighted_sum(influence), influence=influence, metrics=metrics), state

    def _features(self, updates: Updates, context: RoundContext) -> Tensor:
        """The shares of positive, negative and zero entries, `[n, 3]` float64."""
        d = updates.matrix.shape[1]
        count = max(1, round(self.share * d))
        chosen = torch.randperm(d, generator=context.generator("signguard coordinates"))[:count].sort().values
        signs = updates.matrix[:, chosen.to(updates.matrix.device)].sign()
        return torch.stack([(signs == sign).double().mean(dim=1) for sign in (1, -1, 0)], dim=1)
