"""`Resumable`: a strategy with a folder, from which a new run goes on where the last one stopped."""

import hashlib
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord

from phalanx.core.events import Sink
from phalanx.flower.attendance import Attendance
from phalanx.flower.defence import Defence
from phalanx.flower.guarded import Guarded
from phalanx.flower.journal import Journal, Standing
from phalanx.flower.roster import Roster
from phalanx.flower.telling import LOG
from phalanx.flower.wire import Wire
from phalanx.server.state import FederationState


class Resumable(Guarded):
    """Events and, after every round, a checkpoint, if there is a folder for them."""

    def __init__(self, defence: Defence, attendance: Attendance, *, sinks: Sequence[Sink], folder: str | Path | None) -> None:
        super().__init__(defence, attendance, sinks=sinks)
        self.folder = None if folder is None else Path(folder)
        self._journal: Journal | None = None
        self._receipts: list[dict[str, Any]] = []
        """What was spent after the checkpoint that this run goes on from."""

    @abstractmethod
    def _settings(self) -> list[Any]:
        """JSON of what two runs must have in common, beside rule, screening, seed and the model's form."""

    def _saved(self, state: FederationState) -> tuple[FederationState, dict[str, Any]]:
        """What a checkpoint is to hold, and JSON of what is no tensor."""
        return state, {}

    def _gone_on(self, state: FederationState, told: Mapping[str, Any]) -> FederationState:
        """The inverse of `_saved`."""
        return state

    def _begun(self, arrays: ArrayRecord, num_rounds: int) -> tuple[ArrayRecord, int]:
        """The checkpoint's model, and its state in the place of a fresh one.

        Raises: CheckpointError if the checkpoints are damaged, or another federation's.
        """
        if self.folder is None:
            return arrays, 0
        self._wire = wire = Wire.of(arrays, self.defence.model)
        self._journal = Journal(self.folder, {"federation": self._digest(wire)})
        self.sinks = (*self.sinks, self._journal)
        standing, self._receipts, remarks = self._journal.restore()
        for remark in remarks:
            LOG.warning("\t%s", remark)
        if standing is None:
            return arrays, 0
        self._state = state = self._gone_on(standing.state, standing.told)
        self.attendance.roster = Roster(standing.ids)
        self.offences = {node: Counter(counts) for node, counts in standing.offences.items()}
        LOG.info("\tGoing on after round %d, from %s.", state.round, self.folder)
        return wire.arrays(state.params, state.buffers), state.round

    def _kept(self) -> None:
        if self._journal is not None and self._state is not None:
            state, told = self._saved(self._state)
            offences = {node: dict(counts) for node, counts in self.offences.items()}
            self._journal.save(Standing(state, self.attendance.roster.ids, offences, told))

    def _closed(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self.sinks = tuple(sink for sink in self.sinks if sink is not self._journal)
            self._journal = None

    def _digest(self, wire: Wire) -> str:
        """What a run that goes on must have in common with the one that stopped."""
        rule, screening = ([part.kind, part.to_table()] for part in (self.defence.aggregator, self.defence.screening))
        forms = {name: [list(form.shape), str(form.dtype)] for name, form in wire.forms.items()}
        facts = [rule, screening, self._settings(), self.defence.seed, forms]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
