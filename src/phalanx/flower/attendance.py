"""`Attendance`: which nodes are there, and how long a round waits for enough of them."""

import time

from flwr.serverapp import Grid

from phalanx.core.errors import ConfigError, FederationError
from phalanx.flower.exchange import POLL_SECONDS
from phalanx.flower.roster import Roster
from phalanx.flower.telling import LOG


class Attendance:
    """The first round waits for `min_nodes`, later ones go on with whoever is there, down to the `quorum`.

    `wait_seconds` may be `inf`.

    Raises: ConfigError for numbers that cannot be.
    """

    def __init__(self, *, min_nodes: int, quorum: int, wait_seconds: float) -> None:
        has_counts = type(min_nodes) is type(quorum) is int and min_nodes >= quorum >= 1
        if not (has_counts and isinstance(wait_seconds, int | float) and wait_seconds >= 0):  # nan is not, either
            raise ConfigError(
                "A federation needs whole numbers min_nodes >= quorum >= 1 and wait_seconds >= 0; "
                f"got min_nodes={min_nodes!r}, quorum={quorum!r}, wait_seconds={wait_seconds!r}."
            )
        self.min_nodes, self.quorum, self.wait_seconds = min_nodes, quorum, wait_seconds
        self.roster = Roster()
        self.has_begun = False

    def refuse_quorum_above(self, largest: int) -> None:
        """A quorum that no round can reach would keep the model for ever."""
        if self.quorum > largest:
            raise ConfigError(
                f"No round can reach a quorum of {self.quorum}: of {self.min_nodes} nodes at most {largest} take part. "
                "Lower the quorum, or sample more nodes."
            )

    def online(self, grid: Grid) -> dict[int, int]:
        """The clients that are there, in ascending order, with the node ids to reach them by.

        Raises: FederationError if too few come.
        """
        needed = self.quorum if self.has_begun else self.min_nodes
        end = time.monotonic() + self.wait_seconds
        while (there := len(list(grid.get_node_ids()))) < needed:
            left = end - time.monotonic()
            if left <= 0:
                raise FederationError(
                    f"{there} nodes are there after {self.wait_seconds:g} s, {needed} are needed. Start more nodes, "
                    "or lower min_nodes and quorum."
                )
            LOG.info("\tWaiting for nodes: %d of %d are there.", there, needed)
            time.sleep(min(POLL_SECONDS, left))
        self.has_begun = True
        # Only now do new nodes get a number: those that the first round waited for are counted in one order, however they came.
        return self.roster.online(grid)
