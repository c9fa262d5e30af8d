"""Who is who: a node is known by its key, and has the same number in every round and after every restart."""

import hashlib
from collections.abc import Sequence

from flwr.serverapp import Grid


class Roster:
    """Durable ids of all nodes ever seen; a client's number is its place in `ids`.

    A node's durable id is the hash of its public key. Without node authentication there is none, and its node id stands in:
    then whoever comes back under a new id is a new client.
    """

    def __init__(self, ids: Sequence[str] = ()) -> None:
        self._numbers = {durable: number for number, durable in enumerate(ids)}

    @property
    def ids(self) -> list[str]:
        """The durable ids, by number."""
        return list(self._numbers)

    def online(self, grid: Grid) -> dict[int, int]:
        """The clients that are there now, in ascending order, with the node ids to reach them by. New ones get a number."""
        nodes = sorted((node.node_id, bytes(node.public_key)) for node in grid.get_nodes())
        there: dict[int, int] = {}
        for node_id, key in nodes:
            durable = hashlib.sha256(key).hexdigest()[:16] if key else f"node-{node_id}"
            there.setdefault(self._numbers.setdefault(durable, len(self._numbers)), node_id)
        return dict(sorted(there.items()))
