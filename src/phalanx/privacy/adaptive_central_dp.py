"""AdaptiveCentralDP: client-level differential privacy whose clip norm follows the clients."""

import math
from dataclasses import KW_ONLY
from typing import Annotated

import torch
from pydantic import Field

from phalanx.core import linalg
from phalanx.core.errors import ConfigError
from phalanx.core.numbers import PositiveFloat32, Probability
from phalanx.core.params import Layout
from phalanx.core.types import Aggregate, RoundContext, State, Updates
from phalanx.privacy.client_level import ClientLevel


class AdaptiveCentralDP(ClientLevel):
    """CentralDP, whose C follows a quantile γ of the clients' norms, itself told through noise.

    ```
    b = 1/2 + (Σ (1[|x_i| <= C] − 1/2) + N(0, σ_b²)) / expected_clients        C ← C exp(−η (b − γ))
    ```
    The quantile is paid for: the update gets the noise z_Δ = (z⁻² − (2 σ_b)⁻²)^(−1/2), so that both together cost what z does.
    Take it where the norms are not known, or shrink over the rounds; where they are, CentralDP has a parameter less. C does not
    run away if attackers send long rows, but a large share of them moves the quantile. Time O(n d), memory O(n + d).

    Raises: ConfigError unless 2 σ_b > z.
    Reference: Andrew et al., Differentially Private Learning with Adaptive Clipping, NeurIPS 2021 (arXiv 1905.03871),
    Algorithm 1.
    >>> AdaptiveCentralDP(noise_multiplier=1.0, expected_clients=100).update_noise
    1.005037815259212
    """

    _: KW_ONLY
    initial_clip_norm: PositiveFloat32 = 0.1
    quantile: Probability = 0.5
    """γ: the share of clients that are not clipped."""
    rate: Annotated[float, Field(gt=0, le=10)] = 0.2
    """η: how fast C moves; 0.2 is the paper's."""
    quantile_noise: PositiveFloat32 | None = None
    """σ_b; left out, it is expected_clients / 20, as in the paper, and at least z."""

    def __post_init__(self) -> None:
        if 2 * self.count_noise <= self.noise_multiplier:
            raise ConfigError(
                "AdaptiveCentralDP needs quantile_noise > noise_multiplier / 2, or nothing is left for the update; got "
                f"quantile_noise={self.quantile_noise}, noise_multiplier={self.noise_multiplier}. Leave quantile_noise out."
            )

    @property
    def count_noise(self) -> float:
        """σ_b."""
        return self.quantile_noise or max(self.expected_clients / 20, self.noise_multiplier)

    @property
    def update_noise(self) -> float:
        """z_Δ."""
        if self.noise_multiplier == 0:
            return 0.0
        return 1 / math.sqrt(self.noise_multiplier**-2 - (2 * self.count_noise) ** -2)

    def init(self, layout: Layout) -> State:
        return {**super().init(layout), "clip_norm": torch.tensor(self.initial_clip_norm, dtype=torch.float64)}

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        clip_norm = float(state["clip_norm"])
        factors = linalg.clip_factors(updates.norms, clip_norm)
        total = updates.weighted_sum(factors)
        total += self.noise(total, self.update_noise * clip_norm, "central dp", context)
        count = updates.norms.le(clip_norm).double().sub_(0.5).sum().cpu()
        if self.noise_multiplier:
            count += self.noise(count, self.count_noise, "central dp quantile", context)
        share = 0.5 + float(count) / self.expected_clients
        # One round of pure noise must not take C out of float32's range.
        following = min(max(clip_norm * math.exp(-self.rate * (share - self.quantile)), 1e-12), 1e12)
        return Aggregate(
            total.div_(self.expected_clients), factors / self.expected_clients, metrics={"clip_norm": clip_norm, "share": share}
        ), {"noised": state["noised"] + 1, "clip_norm": torch.tensor(following, dtype=torch.float64)}
