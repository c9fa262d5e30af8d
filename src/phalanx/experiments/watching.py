"""What a run's trackers are told: who can follow it, and what it is."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from phalanx.config import Experiment
from phalanx.core.events import Event, RunFacts, SearchSink, Sink
from phalanx.core.leak import Watch
from phalanx.experiments.folder import RunFolder
from phalanx.tracking import follow


def check_trackers(experiment: Experiment, path: Path | None) -> None:
    """Refuse trackers that cannot follow a run in this folder; a finished run is only read back, and needs none.

    Raises: ConfigError.
    """
    if path is not None and (path / "result.json").exists():
        return
    for tracker in experiment.tracking:
        tracker.check(path)


def watched(experiment: Experiment, folder: RunFolder | None) -> AbstractContextManager[list[Sink]]:
    """The sinks of the experiment's trackers, open inside: a run that goes on is told to them with its events so far.

    Raises: ConfigError if one cannot start.
    """
    digest = experiment.digest()
    # Not what the trackers are: an address may hold a password.
    config = {name: value for name, value in experiment.to_table().items() if name != "tracking"}
    return follow(
        experiment.tracking,
        RunFacts(
            name=folder.path.resolve().name if folder else f"{experiment.aggregator.kind}-{digest}",
            folder=folder.path if folder else None,
            config=config,
            tags={"phalanx.experiment": digest, "phalanx.version": version("phalanx")},
            events=[Event.from_dict(event) for event in folder.read_events()] if folder and experiment.tracking else [],
        ),
    )


def told_of_searches(listeners: Sequence[Sink]) -> Watch:
    """What tells those among the listeners who want to know how far a search is."""
    watchers = [listener for listener in listeners if isinstance(listener, SearchSink)]

    def tell(made: int, most: int, lowest: float) -> None:
        for watcher in watchers:
            watcher.searched(made, most, lowest)

    return tell


def end(round: int, final: Mapping[str, Any]) -> Event:
    """The last event, for those who watch: the final row. The run folder has it in result.json."""
    return Event("end", round, {"final": {name: value for name, value in final.items() if name not in ("event", "round")}})
