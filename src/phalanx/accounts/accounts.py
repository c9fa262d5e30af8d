"""What a run promises in terms of privacy, what it has spent of that, and whether it may go on."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from phalanx.accounts.books import Books, History, RuleBooks, TrainerBooks
from phalanx.config import Experiment, PrivacySettings
from phalanx.core.capabilities import Capability
from phalanx.core.errors import ConfigError, PrivacyBudgetExhausted
from phalanx.core.events import Value
from phalanx.core.privacy import Mechanism
from phalanx.privacy import PrivacyStatement
from phalanx.privacy.accountants import LARGEST, AccountantName
from phalanx.privacy.accounting import Counting, composed_epsilon, largest_epsilon
from phalanx.privacy.statement import rounded_up
from phalanx.server.state import FederationState


@dataclass(frozen=True)
class Accounts:
    """The accounts of a run in which one component is private."""

    books: Books
    settings: PrivacySettings
    rounds: int

    @classmethod
    def of(cls, experiment: Experiment, sample_counts: Tensor) -> Self | None:
        """The accounts of this run; None if nothing in it is private.

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
            raise ConfigError(two_claims(experiment))
        check_no_other_way(experiment, is_central=rule is not None)
        books: Books
        if rule is not None:
            books = RuleBooks(rule)
        else:
            spending = {client: mechanism.spending for client, mechanism in by_trainer.items()}
            books = TrainerBooks(next(iter(by_trainer.values())), spending)
        return cls.opened(books, settings, experiment.run.rounds, len(sizes) if rule is not None else max(sizes))

    @classmethod
    def opened(cls, books: Books, settings: PrivacySettings, rounds: int, units: int) -> Self:
        """The accounts of what hides each of at most so many `units`: all clients, or one client's examples.

        Raises: ConfigError in one sentence for a claim that could not be kept for a single round.
        """
        if settings.delta * units >= 1:
            raise ConfigError(
                f"privacy.delta = {settings.delta:g} allows to give away one {books.mechanism.unit} of {units} altogether; "
                f"set it below {1 / units:g}."
            )
        accounts = cls(books, settings, rounds)
        most = LARGEST if settings.max_epsilon is None else settings.max_epsilon
        first = accounts._largest(books.of_rounds(1))  # which also refuses sampling that the accountant cannot count
        if first > most:
            raise ConfigError(
                f"The first round alone would spend more than ε = {most:g}: {accounts.statement(first)}. Add noise."
            )
        return accounts

    @property
    def mechanism(self) -> Mechanism:
        """What a round promises."""
        return self.books.mechanism

    def statement(self, epsilon: float) -> PrivacyStatement:
        """What an ε of this run means."""
        return PrivacyStatement.of(self.mechanism, epsilon, delta=self.settings.delta, accountant=self.settings.accountant)

    def epsilon(self, state: FederationState) -> float:
        """The largest ε of anyone whom the run hides, so far."""
        return self._largest(self.books.so_far(state))

    def at_end(self, state: FederationState) -> float:
        """What the whole run spends at most: so far, and in the rounds that are left, of whoever is there in all of them."""
        return self._largest(self.books.after(state, self.rounds - state.round))

    def event(self, state: FederationState) -> dict[str, Value]:
        """The values of the event that comes before the first round, and when a run goes on that has paid twice."""
        statement = self.statement(self.at_end(state))
        budget: dict[str, Value] = {} if self.settings.max_epsilon is None else {"max_epsilon": self.settings.max_epsilon}
        ends = {"epsilon": rounded_up(self.epsilon(state)), "at_end": rounded_up(statement.epsilon)}
        return {**ends, **statement.facts(), **budget, "statement": str(statement)}

    def result(self, state: FederationState) -> dict[str, Any]:
        """What result.json says: the statement, as a sentence and in its parts."""
        statement = self.statement(self.epsilon(state))
        return {**statement.facts(), "epsilon": rounded_up(statement.epsilon), "statement": str(statement)}

    def values(self, state: FederationState, following: FederationState) -> dict[str, Value]:
        """What the event of a round says: ε so far, and RDP's bound for each client who spent something in it."""
        values: dict[str, Value] = {"epsilon": rounded_up(self.epsilon(following))}
        if (paid := self.books.by_client(state, following)) is not None:
            values["client_epsilons_rdp"] = [[client, rounded_up(self._rdp(spent), 4)] for client, spent in paid.items()]
        return values

    def afford(self, state: FederationState, ids: Sequence[int]) -> None:
        """Nothing, if these clients may train in one more round.

        Raises: PrivacyBudgetExhausted if the budget does not last.
        """
        most = self.settings.max_epsilon
        if most is not None and self.epsilon(self.charged(state, [self.books.receipt(ids)])) > most:
            raise PrivacyBudgetExhausted(
                f"The privacy budget is spent after round {state.round} of {self.rounds}: another would pass "
                f"privacy.max_epsilon, {self.statement(most)}."
            )

    def receipt(self, state: FederationState, following: FederationState) -> dict[str, Any]:
        """What a round has spent, for the ledger."""
        return {"round": state.round, **self.books.receipt(list(self.books.by_client(state, following) or ()))}

    def charged(self, state: FederationState, receipts: Sequence[Mapping[str, Any]]) -> FederationState:
        """The state with these receipts on the books of those who spent."""
        return self.books.charged(state, receipts)

    def _largest(self, histories: AbstractSet[History]) -> float:
        return largest_epsilon(histories, self.settings.delta, **self._counting(self.settings.accountant))

    def _rdp(self, history: History) -> float:
        return composed_epsilon(history, self.settings.delta, **self._counting("rdp"))

    def _counting(self, accountant: AccountantName) -> Counting:
        mechanism = self.mechanism
        return {"sampling": mechanism.sampling, "neighbours": mechanism.neighbours, "accountant": accountant}


def check_no_other_way(experiment: Experiment, *, is_central: bool) -> None:
    """Refuse what lets samples into the model beside the private component. `is_central`: it is the rule.

    Raises: ConfigError.
    """
    data, poison = experiment.data, experiment.adversary.data
    update, who = experiment.adversary.update, experiment.adversary.who
    if data.measures_training_samples:
        raise ConfigError(
            f"{data.kind} is normalised with numbers of all training samples, which have no noise; no privacy can be claimed. "
            "Set data.normalize = false."
        )
    if poison is not None and poison.is_fitted:
        raise ConfigError(
            f"{poison.kind} is fitted to everyone's training samples, which no noise hides; no privacy can be claimed. "
            "Take a trigger that is given."
        )
    if is_central and update is not None and update.is_omniscient:
        raise ConfigError(
            f"{update.kind} sends what it makes of the honest rows, so one client can move the sum by more than the clip norm, "
            f"and {experiment.aggregator.kind} hides nobody. Take an attack that knows its own rows only."
        )
    if is_central and who is not None and Capability.ROSTER in who.needs:
        raise ConfigError(
            f"{who.kind} draws attackers among a round's clients, so one client more changes who attacks, "
            f"and {experiment.aggregator.kind} hides nobody. Take attackers whom nobody else decides, as fixed_clients."
        )


def two_claims(experiment: Experiment) -> str:
    """Why a private rule over private training is refused."""
    return (
        f"The rule {experiment.aggregator.kind} and the training {experiment.training.kind} would both make a privacy "
        "claim, and a run states one; choose which."
    )


def no_proof(experiment: Experiment) -> str:
    """Why the section [privacy] is refused: nothing here has a proof."""
    return (
        f"[privacy] is set, but neither the rule {experiment.aggregator.kind} nor the training {experiment.training.kind} is "
        "differentially private: noise after a rule that chooses or weighs rows by their content hides no client, because one "
        "row can move the result by more than its own length. Take the rule central_dp, or the training dpsgd or local_dp, "
        "with noise_multiplier > 0."
    )
