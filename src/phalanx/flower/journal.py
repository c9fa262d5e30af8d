"""A federation's folder: what a new run goes on from after the server died, and what every round said of itself.

checkpoint/     the newest two states (safetensors, sealed)     events.jsonl    one JSON object an event
privacy.jsonl   what each round of a private rule spends        federation.json whose the events are before the first state
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from phalanx.core.errors import CheckpointError
from phalanx.core.events import Event
from phalanx.core.files import make_subfolder, write_atomically
from phalanx.core.json_files import read_json, to_json
from phalanx.server.checkpoint import Checkpoint, newest, save
from phalanx.server.event_file import EventFile
from phalanx.server.ledger import Ledger
from phalanx.server.lock import locked
from phalanx.server.state import FederationState


@dataclass(frozen=True)
class Standing:
    """Where a federation stands: its state, who is who, how often each node's answer was dropped, and JSON beside."""

    state: FederationState
    ids: list[str]
    offences: dict[str, dict[str, int]] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)


class Restored(NamedTuple):
    """Where to go on (None: from the start), what was spent after it, and a sentence for each damaged checkpoint."""

    standing: Standing | None
    receipts: list[dict[str, Any]]
    remarks: list[str]


class Journal:
    """A sink for events and a place for checkpoints. `facts` are what must not change between a run and its sequel.

    Raises: CheckpointError if the folder cannot be used, or another process uses it.
    """

    def __init__(self, folder: Path, facts: dict[str, str]) -> None:
        self.folder, self.facts, self.ledger = folder, facts, Ledger(folder / "privacy.jsonl")
        self._lock = locked(folder, "federation's folder")
        try:
            make_subfolder(folder / "checkpoint")
            self._events = EventFile(folder / "events.jsonl")
        except OSError as error:
            self._lock.close()
            raise CheckpointError(f"The folder {folder} cannot be used: {error.strerror}.") from None
        except CheckpointError:
            self._lock.close()
            raise

    def emit(self, event: Event) -> None:
        """Append an event."""
        self._events.emit(event)

    def save(self, standing: Standing) -> None:
        """Write a checkpoint, whole or not at all."""
        self._events.sync()
        parts = {"nodes": standing.ids, "offences": standing.offences, "told": standing.told}
        told = {name: json.dumps(part) for name, part in parts.items()}
        facts = {**self.facts, **told, "events": str(self._events.position()), "ledger": str(self.ledger.position())}
        save(self.folder / "checkpoint", Checkpoint(standing.state.round, standing.state.tensors(), facts))

    def close(self) -> None:
        """Let go of the folder; another process may have it."""
        self._events.close()
        self._lock.close()

    def restore(self) -> Restored:
        """Where to go on; events are cut to it, receipts are not.

        Raises: CheckpointError if all checkpoints are damaged, or of another federation, or there are events of nobody's.
        """
        found, remarks = newest(self.folder / "checkpoint", self.facts, _restored)
        if found is None:
            self._claim()
        standing, events, ledger = found or (None, 0, 0)
        self._events.cut(events)
        return Restored(standing, self.ledger.since(ledger), remarks)

    def _claim(self) -> None:
        """Before the first checkpoint this alone says whose the events are, which may be emptied to start again."""
        path = self.folder / "federation.json"
        if self._events.position() and not (path.exists() and read_json(path) == self.facts):
            raise CheckpointError(
                f"{self._events.path} holds events, but there is no checkpoint of this federation; choose another folder."
            )
        write_atomically(path, to_json(self.facts))


def _restored(checkpoint: Checkpoint) -> tuple[Standing, int, int]:
    """Where the federation stood, and where its events and receipts ended."""
    state = FederationState.from_tensors(checkpoint.round, checkpoint.tensors)
    nodes, offences, told = (json.loads(checkpoint.facts[name]) for name in ("nodes", "offences", "told"))
    if not (isinstance(nodes, list) and isinstance(offences, dict) and isinstance(told, dict)):
        raise ValueError("no list of nodes, or no table")
    return Standing(state, nodes, offences, told), checkpoint.position("events"), checkpoint.position("ledger")
