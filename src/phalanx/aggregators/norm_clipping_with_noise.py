"""NormClippingWithNoise: clipped mean plus Gaussian noise, known as "weak DP"."""

from dataclasses import KW_ONLY, replace

import torch

from phalanx.aggregators.norm_clipping import NormClipping
from phalanx.core.numbers import NonNegativeFloat32
from phalanx.core.types import Aggregate, RoundContext, State, Updates


class NormClippingWithNoise(NormClipping):
    """NormClipping, then N(0, `noise_std`²) on every coordinate of the mean.

    The noise is to drown what little of a backdoor the clipping lets through. It is far too small for a privacy guarantee and
    claims none, although the paper calls it weak differential privacy: it has nothing to do with how far one row can move the
    weighted mean. For privacy take `central_dp`. Time O(n d), memory O(n + d).

    Raises: ConfigError unless exactly one of `max_norm` and `quantile` is given.
    Reference: Sun et al., Can You Really Backdoor Federated Learning?, 2019 (arXiv 1911.07963), Section 3.
    >>> NormClippingWithNoise(max_norm=1.0, noise_std=0.0)(torch.tensor([[1.], [1.], [1.], [99.]]))
    tensor([1.])
    """

    _: KW_ONLY
    noise_std: NonNegativeFloat32 = 0.025

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        clipped, state = super().combine(updates, state, context)
        if clipped.update is None or self.noise_std == 0:
            return clipped, state
        noise = torch.randn(clipped.update.shape, generator=context.generator("weak dp noise"), dtype=clipped.update.dtype)
        return replace(clipped, update=clipped.update + self.noise_std * noise.to(clipped.update.device)), state
