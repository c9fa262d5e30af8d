"""What attackers share who hide among the honest rows: they collude, and know those rows or guess them from their own."""

from abc import ABC
from dataclasses import KW_ONLY
from typing import ClassVar, Literal

from phalanx.core.capabilities import Capability
from phalanx.core.families import UpdateAttack


class Colluding(UpdateAttack, ABC):
    """Attackers who see each other's rows, and by `knowledge` everyone else's; `AttackView.reference` gives them."""

    _: KW_ONLY
    knowledge: Literal["omniscient", "own"] = "omniscient"
    """Whose rows count as honest: everyone else's, or the ones that the attackers would have sent if honest."""

    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.COLLUSION})

    @property
    def is_omniscient(self) -> bool:
        """Whether the attackers see the honest clients' rows."""
        return self.knowledge == "omniscient"
