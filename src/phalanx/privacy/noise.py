"""Gaussian noise from a generator, or from the operating system."""

import torch
from torch import Tensor

from phalanx.core import rng


def gaussian(like: Tensor, std: float, generator: torch.Generator | None) -> Tensor:
    """N(0, `std`²) of the shape, dtype and device of `like`; without a generator from the operating system, never the same.

    A generator is for experiments: torch's keeps 32 bits of its seed, which can be tried one by one. Neither noise hides what
    the last bits of floating-point sums tell (Mironov, CCS 2012).
    """
    if generator is None:
        return rng.normal_from_system(*like.shape).mul_(std).to(like)
    # Drawn on the CPU and in float64: every device, and float32 and float64 rows get the same noise.
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).mul_(std).to(like)
