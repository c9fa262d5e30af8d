"""The random numbers that privacy rests on: all in float64, from a 128-bit key or from the operating system.

Other choices come from `core.rng`, whose streams are too few and whose tails are too short for noise: torch keeps 32 bits of a
seed, and its float32 normal numbers end at 5.77 standard deviations, which alone is a δ of more than 1e-5 in a long run.
"""

import math
import os
from abc import ABC, abstractmethod
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor


class Noise(ABC):
    """A stream of random numbers."""

    @abstractmethod
    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1) of 53 random bits each, float64."""

    @abstractmethod
    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float64."""

    def gaussian(self, like: Tensor, std: float) -> Tensor:
        """N(0, `std`²) of the shape, dtype and device of `like`, the same on every device.

        It does not hide what the last bits of floating-point sums tell (Mironov, CCS 2012).
        """
        return self.normal(*like.shape).mul_(std).to(like)


class SeededNoise(Noise):
    """The stream of a key (seed, purpose, round, client, run), for experiments: who knows the key can draw it again.

    The key is 128 bits, so no two streams of any federation are expected to be the same. Philox is a function of key and
    counter; 12 ns a normal number, where torch's float32 takes 3 and its float64 22.

    >>> torch.equal(SeededNoise(0, "doc", 3, 7, "").normal(2), SeededNoise(0, "doc", 3, 7, "").normal(2))
    True
    >>> torch.equal(SeededNoise(0, "doc", 3, 7, "").normal(2), SeededNoise(0, "doc", 3, 7, "another run").normal(2))
    False
    """

    def __init__(self, seed: int, purpose: str, round: int, client: int, run: str) -> None:
        # The parts' lengths tell where each ends, whatever is in them.
        key = "|".join(f"{len(part)}:{part}" for part in map(str, (seed, purpose, round, client, run))).encode()
        words = int.from_bytes(blake2b(key, digest_size=16).digest(), "little")
        self._generator = np.random.Generator(np.random.Philox(key=words))

    def uniform(self, *shape: int) -> Tensor:
        return torch.from_numpy(self._generator.random(math.prod(shape))).view(shape)

    def normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self._generator.standard_normal(math.prod(shape))).view(shape)


class SystemNoise(Noise):
    """The operating system's random bits: nobody can draw them again.

    >>> SystemNoise().normal(3, 2).shape
    torch.Size([3, 2])
    """

    def uniform(self, *shape: int) -> Tensor:
        return self._integers(*shape).mul_(2.0**-53)

    def normal(self, *shape: int) -> Tensor:
        """By the method of Box and Muller: they end at 8.6."""
        count = math.prod(shape)
        # In the middle of each cell, so that no logarithm is of zero.
        radius, angle = self._integers(2, (count + 1) // 2).add_(0.5).mul_(2.0**-53)
        radius, angle = radius.log_().mul_(-2).sqrt_(), angle.mul_(2 * math.pi)
        return torch.cat([radius * angle.cos(), radius * angle.sin()])[:count].view(shape)

    def _integers(self, *shape: int) -> Tensor:
        """Integers of 53 random bits as float64."""
        count = math.prod(shape)
        words = torch.frombuffer(bytearray(os.urandom(8 * max(count, 1))), dtype=torch.int64)[:count]
        return ((words >> 11) & ((1 << 53) - 1)).double().view(shape)
