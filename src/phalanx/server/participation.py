"""Who takes part in a round: everyone, a fixed number, some always, or each client by a coin of its own."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
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


class Regulars(Participation):
    """`ids` in every round, and others drawn to make up `size`.

    For attackers who are always there (`fixed_clients` with the same ids), which rules that remember clients are made for, or
    for a federation with a steady core. No privacy is claimed for who takes part so often.
    """

    ids: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    size: PositiveInt

    def __post_init__(self) -> None:
        if len(set(self.ids)) < len(self.ids) or len(self.ids) > self.size:
            raise ConfigError(f"Regulars needs at most size distinct ids; got {list(self.ids)}, size={self.size}.")

    def sample(self, num_clients: int, context: RoundContext) -> Tensor:
        drawn = torch.randperm(num_clients, generator=context.generator("participation"))
        regulars = torch.tensor(self.ids)
        others = drawn[~torch.isin(drawn, regulars)][: self.largest(num_clients) - len(regulars)]
        return torch.cat([regulars, others]).sort().values

    def largest(self, num_clients: int) -> int:
        if max(self.ids) >= num_clients or self.size > num_clients:
            raise ConfigError(
                f"Regulars needs ids below the number of clients, and no more clients than there are; "
                f"got ids up to {max(self.ids)}, size={self.size}, {num_clients} clients."
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
