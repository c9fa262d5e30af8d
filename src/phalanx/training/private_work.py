"""`PrivateWork`: a cohort's DP-SGD in one round. What is private about it is decided here: who is sampled, what a batch's sum
is divided by, and the noise. Engines compute clipped sums.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from phalanx.core.noise import SystemNoise
from phalanx.core.privacy import Spending
from phalanx.training.example_clipping import ExampleClipping
from phalanx.training.work import ClientWork, LocalWork

_DRAWN_TOGETHER = 1 << 20
"""Samples that are sampled, or not, in one call."""


@dataclass(frozen=True)
class PrivateWork(LocalWork):
    """Local training in Poisson batches with clipped examples and noise, as much as `spending` says of a number of samples.

    `secure_rng`: batches, noise and the seeds of augmentations and layers come from the operating system. The latter two are
    drawn in the order of a batch, so whoever could draw them again would see that an example more has moved all others on.
    """

    clipping: ExampleClipping
    spending: Callable[[int], Spending]
    secure_rng: bool

    def augmenting(self, client: int) -> torch.Generator:
        return torch.Generator().manual_seed(secrets.randbits(63)) if self.secure_rng else super().augmenting(client)

    def layer_seed(self, client: int) -> int:
        return secrets.randbits(63) if self.secure_rng else super().layer_seed(client)

    def client(self, i: int) -> "PrivateClient":
        """The batches of the cohort's i-th client."""
        return PrivateClient(self, i)


class PrivateClient(ClientWork):
    """One client's Poisson batches and its noise in one round. Draws from its generators, so walk through it once."""

    def __init__(self, work: PrivateWork, i: int) -> None:
        super().__init__(work, i)
        # The very numbers that an accountant is told.
        self.spending = work.spending(self.size)
        self._std = self.spending.noise_multiplier * work.clipping.sensitivity
        self._sampling, self._noise = (
            SystemNoise() if work.secure_rng else work.context.noise(purpose, self.id) for purpose in ("batches", "noise")
        )

    @property
    def expected_batch(self) -> float:
        """What every batch's sum is divided by, however many samples are in it: the number itself is private."""
        return self.spending.sample_rate * self.size

    def plan(self, smallest: int = 1) -> tuple[Tensor, list[int]]:
        """Where in `index` the samples of all steps lie, one step after the other, and how many each step has: perhaps none.

        Each sample is in each batch with probability `sample_rate`, whatever else is in it.
        """
        rows = max(1, _DRAWN_TOGETHER // max(1, self.size))
        orders, sizes = [self.index[:0].cpu()], list[int]()
        for start in range(0, self.spending.steps, rows):
            shape = (min(rows, self.spending.steps - start), self.size)
            # In float64: the 24 bits of a float32 round a rate of 1e-4 by up to 6e-4 of it.
            is_taken = self._sampling.uniform(*shape) < self.spending.sample_rate
            sizes += is_taken.sum(dim=1).tolist()
            orders.append(is_taken.nonzero()[:, 1])
        return torch.cat(orders).to(self.index.device), sizes

    def draw_noise(self, out: Tensor) -> None:
        """Write the noise of the next step over `out` `[d]`."""
        if self._std:
            out.copy_(self._noise.gaussian(out, self._std))
        else:
            out.zero_()
