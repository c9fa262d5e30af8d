"""`Group`: runs that differ in nothing but the seed. `Subject`: all that one page is about."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from phalanx.config import Experiment
from phalanx.config.settings import RunSettings
from phalanx.core.errors import ConfigError
from phalanx.experiments import RunRecord, SweepRecord, is_sweep
from phalanx.report.checking import check
from phalanx.report.labels import labels


@dataclass(frozen=True)
class Group:
    """Repetitions of one experiment with different seeds. `label` says what sets it apart from the page's other groups.

    `place`: where it stands in a sweep, axis by axis; empty outside of one.
    """

    label: str
    runs: tuple[RunRecord, ...]
    place: Mapping[str, str]

    @property
    def experiment(self) -> Experiment:
        """The experiment of its first run; the others have another seed."""
        return self.runs[0].experiment

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in order."""
        return tuple(run.experiment.run.seed for run in self.runs)

    @property
    def is_finished(self) -> bool:
        """Whether all of its runs are."""
        return all(run.is_finished for run in self.runs)

    @property
    def is_attacked(self) -> bool:
        """Whether the config has attackers that attack in one of its rounds."""
        return self.experiment.adversary.attacks_within(self.experiment.run.rounds)

    def finals(self, metric: str) -> list[float]:
        """The last value of a metric in each run that has one."""
        values = (run.final.get(metric) for run in self.runs)
        return [float(value) for value in values if value is not None]

    @cached_property
    def attackers(self) -> frozenset[int]:
        """Everyone who was malicious in a round of the first run. It is the truth, which no rule has seen."""
        return frozenset(client for event in self.runs[0].rounds for client in event.get("malicious", ()))

    @cached_property
    def knows_attackers(self) -> bool:
        """Whether the first run tells who attacked. A federation of real nodes cannot."""
        return all("malicious" in event for event in self.runs[0].rounds)


@dataclass(frozen=True)
class Subject:
    """What a page is about: groups of runs and, if they are the cells of one, their sweep."""

    groups: tuple[Group, ...]
    sweep: SweepRecord | None = None


def read(folders: Sequence[Path]) -> Subject:
    """The runs in folders, or the sweep in a single one. All of them are read here, so nothing breaks later on.

    Raises: CheckpointError if one is no run or damaged; ConfigError if an experiment comes twice, or a sweep beside others.
    """
    folders = list({folder.resolve(): folder for folder in folders}.values())
    sweeps = [folder for folder in folders if is_sweep(folder)]
    if sweeps and len(folders) > 1:
        raise ConfigError(f"{sweeps[0]} is a sweep's folder: a page is about one sweep, or about runs. Give it alone.")
    if sweeps:
        return of_sweep(SweepRecord.read(sweeps[0]))
    return of_runs([RunRecord.read(folder) for folder in folders])


def of_runs(records: Sequence[RunRecord]) -> Subject:
    """Runs, grouped: those that differ in the seed only belong together.

    Raises: CheckpointError if one is damaged; ConfigError if an experiment comes twice.
    """
    seen: dict[str, RunRecord] = {}
    together: dict[str, list[RunRecord]] = {}
    for record in records:
        other = seen.setdefault(record.experiment.digest(), record)
        if other is not record:
            raise ConfigError(f"{other.folder} and {record.folder} hold the same experiment; give one of them.")
        check(record)
        together.setdefault(json.dumps(_decisive(record.experiment), sort_keys=True), []).append(record)
    members = [tuple(sorted(runs, key=lambda run: run.experiment.run.seed)) for runs in together.values()]
    names = labels([_decisive(runs[0].experiment) for runs in members])
    if len(members) == 1:
        names = [members[0][0].experiment.aggregator.kind]
    return Subject(tuple(Group(name, runs, {}) for name, runs in zip(_distinct(names, members), members)))


def of_sweep(record: SweepRecord) -> Subject:
    """A sweep: the cells of one place belong together. Those that have not begun, or cannot be read, are left out.

    Raises: CheckpointError if the events of one are damaged.
    """
    together: dict[tuple[str, ...], list[RunRecord]] = {}
    places: dict[tuple[str, ...], Mapping[str, str]] = {}
    for cell, run in record.runs.items():
        check(run)
        key = tuple(cell.place.values())
        places[key] = cell.place
        together.setdefault(key, []).append(run)
    groups = (Group(", ".join(key) or "the sweep", tuple(runs), places[key]) for key, runs in together.items())
    return Subject(tuple(groups), record)


def _decisive(experiment: Experiment) -> dict[str, Any]:
    """The config without the seed and without what decides only how fast the result comes."""
    table = experiment.to_table() | {"tracking": None}  # which may name a password, and decides nothing
    kept = RunSettings.deciding - {"seed"}
    return {**table, "run": {name: value for name, value in table["run"].items() if name in kept}}


def _distinct(names: Sequence[str], members: Sequence[tuple[RunRecord, ...]]) -> list[str]:
    """Two configs may differ in what no label says; then the folder's name helps."""
    return [
        name if name and names.count(name) == 1 else f"{name} ({runs[0].folder.name})".strip()
        for name, runs in zip(names, members)
    ]
