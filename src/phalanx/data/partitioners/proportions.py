"""Dirichlet draws from a torch generator, as the two Dirichlet partitioners need them."""

import numpy as np
import torch
from torch import Tensor


def dirichlet(concentration: Tensor, rows: int, generator: torch.Generator) -> Tensor:
    """Independent draws `[rows, k]` float64 from Dirichlet(concentration `[k]`), each row summing to one.

    numpy's sampler stays finite for a concentration of 1e-6, where normalised gamma draws are 0 / 0; torch has none that takes
    a generator.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    source = np.random.default_rng(seed)
    return torch.from_numpy(source.dirichlet(concentration.numpy(), size=rows))
