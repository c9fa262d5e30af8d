"""Who is charged for a round of a private run: everyone where the rule is private, who trained where the trainer is.

The memory itself is the component's own state, in every checkpoint; books read it, and add to it what a lost round cost.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from phalanx.core.privacy import SPENT, Mechanism, Spending, added, spendings
from phalanx.core.types import State
from phalanx.server.state import FederationState

History = tuple[Spending, ...]


@dataclass(frozen=True)
class Books(ABC):
    """What `mechanism` has cost those whom it hides."""

    mechanism: Mechanism

    @abstractmethod
    def of_rounds(self, rounds: int) -> set[History]:
        """What so many rounds cost at most, from the beginning."""

    @abstractmethod
    def so_far(self, state: FederationState) -> set[History]:
        """What has been spent."""

    @abstractmethod
    def after(self, state: FederationState, rounds: int) -> set[History]:
        """What will have been spent after so many rounds more, by those who are there in all of them."""

    @abstractmethod
    def by_client(self, state: FederationState, following: FederationState) -> dict[int, History] | None:
        """What each client has spent in the end who paid for the round between two states; None if everyone pays alike."""

    @abstractmethod
    def receipt(self, ids: Sequence[int]) -> dict[str, Any]:
        """What a round with these clients costs, for the ledger."""

    @abstractmethod
    def charged(self, state: FederationState, receipts: Sequence[Mapping[str, Any]]) -> FederationState:
        """The state with these receipts on the books of those who spent."""


class RuleBooks(Books):
    """Every noised sum is charged to every client, whoever took part."""

    def of_rounds(self, rounds: int) -> set[History]:
        return {(_times(self.mechanism.spending, rounds),)}

    def so_far(self, state: FederationState) -> set[History]:
        return self.after(state, 0)

    def after(self, state: FederationState, rounds: int) -> set[History]:
        return self.of_rounds(int(state.rule["noised"]) + rounds)

    def by_client(self, state: FederationState, following: FederationState) -> None:
        return None

    def receipt(self, ids: Sequence[int]) -> dict[str, Any]:
        return {}

    def charged(self, state: FederationState, receipts: Sequence[Mapping[str, Any]]) -> FederationState:
        return replace(state, rule={**state.rule, "noised": state.rule["noised"] + len(receipts)})


@dataclass(frozen=True)
class TrainerBooks(Books):
    """Each client is charged for the rounds in which it trained; `clients` says what one costs it, by roster int.

    Attackers who are attacking are on no books: nobody promises to hide them, and they add noise or not as they like.
    """

    clients: Mapping[int, Spending]

    def of_rounds(self, rounds: int) -> set[History]:
        return {(_times(one, rounds),) for one in set(self.clients.values())}

    def so_far(self, state: FederationState) -> set[History]:
        return set(_spent(state.clients).values())

    def after(self, state: FederationState, rounds: int) -> set[History]:
        spent = _spent(state.clients)
        return {(*spent.get(client, ()), _times(one, rounds)) for client, one in self.clients.items()}

    def by_client(self, state: FederationState, following: FederationState) -> dict[int, History]:
        before = _spent(state.clients)
        return {client: spent for client, spent in sorted(_spent(following.clients).items()) if spent != before.get(client)}

    def receipt(self, ids: Sequence[int]) -> dict[str, Any]:
        return {"clients": [client for client in ids if client in self.clients]}

    def charged(self, state: FederationState, receipts: Sequence[Mapping[str, Any]]) -> FederationState:
        clients: dict[str, Tensor] = dict(state.clients)
        for receipt in receipts:
            for client in receipt["clients"]:
                name = f"{client}{SPENT}"
                clients[name] = added(clients.get(name), self.clients[client])
        return replace(state, clients=clients)


def _times(spending: Spending, rounds: int) -> Spending:
    return replace(spending, steps=spending.steps * rounds)


def _spent(clients: State) -> dict[int, History]:
    """What each client remembers to have spent, by roster int."""
    return {int(name.removesuffix(SPENT)): spendings(spent) for name, spent in clients.items() if name.endswith(SPENT)}
