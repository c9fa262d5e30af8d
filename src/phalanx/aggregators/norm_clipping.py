"""NormClipping: the mean of clipped updates."""

from typing import ClassVar

import torch
from torch import Tensor

from phalanx.aggregators.mean import shares_of
from phalanx.core import linalg
from phalanx.core.errors import ConfigError
from phalanx.core.families import Aggregator
from phalanx.core.numbers import PositiveFloat32, Probability
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class NormClipping(Aggregator):
    """Weighted mean of the rows, each scaled down to norm τ where it is longer: Σ w_i x_i min(1, τ / |x_i|) / Σ w_i.

    τ is `max_norm`, or the `quantile` of this round's norms (0.5: the median). Bounds a boosted update; stops no attacker who
    stays below τ, and follows a large group of attackers in proportion. Time O(n d), memory O(n).

    Raises: ConfigError unless exactly one of `max_norm` and `quantile` is given.
    Reference: Sun et al., Can You Really Backdoor Federated Learning?, 2019 (arXiv 1911.07963), Section 3.
    Differs from the paper: the quantile, which needs no knowledge of honest norms.
    >>> NormClipping(max_norm=1.0)(torch.tensor([[1.], [1.], [1.], [99.]]))
    tensor([1.])
    """

    uses_weights: ClassVar[bool] = True

    max_norm: PositiveFloat32 | None = None
    quantile: Probability | None = None

    def __post_init__(self) -> None:
        if (self.max_norm is None) == (self.quantile is None):
            raise ConfigError(
                f"{type(self).__name__} needs either max_norm or quantile; "
                f"got max_norm={self.max_norm}, quantile={self.quantile}. Give one of them."
            )

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        bound = self.bound(updates.norms)
        influence = shares_of(updates, who=type(self).__name__) * linalg.clip_factors(updates.norms, bound)
        clipped = updates.norms.gt(bound).double().mean()
        return Aggregate(
            updates.weighted_sum(influence), influence, metrics={"clip_norm": bound, "clipped": float(clipped)}
        ), state

    def bound(self, norms: Tensor) -> float:
        """τ for rows of these norms `[n]`."""
        return self.max_norm or float(torch.quantile(norms, self.quantile or 0.0))
