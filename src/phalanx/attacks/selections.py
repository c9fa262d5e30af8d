"""Who is malicious, and the number that each attacker has (which part of a distributed trigger is his, when his turn comes).

A selection is a pure function of the run's seed and the round, so that a resumed run meets the same attackers.
"""

from abc import ABC
from dataclasses import KW_ONLY
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from phalanx.core import rng
from phalanx.core.capabilities import Capability
from phalanx.core.errors import ConfigError
from phalanx.core.families import Selection
from phalanx.core.numbers import Share
from phalanx.core.types import RoundContext


class SizedSelection(Selection, ABC):
    """A number of clients: exactly one of a `count`, or a `share` of all (rounded)."""

    _: KW_ONLY
    count: PositiveInt | None = None
    share: Share | None = None

    def __post_init__(self) -> None:
        if (self.count is None) == (self.share is None):
            raise ConfigError(
                f"{type(self).__name__} needs exactly one of count and share; got count={self.count}, share={self.share}."
            )

    def size(self, num_clients: int) -> int:
        """How many attackers that makes. Raises: ConfigError if it is nobody, or more than there are."""
        size = round(self.share * num_clients) if self.share is not None else self.count or 0
        if not 1 <= size <= num_clients:
            raise ConfigError(
                f"{self} makes {size} attackers of {num_clients} clients; it needs 1 to {num_clients}. "
                "Change it, or take the adversary out for a run without attackers."
            )
        return size


class FirstClients(SizedSelection):
    """The clients 0, 1, … up to a `count`, or a `share` of all clients (rounded). Attacker number = client id.

    >>> context = RoundContext.for_matrix(torch.zeros(1, 1))
    >>> FirstClients(count=2).attackers(torch.tensor([1, 5]), 10, context)
    {1: 1}
    """

    def attackers(self, ids: Tensor, num_clients: int, context: RoundContext) -> dict[int, int]:
        """Those among `ids` below the count."""
        bound = self.size(num_clients)
        return {client: client for client in ids.tolist() if client < bound}


class RandomClients(SizedSelection):
    """A `count` of clients, or a `share` of all (rounded), drawn once per run from its seed.

    A larger count keeps the attackers of a smaller one and their numbers: a sweep over it compares like with like.
    """

    def attackers(self, ids: Tensor, num_clients: int, context: RoundContext) -> dict[int, int]:
        """Those among `ids` that were drawn; the number is the place in the draw."""
        size = self.size(num_clients)
        drawn = torch.randperm(num_clients, generator=rng.generator(context.seed, "attackers"))[:size].tolist()
        return _among(ids, drawn)


class EveryKth(Selection):
    """The clients `offset`, `offset + k`, `offset + 2k`, …, numbered in this order.

    >>> context = RoundContext.for_matrix(torch.zeros(1, 1))
    >>> EveryKth(15).attackers(torch.arange(40), 40, context)
    {0: 0, 15: 1, 30: 2}
    """

    k: PositiveInt
    _: KW_ONLY
    offset: NonNegativeInt = 0

    def attackers(self, ids: Tensor, num_clients: int, context: RoundContext) -> dict[int, int]:
        """Those among `ids` on the grid. Raises: ConfigError if it begins beyond the last client."""
        if self.offset >= num_clients:
            raise ConfigError(f"EveryKth needs offset < {num_clients}, the number of clients; got {self.offset}.")
        return _among(ids, list(range(self.offset, num_clients, self.k)))


class FixedClients(Selection):
    """The listed clients, numbered in the order of the list.

    >>> context = RoundContext.for_matrix(torch.zeros(1, 1))
    >>> FixedClients((7, 3)).attackers(torch.tensor([3, 4]), 10, context)
    {3: 1}
    """

    ids: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]

    def __post_init__(self) -> None:
        if len(set(self.ids)) < len(self.ids):
            raise ConfigError(f"FixedClients needs distinct ids; got {list(self.ids)}. Remove the repeated one.")

    def attackers(self, ids: Tensor, num_clients: int, context: RoundContext) -> dict[int, int]:
        """Those among `ids` that are listed. Raises: ConfigError if a listed client does not exist."""
        if max(self.ids) >= num_clients:
            raise ConfigError(f"FixedClients.ids must be below {num_clients}, the number of clients; got {max(self.ids)}.")
        return _among(ids, list(self.ids))


class ShareOfRound(Selection):
    """A `share` of each round's clients (rounded, and one at least), drawn anew every round: as many attackers in every round.

    Attackers are numbered within the round from 0, in ascending order of their ids. So a distributed trigger has all of its
    parts in every round, and with the schedule Staggered one attacker, each time with the next part, attacks in each listed
    round: FLIP's settings, without a participation that has to invite the attackers. Who asks for it sees all clients of the
    round, so it is the simulator's alone.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.ROSTER})
    share: Share

    def attackers(self, ids: Tensor, num_clients: int, context: RoundContext) -> dict[int, int]:
        """The drawn ones among `ids`."""
        size = min(len(ids), max(1, round(self.share * len(ids))))
        drawn = torch.randperm(len(ids), generator=context.generator("attackers"))[:size]
        return _among(ids, sorted(ids[drawn.to(ids.device)].tolist()))


def _among(ids: Tensor, attackers: list[int]) -> dict[int, int]:
    number = {client: place for place, client in enumerate(attackers)}
    return {client: number[client] for client in ids.tolist() if client in number}
