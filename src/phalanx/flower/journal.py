"""A federation's folder: what a new run goes on from after the server died, and what every round said of itself.

checkpoint/     the newest two states (safetensors, sealed)     events.jsonl    one JSON object an event
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phalanx.core.errors import CheckpointError
from phalanx.core.events import Event
from phalanx.server.checkpoint import Checkpoint, newest, save
from phalanx.server.lock import locked
from phalanx.server.state import FederationState


@dataclass(frozen=True)
class Standing:
    """Where a federation stands: its state, who is who, how often each node's answer was dropped, and JSON beside."""

    state: FederationState
    ids: list[str]
    offences: dict[str, dict[str, int]] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)


class Journal:
    """A sink for events and a place for checkpoints. `facts` are what must not change between a run and its sequel.

    Raises: CheckpointError if the folder cannot be used, or another process uses it.
    """

    def __init__(self, folder: Path, facts: dict[str, str]) -> None:
        self.folder, self.facts = folder, facts
        self._lock = locked(folder, "federation's folder")
        try:
            (folder / "checkpoint").mkdir(parents=True, exist_ok=True)
            self._events = (folder / "events.jsonl").open("ab")
        except OSError as error:
            raise CheckpointError(f"The folder {folder} cannot be used: {error.strerror}.") from None

    def emit(self, event: Event) -> None:
        """Append an event."""
        try:
            self._events.write(json.dumps(event.as_dict(), allow_nan=False).encode() + b"\n")
            self._events.flush()
        except OSError as error:
            raise CheckpointError(f"The events in {self.folder} cannot be written: {error.strerror}.") from None

    def save(self, standing: Standing) -> None:
        """Write a checkpoint, whole or not at all."""
        try:
            os.fsync(self._events.fileno())
        except OSError as error:
            raise CheckpointError(f"The events in {self.folder} cannot be written: {error.strerror}.") from None
        parts = {"nodes": standing.ids, "offences": standing.offences, "told": standing.told}
        told = {name: json.dumps(part) for name, part in parts.items()}
        facts = {**self.facts, **told, "events": str(self._events.tell())}
        save(self.folder / "checkpoint", Checkpoint(standing.state.round, standing.state.tensors(), facts))

    def close(self) -> None:
        """Let go of the folder; another process may have it."""
        self._events.close()
        self._lock.close()

    def restore(self) -> tuple[Standing | None, list[str]]:
        """Where to go on (None: from the start), and a sentence for each damaged checkpoint; events are cut to it.

        Raises: CheckpointError if all checkpoints are damaged, or of another federation.
        """
        checkpoint, remarks = newest(self.folder / "checkpoint", self.facts)
        self._events.truncate(int(checkpoint.facts["events"]) if checkpoint else 0)
        self._events.seek(0, os.SEEK_END)
        if checkpoint is None:
            return None, remarks
        state = FederationState.from_tensors(checkpoint.round, checkpoint.tensors)
        nodes, offences, told = (json.loads(checkpoint.facts[name]) for name in ("nodes", "offences", "told"))
        return Standing(state, nodes, offences, told), remarks
