"""Gaussian noise from a generator, or from the operating system."""

import math
import os

import torch
from torch import Tensor


def gaussian(like: Tensor, std: float, generator: torch.Generator | None) -> Tensor:
    """N(0, `std`²) of the shape, dtype and device of `like`; without a generator from the operating system, never the same.

    A generator is for experiments: torch's keeps 32 bits of its seed, which can be tried one by one. Neither noise hides what
    the last bits of floating-point sums tell (Mironov, CCS 2012).
    """
    if generator is None:
        return _from_the_system(like.numel()).reshape(like.shape).to(like).mul_(std)
    # Drawn on the CPU and in float64: every device, and float32 and float64 rows get the same noise.
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).mul_(std).to(like)


def _from_the_system(count: int) -> Tensor:
    """Standard normal numbers `[count]` float64 by Box and Muller, from 53 random bits each."""
    pairs = (count + 1) // 2
    words = torch.frombuffer(bytearray(os.urandom(16 * max(pairs, 1))), dtype=torch.int64).reshape(2, -1)
    uniform = ((words >> 11) & ((1 << 53) - 1)).double().add_(0.5).mul_(2.0**-53)  # in (0, 1)
    radius, angle = uniform[0].log_().mul_(-2).sqrt_(), uniform[1].mul_(2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()])[:count]
