"""`RunRecord`: a run folder as a value, read without running anything: no data, no model, one pass over its events."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from phalanx.config import Experiment
from phalanx.core.errors import CheckpointError, ConfigError
from phalanx.core.json_files import read_json
from phalanx.server.event_file import parse_event

EventDict = dict[str, Any]
SWEEP_FILE = "sweep.toml"
SHARES = ("accuracy", "attack_success", "base_rate")


@dataclass(frozen=True)
class RunRecord:
    """What a run folder holds, whether the run is finished, stopped, or still going on.

    `result` is None until the run is finished; `manifest` is empty until its first round has begun.
    """

    folder: Path
    experiment: Experiment
    manifest: Mapping[str, Any]
    result: Mapping[str, Any] | None

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read the folder of a run.

        Raises: CheckpointError in one sentence if there is no run, it is damaged, or another version's config does not fit.
        """
        folder = Path(folder)
        manifest, result = (_optional_json(folder / f"{name}.json") for name in ("manifest", "result"))
        if not isinstance((manifest or {}).get("versions", {}), dict):
            raise CheckpointError(f"{folder / 'manifest.json'} is damaged; delete {folder} to run it again.")
        experiment = _experiment(folder, manifest or {})
        if result is not None and (
            result.get("experiment") != experiment.digest() or not isinstance(result.get("final"), dict)
        ):
            raise CheckpointError(f"The result in {folder} is not this run's; delete result.json and resume the run.")
        if result is not None and not all(is_share(result["final"].get(name)) for name in SHARES):
            raise CheckpointError(f"The result in {folder} is damaged; delete result.json and resume the run.")
        return cls(folder, experiment, manifest or {}, result)

    @cached_property
    def events(self) -> Sequence[EventDict]:
        """All events in order; a last line that is still being written is left out.

        Raises: CheckpointError if another line is damaged.
        """
        path = self.folder / "events.jsonl"
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
        # Whole lines end in a newline, so what comes after the last one is empty or unfinished.
        try:
            return tuple(parse_event(line) for line in lines[:-1])
        except ValueError:
            raise CheckpointError(f"{path} is damaged; delete {self.folder} to run it again.") from None

    @cached_property
    def rounds(self) -> Sequence[EventDict]:
        """The events of kind "round"."""
        return tuple(event for event in self.events if event["event"] == "round")

    @cached_property
    def evaluations(self) -> Sequence[EventDict]:
        """The events of kind "evaluation"."""
        return tuple(event for event in self.events if event["event"] == "evaluation")

    @property
    def is_finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.result is not None

    @property
    def final(self) -> Mapping[str, Any]:
        """The last evaluation's row: of the result if there is one, else the newest in the events (empty before the first)."""
        if self.result is not None:
            final: Mapping[str, Any] = self.result["final"]
            return final
        return self.evaluations[-1] if self.evaluations else {}

    @property
    def gap(self) -> str | None:
        """A sentence where the run is finished, but its events do not reach the end; None where they do."""
        last = self.evaluations[-1]["round"] if self.evaluations else -1
        if self.result is None or last == self.result["final"].get("round"):
            return None
        rounds = self.experiment.run.rounds
        return f"{self.folder / 'events.jsonl'} ends at round {last + 1} of {rounds}; the final numbers are from result.json."

    @property
    def version(self) -> str:
        """The version of Phalanx that made it."""
        return str(self.manifest.get("versions", {}).get("phalanx", "unknown"))


def experiment_of(folder: Path) -> Experiment:
    """The experiment that a run folder holds, to go on with.

    Raises: CheckpointError if it is no run folder, its config is damaged, or not the one that its run was started with.
    """
    manifest = _optional_json(folder / "manifest.json") or {}
    experiment = _experiment(folder, manifest)
    if manifest.get("experiment") not in (None, experiment.digest()):
        raise CheckpointError(f"The config in {folder} is not the one that its run was started with; put that back to go on.")
    return experiment


def _no_run(folder: Path) -> str:
    """What a path is that is no run folder, and what to do with it."""
    if not folder.exists():
        return f"There is no folder {folder}."
    if folder.is_file():
        return f"{folder} is a file, not a run folder; an experiment's file is run with: phalanx run {shlex.quote(str(folder))}"
    if (folder / SWEEP_FILE).exists():
        return f"{folder} is a sweep's folder; go on with: phalanx sweep {shlex.quote(str(folder / SWEEP_FILE))}"
    return f"{folder} is not a run folder: it has no config.toml."


def _experiment(folder: Path, manifest: Mapping[str, Any]) -> Experiment:
    config = folder / "config.toml"
    if not config.exists():
        raise CheckpointError(_no_run(folder))
    try:
        return Experiment.load(config)
    except ConfigError as error:
        made, here = manifest.get("versions", {}).get("phalanx"), version("phalanx")
        if made in (None, here):
            raise CheckpointError(f"The config of a run is damaged: {error}") from None
        raise CheckpointError(f"{folder} was made by Phalanx {made}, this is {here}: {error}") from None


def is_share(value: object) -> bool:
    """Whether this may stand for one of SHARES: a number from 0 to 1, or None for what was not measured."""
    return value is None or (isinstance(value, int | float) and 0 <= value <= 1)


def _optional_json(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.exists() else None
