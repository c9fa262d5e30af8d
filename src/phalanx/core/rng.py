"""Randomness as a pure function of (seed, purpose, round, client).

No result depends on the order of the work, on batching or on the number of workers, because nobody shares a stream:
whoever needs randomness names what it is for and gets a generator of its own. Global generators are never touched.
"""

import math
import os
from hashlib import blake2b

import torch
from torch import Tensor

_NO_CLIENT = -1


def derive(seed: int, purpose: str, round: int = 0, client: int = _NO_CLIENT) -> int:
    """A 63-bit seed that depends on all four arguments and on nothing else.

    >>> derive(0, "batches", round=3, client=7) == derive(0, "batches", round=3, client=7)
    True
    >>> derive(0, "batches", round=3, client=7) == derive(0, "batches", round=7, client=3)
    False
    """
    key = f"{seed}|{purpose}|{round}|{client}".encode()
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "little") >> 1


def generator(seed: int, purpose: str, round: int = 0, client: int = _NO_CLIENT) -> torch.Generator:
    """A fresh CPU generator for one purpose. Noise is drawn on the CPU and moved, so that devices agree.

    torch's CPU generator keeps 32 bits of a seed, so among 100,000 streams one pair is expected to be the same one: no matter
    for batches or dropouts, but not a source of cryptographic noise.

    >>> torch.rand(1, generator=generator(0, "doc")) == torch.rand(1, generator=generator(0, "doc"))
    tensor([True])
    """
    fresh = torch.Generator()
    fresh.manual_seed(derive(seed, purpose, round, client))
    return fresh


def uniform_from_system(*shape: int) -> Tensor:
    """Numbers in (0, 1) of 53 random bits each from the operating system, float64: nobody can draw them again.

    >>> bool(((0 < uniform_from_system(3, 2)) & (uniform_from_system(3, 2) < 1)).all())
    True
    """
    count = math.prod(shape)
    words = torch.frombuffer(bytearray(os.urandom(8 * max(count, 1))), dtype=torch.int64)[:count]
    return ((words >> 11) & ((1 << 53) - 1)).double().add_(0.5).mul_(2.0**-53).view(shape)


def normal_from_system(*shape: int) -> Tensor:
    """Standard normal numbers from the operating system's random bits, float64, by the method of Box and Muller.

    >>> normal_from_system(3, 2).shape
    torch.Size([3, 2])
    """
    count = math.prod(shape)
    radius, angle = uniform_from_system(2, (count + 1) // 2)
    radius, angle = radius.log_().mul_(-2).sqrt_(), angle.mul_(2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()])[:count].view(shape)
