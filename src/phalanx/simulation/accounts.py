"""What a run promises in terms of privacy, what it has spent of that, and whether it may go on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor

from phalanx.config import Experiment, PrivacySettings
from phalanx.core.errors import ConfigError, PrivacyBudgetExhausted
from phalanx.core.events import Value
from phalanx.core.privacy import Mechanism, Spending, added, spendings
from phalanx.core.types import State
from phalanx.privacy import PrivacyStatement
from phalanx.privacy.accountants import LARGEST, AccountantName
from phalanx.privacy.accounting import Counting, composed_epsilon, largest_epsilon
from phalanx.server.events import number
from phalanx.server.state import FederationState

History = tuple[Spending, ...]


@dataclass(frozen=True)
class Accounts:
    """The books of a run in which one component is private.

    `clients`: what a round costs each client who trains, by roster int; None where the rule is private, who charges everyone.
    The memory itself is the component's own state, in every checkpoint.
    """

    mechanism: Mechanism
    settings: PrivacySettings
    rounds: int
    clients: Mapping[int, Spending] | None

    @classmethod
    def of(cls, experiment: Experiment, sample_counts: Tensor) -> Self | None:
        """The books of this run; None if nothing in it is private.

        Raises: ConfigError in one sentence for a claim that could not be proved, or could not be kept for a single round.
        """
        sizes, settings = sample_counts.tolist(), experiment.privacy
        rule = experiment.aggregator.mechanism(experiment.participation, len(sizes))
        trained = {client: experiment.training.mechanism(size) for client, size in enumerate(sizes) if size}
        by_trainer = {client: mechanism for client, mechanism in trained.items() if mechanism is not None}
        if rule is None and not by_trainer:
            if settings != PrivacySettings():
                raise ConfigError(no_proof(experiment))
            return None
        if rule is not None and by_trainer:
            raise ConfigError(
                f"The rule {experiment.aggregator.kind} and the training {experiment.training.kind} would both make a privacy "
                "claim, and a run states one; choose which."
            )
        if rule is not None:
            books = cls(rule, settings, experiment.run.rounds, None)
        else:
            spending = {client: mechanism.spending for client, mechanism in by_trainer.items()}
            books = cls(next(iter(by_trainer.values())), settings, experiment.run.rounds, spending)
        units = len(sizes) if books.mechanism.unit == "client" else max(sizes)
        if settings.delta * units >= 1:
            raise ConfigError(
                f"privacy.delta = {settings.delta:g} allows to give away one {books.mechanism.unit} of {units} altogether; "
                f"set it below {1 / units:g}."
            )
        most = LARGEST if settings.max_epsilon is None else settings.max_epsilon
        first = books._largest(books._after(1))  # which also refuses sampling that the accountant cannot count
        if first > most:
            raise ConfigError(f"The first round alone would spend more than ε = {most:g}: {books.statement(first)}. Add noise.")
        return books

    def statement(self, epsilon: float) -> PrivacyStatement:
        """What an ε of this run means."""
        return PrivacyStatement.of(self.mechanism, epsilon, delta=self.settings.delta, accountant=self.settings.accountant)

    def epsilon(self, state: FederationState) -> float:
        """The largest ε of anyone whom the run hides, so far."""
        return self._largest(self._histories(state).values())

    def at_end(self) -> float:
        """What the whole run spends at most: where the trainer is private, of a client who is there in every round."""
        return self._largest(self._after(self.rounds))

    def beginning(self) -> dict[str, Value]:
        """The values of the event that comes before the first round."""
        statement = self.statement(self.at_end())
        facts = {
            name: getattr(statement, name) for name in ("delta", "unit", "neighbours", "sampling", "accountant", "trusted")
        }
        budget: dict[str, Value] = {} if self.settings.max_epsilon is None else {"max_epsilon": self.settings.max_epsilon}
        return {"at_end": number(statement.epsilon), **facts, **budget, "statement": str(statement)}

    def values(self, state: FederationState, following: FederationState) -> dict[str, Value]:
        """What the event of a round says: ε so far, and RDP's bound for each client who spent something in it."""
        values: dict[str, Value] = {"epsilon": number(self.epsilon(following))}
        if self.clients is not None:
            histories = self._histories(following)
            values["client_epsilons_rdp"] = [
                [client, number(self._rdp(histories[client]), 4)] for client in sorted(self._charged(state, following))
            ]
        return values

    def afford(self, state: FederationState, ids: Sequence[int]) -> None:
        """Nothing, if these clients may train in one more round.

        Raises: PrivacyBudgetExhausted if the budget does not last.
        """
        if self.settings.max_epsilon is None:
            return
        following = self._largest(self._histories(self.charged(state, [self._receipt(ids)])).values())
        if following > self.settings.max_epsilon:
            raise PrivacyBudgetExhausted(
                f"The privacy budget is spent after round {state.round} of {self.rounds}: another would pass "
                f"privacy.max_epsilon = {self.settings.max_epsilon:g}."
            )

    def receipt(self, state: FederationState, following: FederationState) -> dict[str, Any]:
        """What a round has spent, for the ledger."""
        return {"round": state.round, **self._receipt(sorted(self._charged(state, following)))}

    def charged(self, state: FederationState, receipts: Sequence[Mapping[str, Any]]) -> FederationState:
        """The state with these receipts on the books of those who spent."""
        if self.clients is None:
            return replace(state, rule={**state.rule, "noised": state.rule["noised"] + len(receipts)})
        clients: dict[str, Tensor] = dict(state.clients)
        for receipt in receipts:
            for client in receipt["clients"]:
                name = f"{client}.spent"
                clients[name] = added(clients.get(name), self.clients[client])
        return replace(state, clients=clients)

    def _receipt(self, ids: Sequence[int]) -> dict[str, Any]:
        return {} if self.clients is None else {"clients": [client for client in ids if client in self.clients]}

    def _charged(self, state: FederationState, following: FederationState) -> Set[int]:
        before, after = _spent(state.clients), _spent(following.clients)
        return {client for client, spent in after.items() if spent != before.get(client)}

    def _histories(self, state: FederationState) -> dict[int, History]:
        if self.clients is None:
            return {-1: (_times(self.mechanism.spending, int(state.rule["noised"])),)}
        return _spent(state.clients)

    def _after(self, rounds: int) -> Iterator[History]:
        spending = [self.mechanism.spending] if self.clients is None else set(self.clients.values())
        return ((_times(one, rounds),) for one in spending)

    def _largest(self, histories: Iterable[History]) -> float:
        return largest_epsilon(histories, self.settings.delta, **self._counting(self.settings.accountant))

    def _rdp(self, history: History) -> float:
        return composed_epsilon(history, self.settings.delta, **self._counting("rdp"))

    def _counting(self, accountant: AccountantName) -> Counting:
        mechanism = self.mechanism
        return {"sampling": mechanism.sampling, "neighbours": mechanism.neighbours, "accountant": accountant}


def _times(spending: Spending, rounds: int) -> Spending:
    return replace(spending, steps=spending.steps * rounds)


def _spent(clients: State) -> dict[int, History]:
    """What each client remembers to have spent, by roster int."""
    return {int(name.removesuffix(".spent")): spendings(spent) for name, spent in clients.items() if name.endswith(".spent")}


def no_proof(experiment: Experiment) -> str:
    """Why the section [privacy] is refused: nothing here has a proof."""
    return (
        f"[privacy] is set, but neither the rule {experiment.aggregator.kind} nor the training {experiment.training.kind} is "
        "differentially private: noise after a rule that chooses or weighs rows by their content hides no client, because one "
        "row can move the result by more than its own length. Take the rule central_dp, or the training dpsgd or local_dp, "
        "with noise_multiplier > 0."
    )
