"""What a rule or an attack may need of a federation. A need that is not met is an error before round 0, never a no-op."""

from collections.abc import Iterable
from enum import Enum

from phalanx.core.errors import CapabilityError


class Capability(Enum):
    """One thing that an engine may or may not be able to give."""

    INDIVIDUAL_UPDATES = "each client's own update (secure aggregation hides them)"
    STABLE_IDS = "a durable identity for every client across rounds"
    ROOT_DATA = "a trusted root data set at the server ([root] size > 0)"
    MODEL = "the model itself, not only its parameters"
    ROSTER = "a node to know who else takes part in its round"
    COLLUSION = "attackers who see each other's updates"


def require(who: str, needs: Iterable[Capability], available: Iterable[Capability]) -> None:
    """Raise `CapabilityError` naming the first need of `who` that is not in `available`."""
    given = frozenset(available)
    for need in sorted(needs, key=lambda capability: capability.name):
        if need not in given:
            raise CapabilityError(f"{who} needs {need.value}; this federation does not have it.")
