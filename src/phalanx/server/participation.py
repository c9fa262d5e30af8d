"""Who takes part in a round: everyone, a fixed number, or each client by a coin of its own."""

from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor

from phalanx.core.errors import ConfigError
from phalanx.core.families import Participation
from phalanx.core.numbers import Share
from phalanx.core.privacy import Sampling
from phalanx.core.types import RoundContext


class AllClients(Participation, kind="all"):
    """Every client, every round."""

    sampling: ClassVar[Sampling | None] = "none"

    def sample(self, num_clients: int, context: RoundContext) -> Tensor:
        return torch.arange(num_clients)

    def largest(self, num_clients: int) -> int:
        return num_clients


class FixedSize(Participation):
    """`size` clients drawn without replacement, anew each round.

    Reference: McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017.
    """

    sampling: ClassVar[Sampling | None] = "fixed_size"

    size: PositiveInt

    def sample(self, num_clients: int, context: RoundContext) -> Tensor:
        drawn = torch.randperm(num_clients, generator=context.generator("participation"))
        return drawn[: self.largest(num_clients)].sort().values

    def largest(self, num_clients: int) -> int:
        if self.size > num_clients:
            raise ConfigError(
                f"participation.size must be at most the number of clients; got size={self.size}, {num_clients} clients."
            )
        return self.size


class Poisson(Participation):
    """Each client with probability `rate`, independently: what amplification by sampling is proved for. May be nobody.

    Reference: Zhu and Wang, Poisson Subsampled Rényi Differential Privacy, ICML 2019.
    """

    sampling: ClassVar[Sampling | None] = "poisson"

    rate: Share

    def sample(self, num_clients: int, context: RoundContext) -> Tensor:
        # The rate that an accountant is told has more bits than a float32 coin.
        coins = torch.rand(num_clients, generator=context.generator("participation"), dtype=torch.float64)
        return (coins < self.rate).nonzero().flatten()

    def largest(self, num_clients: int) -> int:
        return num_clients

    def expected(self, num_clients: int) -> float:
        return self.rate * num_clients
