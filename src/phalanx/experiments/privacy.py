"""What a private run says of its spending: before it begins, in its result and its folder, and when it goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import inf
from typing import Any

from phalanx.core.events import Event, Sink
from phalanx.experiments.record import RunRecord
from phalanx.privacy import PrivacyStatement
from phalanx.server.events import number
from phalanx.server.state import FederationState
from phalanx.simulation.accounts import Accounts


def announce(accounts: Accounts, state: FederationState, listeners: Sequence[Sink]) -> None:
    """Tell what the run will have spent in the end."""
    event = Event("privacy", state.round, accounts.beginning())
    for listener in listeners:
        listener.emit(event)


def spent(accounts: Accounts, state: FederationState) -> dict[str, Any]:
    """What result.json says: the statement, as a sentence and in its parts."""
    statement = accounts.statement(accounts.epsilon(state))
    return {**asdict(statement), "epsilon": number(statement.epsilon), "statement": str(statement)}


def stated(record: RunRecord) -> dict[str, Any] | None:
    """What the run in a folder has spent so far, with all that the number means; None if nothing in it is private."""
    begun = next((event for event in record.events if event["event"] == "privacy"), None)
    if begun is None:
        return None
    epsilon = record.rounds[-1]["epsilon"] if record.rounds else 0.0
    facts = {name: begun[name] for name in ("delta", "unit", "neighbours", "sampling", "accountant", "trusted")}
    statement = PrivacyStatement(epsilon=inf if epsilon is None else epsilon, **facts)
    return {"epsilon": epsilon, **facts, "statement": str(statement)}


def recharged(accounts: Accounts, state: FederationState, receipts: Sequence[Mapping[str, Any]]) -> FederationState:
    """A state to go on from, with what was spent after it: other noise was given away then, and is not given back.

    Noise from the seed is the same again, so nothing is added for it.
    """
    return state if accounts.mechanism.is_reproducible else accounts.charged(state, receipts)
