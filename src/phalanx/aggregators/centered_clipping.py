"""CenteredClipping: a mean of differences from the last result, each clipped."""

from dataclasses import KW_ONLY

import torch
from pydantic import PositiveInt
from torch import Tensor

from phalanx.core import linalg
from phalanx.core.families import Aggregator
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class CenteredClipping(Aggregator):
    """v ← v + mean of (x_i − v) min(1, τ / |x_i − v|), L times, beginning at the last round's result.

    What attackers do in a round is bounded by τ f / n, and forgotten in time. τ (`max_norm`) must fit the honest spread: too
    small is slow, too large is a mean; attackers who always push one way inside τ still drift it. Meant for clients that send
    momentum (WorkerMomentum). The first round begins at zero. Time O(n d), for L > 1 O(n² d); memory O(n² + d).

    Reference: Karimireddy, He, Jaggi, Learning from History for Byzantine Robust Optimization, ICML 2021 (arXiv 2012.10333),
    Section 4.
    >>> CenteredClipping(max_norm=1.0)(torch.tensor([[1.], [1.], [1.], [99.]]))
    tensor([1.])
    """

    max_norm: PositiveFloat32
    _: KW_ONLY
    num_iterations: PositiveInt = 1

    def public_state(self, context: RoundContext) -> State:
        return {} if context.previous_update is None else {"centre": context.previous_update}

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        centre = state.get("centre", torch.zeros_like(updates.matrix[0]))
        weights = self._weights(updates, centre)
        # v + Σ w_i (x_i − v), without a second matrix of differences.
        moved = updates.weighted_sum(weights) + (1 - float(weights.sum())) * centre
        return Aggregate(moved, influence=weights), {"centre": moved}

    def _weights(self, updates: Updates, centre: Tensor) -> Tensor:
        """What each difference x_i − v is multiplied with in the end, `[n]`."""
        n = len(updates)
        if self.num_iterations == 1:
            return linalg.clip_factors(linalg.norms(updates.matrix, centre=centre), self.max_norm) / n
        gram = updates.gram_about(centre)
        weights = torch.zeros(n, dtype=torch.float64, device=gram.device)
        for _ in range(self.num_iterations):
            pulled = gram @ weights
            lengths = (gram.diagonal() - 2 * pulled + weights @ pulled).clamp(min=0).sqrt()
            factors = linalg.clip_factors(lengths, self.max_norm) / n
            # x_i − v_l = z_i − Σ w_j z_j: the mean of clipped differences takes the share Σ factors off what was there.
            weights = weights * (1 - factors.sum()) + factors
        return weights
