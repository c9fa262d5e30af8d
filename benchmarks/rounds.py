"""Whole rounds: rounds a second, what bookkeeping costs, and the memory of 1,000 clients.

python benchmarks/rounds.py [--quick]
"""

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from phalanx.aggregators import Flame, Krum, Mean
from phalanx.attacks import Adversary, ALittleIsEnough, FirstClients
from phalanx.config import EvaluationSettings, Experiment, RunSettings
from phalanx.core import rng
from phalanx.core.families import Aggregator
from phalanx.core.types import DataSplit, Samples
from phalanx.data import IID, Federation, RootSet
from phalanx.experiments.folder import RunFolder
from phalanx.models import LogisticRegression, SkyMaskCNN
from phalanx.simulation import Simulation
from phalanx.training import SGD
from ratios import Row, show

MIB = 2**20


def images(count: int) -> DataSplit:
    """Random images of MNIST's shape: what is timed does not depend on what they show."""
    generator = rng.generator(0, "benchmark")
    train, test = (
        Samples(
            torch.randint(0, 256, (n, 1, 28, 28), dtype=torch.uint8, generator=generator),
            torch.randint(0, 10, (n,), generator=generator),
            num_classes=10,
        )
        for n in (count, 100)
    )
    return DataSplit("random images", train, test)


def logistic(rule: Aggregator) -> Experiment:
    """100 clients, one step of batch 10 each, evaluation off."""
    return Experiment(
        run=RunSettings(rounds=10**6),
        partition=IID(num_clients=100),
        model=LogisticRegression(),
        training=SGD(lr=0.1, steps=1, batch_size=10),
        aggregator=rule,
        evaluation=EvaluationSettings(every=0),
    )


def rounds_per_second(experiment: Experiment, split: DataSplit, repeats: int, rounds: int) -> tuple[float, float]:
    """The best rate over `repeats`, with events written to a run folder, and the share of a round outside training and rule."""
    federation = Federation.build(split, experiment.partition, RootSet(), 0)
    module = experiment.model.build(federation.input_shape, 10, rng.generator(0, "model"))
    best, share = 0.0, 1.0
    with (
        tempfile.TemporaryDirectory() as folder,
        RunFolder(Path(folder), experiment) as journal,
        Simulation(experiment, federation, module) as simulation,
    ):
        state = simulation.initial_state()
        for _ in range(repeats):
            worked, started = 0.0, time.perf_counter()
            for _ in range(rounds):
                state, event = simulation.step(state)
                journal.emit(event)
                seconds = event.values["seconds"]
                worked += seconds["train"] + seconds["aggregate"] + seconds["server"]
            elapsed = time.perf_counter() - started
            best, share = max(best, rounds / elapsed), min(share, 1 - worked / elapsed)
    return best, share


def peak(clients: int, attack: str = "") -> float:
    """Peak resident memory in MiB of a run with `clients` clients and the SkyMask CNN, in a process of its own."""
    code = f"import rounds; print(rounds.run_for_memory({clients}, {attack!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    return float(done.stdout)


def run_for_memory(clients: int, attack: str) -> float:
    """Two rounds of one small step; this process's peak afterwards. The data are the same for any number of clients."""
    alie = Adversary(who=FirstClients(share=0.2), update=ALittleIsEnough(z=1.5))
    experiment = replace(
        logistic(Mean()),
        partition=IID(num_clients=clients),
        model=SkyMaskCNN(),
        training=SGD(lr=0.1, steps=1, batch_size=2),
        adversary=alie if attack else Adversary(),
    )
    split = images(4000)
    federation = Federation.build(split, experiment.partition, RootSet(), 0)
    module = experiment.model.build((1, 28, 28), 10, rng.generator(0, "model"))
    with Simulation(experiment, federation, module) as simulation:
        state = simulation.initial_state()
        for _ in range(2):
            state, _ = simulation.step(state)
    return resident_peak()


def resident_peak() -> float:
    """This process's highest resident memory in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: Linux hands a child what its parent had at the fork, here 60,000 images, as if it were its own.
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB  # bytes on macOS


def measure(quick: bool) -> list[Row]:
    """Every figure of this file beside its bar. Those of Krum and Flame are what a prototype reached."""
    split, repeats, rounds = images(60_000), 3 if quick else 8, 30 if quick else 60
    rows = []
    for rule, bar in ((Mean(), 100), (Krum(20), 80), (Flame(), 68)):
        rate, share = rounds_per_second(logistic(rule), split, repeats, rounds)
        rows.append(Row(f"logistic regression, 100 clients, {rule.kind}", rate, bar, unit="rounds/s"))
        if rule == Mean():
            what = "the same: events, screening, bookkeeping"
            rows.append(Row(what, 100 * share, 10, higher_is_better=False, unit="% of a round"))
    clients = 200 if quick else 1000
    alone, matrix = peak(1), clients * 139_960 * 4 / MIB
    for attack, what in (("", "no attack"), ("alie", "A Little Is Enough, omniscient")):
        beyond = peak(clients, attack) - alone - matrix
        what = f"memory of {clients} clients beyond their matrix and one client, SkyMask CNN, {what}"
        rows.append(Row(what, beyond, 300, higher_is_better=False, unit="MiB"))
    return rows


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    show(measure(arguments.parse_args().quick))
