"""NoisyUpdate: clients add noise to their update, and prove nothing by it."""

import torch
from torch import Tensor

from phalanx.core.numbers import PositiveFloat32
from phalanx.training.changed_update import ChangedUpdate


class NoisyUpdate(ChangedUpdate):
    """What `trainer` makes of a client's data, plus Gaussian noise: x_j <- x_j + std · N(0, 1).

    The defence as papers on gradient inversion try it, to see what noise alone does. It is no differential privacy: the update
    is not clipped, so no ε belongs to it, and whoever sees the same client several times averages the noise out
    (`averaged_leak`). For a guarantee take `local_dp` or `dpsgd`, which clip and keep account. `std` is that of a coordinate of
    the update: beside a gradient's, multiply by the learning rate. O(d) a client.

    Reference: Zhu, Liu and Han, Deep Leakage from Gradients, NeurIPS 2019 (arXiv 1906.08935), section 5 (noisy gradients).
    """

    std: PositiveFloat32 = 1e-3

    def change(self, row: Tensor, generator: torch.Generator) -> None:
        row.add_(torch.randn(len(row), generator=generator).to(row), alpha=self.std)
