"""Run folders and sweeps with events written by hand: what a page shows of them can be worked out on paper."""

import json
from dataclasses import replace

import pytest
import tomli_w

from phalanx.aggregators import Flame, Krum, Mean
from phalanx.attacks import Adversary, Backdoor, FirstClients, ModelReplacement, Patch
from phalanx.config import Experiment, RunSettings
from phalanx.data import IID, Digits
from phalanx.experiments import RunRecord, Sweep, SweepRecord
from phalanx.report.group import of_runs, of_sweep
from phalanx.report.panel import panels

BACKDOOR = Adversary(who=FirstClients(count=2), data=Backdoor(trigger=Patch(2), target=0, share=0.5), update=ModelReplacement())
ATTACKED = Experiment(
    run=RunSettings(rounds=3, seed=1), data=Digits(), partition=IID(num_clients=5), aggregator=Flame(), adversary=BACKDOOR
)
MANIFEST = {
    "experiment": "x",
    "versions": {"python": "3.11.2", "phalanx": "0.1.0", "torch": "2.13.0"},
    "platform": "Linux-x86_64",
    "device": "cpu",
    "data": {"name": "digits", "train": 15, "test": 5, "checksums": {"digits.csv.gz": "09f66e6d"}},
    "client_samples": [1, 2, 3, 4, 5],
    "client_classes": {"step": 1, "counts": ["1 0", "0 2", "1 2", "4 0", "2 3"]},
    "partition": "abc",
}


def round_event(number, **changed):
    """Clients 0 and 1 attack; 2 and 3 share the weight 3 : 1; the rule gives 0 none; 1 never gets past screening; 4 is away."""
    event = {
        "event": "round",
        "round": number,
        "dropped_out": 0,
        "no_samples": 0,
        "clients": [0, 2, 3],
        "malicious": [0, 1],
        "rejected": {"not finite": [1]},
        "influence": [0.0, 0.75, 0.25],
        "honest_norm": 1.0,
        "malicious_norm": 4.0,
        "tpr": 1.0,
        "fpr": 0.5,
        "seconds": {"train": 0.2, "aggregate": 0.1},
    }
    return {name: value for name, value in (event | changed).items() if value is not None}


def evaluation_event(number, accuracy, success=None):
    event = {"event": "evaluation", "round": number, "accuracy": accuracy, "seconds": {"evaluate": 0.3}}
    return event if success is None else event | {"attack_success": success, "base_rate": 0.1}


def write_run(folder, experiment, events, *, finished=True, manifest=MANIFEST):
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(experiment.to_toml(), encoding="utf-8")
    if manifest is not None:
        (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    if finished:
        final = [event for event in events if event["event"] == "evaluation"][-1]
        result = {"experiment": experiment.digest(), "final": final, "model_sha256": "feed" * 16}
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def usual_events(rounds=3, accuracy=0.9, success=0.2, **changed):
    """`rounds` rounds, each tested; accuracy rises by equal steps to its last value."""
    found = []
    for number in range(rounds):
        found.append(round_event(number, **changed))
        found.append(evaluation_event(number, accuracy * (number + 1) / rounds, success))
    return found


def own_panels():
    """Phalanx's own panels, whatever panels other tests have written."""
    return [panel for panel in panels() if type(panel).__module__.startswith("phalanx.report.panels.")]


class Builder:
    """Writes run folders and sweeps into a folder, and reads them as subjects."""

    attacked, manifest = ATTACKED, MANIFEST
    round_event, evaluation_event = staticmethod(round_event), staticmethod(evaluation_event)
    usual_events, own_panels = staticmethod(usual_events), staticmethod(own_panels)

    def __init__(self, folder):
        self.folder = folder

    def run(self, name, experiment=ATTACKED, events=None, **options):
        events = usual_events(experiment.run.rounds) if events is None else events
        return write_run(self.folder / name, experiment, events, **options)

    def subject(self, *folders):
        return of_runs([RunRecord.read(folder) for folder in folders])

    def one(self, events=None, *, experiment=ATTACKED, **options):
        return self.subject(self.run("one", experiment, events, **options))

    def seeds(self, *accuracies, name="run", experiment=ATTACKED, success=0.2):
        """A folder per accuracy, with the seeds 1, 2, …"""
        return [
            self.run(
                f"{name}-{seed}",
                replace(experiment, run=replace(experiment.run, seed=seed)),
                usual_events(experiment.run.rounds, accuracy, success),
            )
            for seed, accuracy in enumerate(accuracies, 1)
        ]

    def sweep(self, finals, *, failures=None, name="sweep", seeds=(1, 2), rules=None, attacks=None, without=()):
        """Rules mean and krum, attacks none and backdoor, if no others are given; cells named in `without` have not begun.

        `finals`: (rule, attack) -> (accuracy, success), where each seed adds a point of accuracy, or a list of accuracies.
        """
        rules = rules or {
            "mean": {"aggregator": {"kind": "mean"}},
            "krum": {"aggregator": {"kind": "krum", "num_byzantine": 1}},
        }
        base = ATTACKED.to_table()
        attacks = attacks or {"none": {"adversary.when": {"kind": "never"}}, "backdoor": {"adversary.when": {"kind": "always"}}}
        sweep = Sweep.from_tables(base, {"seeds": list(seeds), "rule": rules, "attack": attacks})
        folder = self.folder / name
        folder.mkdir()
        (folder / "sweep.toml").write_text(tomli_w.dumps(sweep.to_tables()))
        for cell in sweep.cells:
            final = finals.get((cell.place["rule"], cell.place["attack"]))
            if final is not None and cell.name not in without:
                by_seed = final if isinstance(final, list) else [final[0] + 0.01 * seed for seed in seeds]
                success = 0.1 if isinstance(final, list) else final[1]
                events = usual_events(3, by_seed[seeds.index(cell.seed)], success)
                write_run(folder / "cells" / cell.folder_name, cell.experiment, events)
        if failures:
            names = {cell.name: cell.folder_name for cell in sweep.cells}
            (folder / "failures.json").write_text(json.dumps({names[name]: why for name, why in failures.items()}))
        return of_sweep(SweepRecord.read(folder))


RULES = {"mean": Mean(), "krum": Krum(num_byzantine=1), "flame": Flame()}


@pytest.fixture
def build(tmp_path):
    return Builder(tmp_path)


@pytest.fixture(scope="session")
def build_in():
    """A builder in a given folder, for what many tests share."""
    return Builder


@pytest.fixture(scope="session")
def rules():
    return RULES
