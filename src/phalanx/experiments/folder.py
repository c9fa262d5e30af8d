"""A run's folder: config, manifest, events, checkpoints, result. Nothing in it is ever half-written or silently replaced.

config.toml      the complete experiment            events.jsonl     one JSON object an event
manifest.json    versions, platform, data digests   checkpoint/      the newest two states
result.json      written last                       model.safetensors  the final model
tracking/        where trackers stand, if there are any
privacy.jsonl    what each round of a private run spent
inversion/       what an inversion attack found, a PNG a round
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from safetensors import SafetensorError
from safetensors.torch import load as parse
from torch import nn

from phalanx.config import Experiment
from phalanx.core.errors import CheckpointError
from phalanx.core.events import Event
from phalanx.core.files import make_subfolder, write_atomically
from phalanx.core.json_files import read_json, to_json
from phalanx.experiments.manifest import manifest
from phalanx.experiments.sheets import encoded, sheet_path
from phalanx.models import model_sha256
from phalanx.server.checkpoint import Checkpoint, newest, save, serialised
from phalanx.server.event_file import EventFile, read_events
from phalanx.server.ledger import Ledger
from phalanx.server.lock import locked
from phalanx.simulation import FederationState, Pictures, Simulation


class Restored(NamedTuple):
    """Where a run goes on: its state (None: at the start), a sentence for each damaged checkpoint, what was spent since."""

    state: FederationState | None
    remarks: list[str]
    receipts: list[dict[str, Any]]


class RunFolder:
    """An open run folder, locked against other processes. It is a sink: `emit` appends to events.jsonl.

    Raises: CheckpointError if the folder holds another experiment, is in use, cannot be written, or has links in it where
    a run writes.
    """

    def __init__(self, path: Path, experiment: Experiment) -> None:
        self.path = path
        self.experiment = experiment
        self.facts = {"experiment": experiment.digest()}
        self.ledger = Ledger(path / "privacy.jsonl")

    def __enter__(self) -> Self:
        self._lock = locked(self.path, "run folder")
        try:
            make_subfolder(self.path / "checkpoint")
            self._claim()
            self._events = EventFile(self.events_path)
        except OSError as error:
            self._lock.close()
            raise CheckpointError(f"The run folder {self.path} cannot be used: {error.strerror}.") from None
        except CheckpointError:
            self._lock.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._events.close()
        self._lock.close()

    def _claim(self) -> None:
        config = self.path / "config.toml"
        if config.exists():
            if Experiment.load(config).digest() != self.experiment.digest():
                raise CheckpointError(f"The run folder {self.path} holds another experiment; choose another with --out.")
        elif self.events_path.exists() or self.is_finished:
            raise CheckpointError(
                f"The folder {self.path} holds files of a run, but no config.toml; choose another with --out."
            )
        else:
            write_atomically(config, self.experiment.to_toml().encode())

    @property
    def events_path(self) -> Path:
        """Where the events are."""
        return self.path / "events.jsonl"

    @property
    def is_finished(self) -> bool:
        """Whether the result has been written."""
        return (self.path / "result.json").exists()

    def describe(self, simulation: Simulation, *, is_fresh: bool) -> list[str]:
        """Write manifest.json or, in a run that goes on, compare with it: a remark where bits may now differ.

        Raises: CheckpointError if the run was started with other data or another partition.
        """
        path, current = self.path / "manifest.json", manifest(simulation)
        if is_fresh or not path.exists():
            write_atomically(path, to_json(current))
            return []
        started = read_json(path)
        for name in ("data", "partition"):
            if started.get(name) != current[name]:
                raise CheckpointError(f"The run in {self.path} was started with another {name}; it cannot go on with this one.")
        return [
            f"Started with {name} {started.get(name)}, now {current[name]}: the last bits may differ."
            for name in ("device", "versions")
            if started.get(name) != current[name]
        ]

    def emit(self, event: Event) -> None:
        """Append an event."""
        self._events.emit(event)

    def position(self) -> dict[str, str]:
        """How long events.jsonl and the ledger are, in bytes, as a checkpoint says it."""
        return {"events": str(self._events.position()), "ledger": str(self.ledger.position())}

    def save(self, state: FederationState, position: Mapping[str, str]) -> None:
        """Write a checkpoint of `state`, whose events and receipts end at `position`."""
        self._events.sync()
        facts = {**self.facts, **position}
        save(self.path / "checkpoint", Checkpoint(state.round, state.tensors(), facts))

    def restore(self) -> Restored:
        """Where to go on; events are cut to it, receipts never."""
        found, remarks = newest(self.path / "checkpoint", self.facts, _restored)
        state, events, ledger = found or (None, 0, 0)
        self._events.cut(events)
        return Restored(state, remarks, self.ledger.since(ledger))

    def keep(self, pictures: Pictures) -> None:
        """Write what an inversion attack found beside the truth."""
        make_subfolder(self.path / "inversion")
        write_atomically(sheet_path(self.path, pictures.round), encoded(pictures.images))

    def finish(self, module: nn.Module, result: Mapping[str, Any]) -> None:
        """Write the final model, then the result."""
        write_atomically(self.path / "model.safetensors", serialised(module.state_dict()))
        write_atomically(self.path / "result.json", to_json(result))

    def read_events(self) -> list[dict[str, Any]]:
        """All events so far, in order.

        Raises: CheckpointError if the file is damaged.
        """
        return read_events(self.events_path)

    def read_result(self, module: nn.Module) -> dict[str, Any]:
        """The result of a finished run, its model loaded into `module`.

        Raises: CheckpointError if result and model are not whole or not this experiment's.
        """
        result = read_json(self.path / "result.json")
        try:
            module.load_state_dict(parse((self.path / "model.safetensors").read_bytes()))
        except (OSError, RuntimeError, SafetensorError):
            raise CheckpointError(f"The model in {self.path} is damaged; delete result.json and resume the run.") from None
        if result.get("experiment") != self.experiment.digest() or result.get("model_sha256") != model_sha256(module):
            raise CheckpointError(f"The result in {self.path} is not this run's; delete result.json and resume the run.")
        return result


def _restored(checkpoint: Checkpoint) -> tuple[FederationState, int, int]:
    """The state, and where its events and receipts end."""
    state = FederationState.from_tensors(checkpoint.round, checkpoint.tensors)
    return state, checkpoint.position("events"), checkpoint.position("ledger") if "ledger" in checkpoint.facts else 0
