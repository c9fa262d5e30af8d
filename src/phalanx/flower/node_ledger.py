"""What a node has spent of its privacy, and where it remembers that: in Flower's memory of a run, or in a folder of its own."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flwr.app import Context

from phalanx.core.privacy import Spending, added, spendings
from phalanx.flower.client import recalled, remember
from phalanx.server.ledger import Ledger
from phalanx.server.lock import locked

SPENT = "phalanx.spent"


class NodeLedger(ABC):
    """`spent` is what this node's answers have cost so far."""

    spent: tuple[Spending, ...]

    @abstractmethod
    def charge(self, one: Spending) -> None:
        """Write an answer's price down. Raises: CheckpointError if it is not on record."""


@contextmanager
def opened(folder: str | Path | None, context: Context) -> Iterator[NodeLedger]:
    """This node's ledger. On the disk it is nobody else's meanwhile: two apps at once could both spend the last of a budget.

    Raises: CheckpointError if another process holds it, or what was spent cannot be known any more.
    """
    if folder is None:
        yield _InState(context)
        return
    with locked(Path(folder), "privacy ledger"):
        yield _OnDisk(Path(folder))


class _InState(NodeLedger):
    def __init__(self, context: Context) -> None:
        self._context = context
        # Read now: whatever the app does with its state, what was spent before it is not forgotten.
        self._rows = recalled(context, SPENT).get("rows")
        self.spent = () if self._rows is None else spendings(self._rows)

    def charge(self, one: Spending) -> None:
        remember(self._context, SPENT, {"rows": added(self._rows, one)})


class _OnDisk(NodeLedger):
    def __init__(self, folder: Path) -> None:
        self._ledger = Ledger(folder / "privacy.jsonl")
        self.spent = tuple(Spending(receipt["noise_multiplier"], 1.0, 1) for receipt in self._ledger.since(0))

    def charge(self, one: Spending) -> None:
        self._ledger.write({"noise_multiplier": one.noise_multiplier})
