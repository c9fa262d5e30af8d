"""CentralDP: client-level differential privacy at the server, with a fixed clip norm."""

from phalanx.core import linalg
from phalanx.core.numbers import PositiveFloat32
from phalanx.core.types import Aggregate, RoundContext, State, Updates
from phalanx.privacy.client_level import ClientLevel


class CentralDP(ClientLevel):
    """Every row clipped to C, summed, N(0, (z C)²) added, divided by the expected cohort: DP-FedAvg.

    ```
    update = (Σ x_i min(1, C / |x_i|) + N(0, (z C)² I)) / expected_clients
    ```
    Hides each client with all its samples from everyone but the server; ε follows from z, the participation and the number of
    rounds (`phalanx privacy plan`). Every client counts alike: a weight that a client claims would raise what it can do. Take
    many clients a round: the noise has norm z C √d / m, so 100 clients seldom are enough; where clients hold much data, or the
    server is not trusted, take DPSGD or LocalDP. The clipping also bounds attackers, each of them to C. `clip_norm` near the
    median norm is a good start. Time O(n d), memory O(n + d).

    Reference: McMahan et al., Learning Differentially Private Recurrent Language Models, ICLR 2018 (arXiv 1710.06963),
    Algorithm 1. Differs from the paper: uniform weights, and the whole row is clipped.
    >>> import torch
    >>> CentralDP(1.0, noise_multiplier=0.0, expected_clients=4)(torch.tensor([[1.], [1.], [1.], [99.]]))
    tensor([1.])
    """

    clip_norm: PositiveFloat32

    def combine(self, updates: Updates, state: State, context: RoundContext) -> tuple[Aggregate, State]:
        factors = linalg.clip_factors(updates.norms, self.clip_norm)
        total = updates.weighted_sum(factors)
        total += self.noise(total, self.noise_multiplier * self.clip_norm, "central dp", context)
        clipped = float(factors.lt(1).double().mean()) if len(updates) else 0.0
        return Aggregate(total.div_(self.expected_clients), factors / self.expected_clients, metrics={"clipped": clipped}), {
            **state,
            "noised": state["noised"] + 1,
        }
