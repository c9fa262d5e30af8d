"""What a private run says of its spending: before it begins, in its result and its folder, and when it goes on."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from phalanx.accounts import Accounts
from phalanx.core.errors import CheckpointError
from phalanx.core.events import Event
from phalanx.experiments.record import RunRecord
from phalanx.privacy import PrivacyStatement
from phalanx.server.state import FederationState

_FACTS = ("delta", "unit", "neighbours", "sampling", "accountant", "trusted")


def announced(accounts: Accounts, state: FederationState) -> Event:
    """What the run has spent when it begins or goes on, and will have spent in the end."""
    return Event("privacy", state.round, accounts.event(state))


def stated(record: RunRecord) -> dict[str, Any] | None:
    """What the run in a folder has spent so far, with all that the number means; None if nothing in it is private.

    Raises: CheckpointError if the result says that in another form.
    """
    if record.result and (said := record.result.get("privacy")):
        if not isinstance(said, dict) or not isinstance(said.get("statement"), str):
            raise CheckpointError(f"The result in {record.folder} is damaged; delete result.json and resume the run.")
        return dict(said)
    begun = next((event for event in record.events if event["event"] == "privacy"), None)
    if begun is None:
        return None
    # A run that has paid twice says so in an event of its own when it goes on.
    epsilon = [event.get("epsilon", 0.0) for event in record.events if event["event"] in ("privacy", "round")][-1]
    facts = {name: begun[name] for name in _FACTS}
    statement = PrivacyStatement(epsilon=inf if epsilon is None else epsilon, **facts)
    return {"epsilon": epsilon, **facts, "statement": str(statement)}


def recharged(
    accounts: Accounts, state: FederationState, receipts: Sequence[Mapping[str, Any]], *, is_same_machine: bool
) -> FederationState:
    """A state to go on from, with what was spent after it: another result was given away then, and is not given back.

    Noise from the seed is the same again, and where the rest is, too, down to the last bits, nothing is added for it.
    """
    return state if accounts.mechanism.is_reproducible and is_same_machine else accounts.charged(state, receipts)
