"""Randomness as a pure function of (seed, purpose, round, client).

No result depends on the order of the work, on batching or on the number of workers, because nobody shares a stream:
whoever needs randomness names what it is for and gets a generator of its own. Global generators are never touched.
"""

from hashlib import blake2b

import torch

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
    """A fresh CPU generator for one purpose. What it draws is moved to where it is used, so that devices agree.

    torch's CPU generator keeps 32 bits of a seed, so among 100,000 streams one pair is expected to be the same one: no matter
    for batches or dropouts. Noise that a privacy claim rests on comes from `core.noise`.

    >>> torch.rand(1, generator=generator(0, "doc")) == torch.rand(1, generator=generator(0, "doc"))
    tensor([True])
    """
    fresh = torch.Generator()
    fresh.manual_seed(derive(seed, purpose, round, client))
    return fresh
