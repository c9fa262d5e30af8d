"""FLAME: accept the majority cluster, clip to the median norm, add noise."""

from dataclasses import KW_ONLY
from typing import Literal

import torch
from torch import Tensor

from phalanx.aggregators.clustering import majority_cluster
from phalanx.aggregators.flame_noise import FlameNoise, PaperNoise
from phalanx.core import linalg
from phalanx.core.families import Aggregator
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class Flame(Aggregator):
    """Mean of the majority by cosine distance, each row clipped to the median norm S of all rows, plus noise.

    ```
    accepted = majority_cluster(cosine_distances(w + x))       # HDBSCAN, more than half of the rows
    update   = mean(x_i min(1, S / |x_i|) for i in accepted) + N(0, (λ S)²)
    ```
    Made against backdoors. It tolerates fewer than n/2 attackers: a tight clique of ⌊n/2⌋ + 1 is taken for the majority, and
    the honest ones are rejected. About 40 % of homogeneous honest rows are rejected by construction (`acceptance` in the
    metrics): do not use it where every client's data must count. `space="model"` compares whole models (the paper), "update"
    differences. Float buffers are the median of the accepted, never noised: a cluster of updates says nothing of the statistics
    that come with them. Time O(n² d) in float64, memory O(n²).

    Reference: Nguyen et al., FLAME: Taming Backdoors in Federated Learning, USENIX Security 2022 (arXiv 2101.02281),
    Algorithm 1.
    >>> Flame(noise=PaperNoise(level=0.0))(torch.tensor([[1., 0.], [1., 0.], [3., 0.], [0., 99.]]))
    tensor([1.3333, 0.0000])
    """

    space: Literal["model", "update"] = "model"
    _: KW_ONLY
    noise: FlameNoise = PaperNoise()

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        origin = context.global_params if self.space == "model" else None
        accepted = majority_cluster(linalg.cosine_distances(updates.matrix, offset=origin))
        # For an even n this is the mean of the two middle norms; Tensor.median would take the lower one.
        clip_norm = float(torch.quantile(updates.norms, 0.5))
        influence = accepted * linalg.clip_factors(updates.norms, clip_norm) / accepted.sum()
        update = updates.weighted_sum(influence)
        std = self.noise.std(update, clip_norm, context)
        return (
            Aggregate(
                update + std * _standard_normal(update, context),
                influence=influence,
                metrics={
                    "accepted": float(accepted.sum()),
                    "acceptance": float(accepted.double().mean()),
                    "clip_norm": clip_norm,
                    "noise_std": float(std.double().square().mean().sqrt()),
                },
            ),
            state,
        )


def _standard_normal(like: Tensor, context: RoundContext) -> Tensor:
    return torch.randn(like.shape, generator=context.generator("flame noise"), dtype=like.dtype).to(like.device)
