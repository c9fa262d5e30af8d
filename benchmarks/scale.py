"""Large federations and large sweeps: 10,000 clients, 1,000 rounds, 500 cells.

python benchmarks/scale.py [--quick]

Fashion-MNIST where PHALANX_DATA_DIR has it, else random images of its shape: what is timed does not depend on what they show.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from phalanx.aggregators import Mean
from phalanx.config import EvaluationSettings, Experiment, RunSettings
from phalanx.core.errors import DataError
from phalanx.core.types import DataSplit
from phalanx.data import Dirichlet, FashionMNIST, Synthetic
from phalanx.experiments import RunRecord, Sweep, leaderboards, run, run_sweep
from phalanx.models import LogisticRegression
from phalanx.server import FixedSize
from phalanx.training import SGD
from ratios import Row, show
from rounds import images

CLIENTS, SAMPLED, ROUNDS = 10_000, 100, 1_000
AXES = {"training.lr": [0.05 * i for i in range(1, 11)], "training.batch_size": [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]}


def measure(quick: bool) -> list[Row]:
    """Every row of this benchmark; quick: a tenth of the rounds and of the cells, held against a tenth of the bar."""
    part = 10 if quick else 1
    with tempfile.TemporaryDirectory() as folder:
        return [*many_clients(Path(folder) / "run", ROUNDS // part, part), *many_cells(Path(folder) / "sweep", part)]


def many_clients(out: Path, rounds: int, part: int) -> list[Row]:
    """Logistic regression of 10,000 clients with a checkpointed folder, and its events read back."""
    experiment = Experiment(
        run=RunSettings(rounds=rounds, devices=("cpu",)),
        partition=Dirichlet(num_clients=CLIENTS, alpha=1.0, min_samples=0),
        participation=FixedSize(SAMPLED),
        model=LogisticRegression(),
        training=SGD(lr=0.1, steps=5, batch_size=10),
        aggregator=Mean(),
        evaluation=EvaluationSettings(every=rounds // 10),
    )
    split = _samples()
    start = time.perf_counter()
    run(replace(experiment, run=replace(experiment.run, rounds=1)), data=split)
    setup = time.perf_counter() - start
    start = time.perf_counter()
    result = run(experiment, data=split, out=out)
    whole = time.perf_counter() - start
    start = time.perf_counter()
    record = RunRecord.read(out)
    assert len(record.rounds) == rounds
    reading = time.perf_counter() - start
    print(f"{split.name}: accuracy {result.metrics[-1]['accuracy']:.1%} after {rounds} rounds of {CLIENTS} clients")
    return [
        Row(f"{CLIENTS} clients: until the first round is over", setup, 10, "s", False),
        Row(f"{CLIENTS} clients, {SAMPLED} a round: {rounds} rounds", whole, 300 / part, "s", False),
        Row(f"reading the events of {rounds} rounds", reading, 1 / part, "s", False),
    ]


def many_cells(out: Path, part: int) -> list[Row]:
    """500 finished cells of two rounds: the same command again, as a process, and the leaderboards alone."""
    base = Experiment(
        run=RunSettings(rounds=2, devices=("cpu",)),
        data=Synthetic(num_samples=200, num_features=6, num_classes=2),
        model=LogisticRegression(),
        training=SGD(lr=0.1, steps=1, batch_size=4),
        evaluation=EvaluationSettings(every=0),
    )
    axes = AXES if part == 1 else {name: values[:7] for name, values in AXES.items()}
    sweep = Sweep.from_tables(base.to_table(), {"seeds": [1, 2, 3, 4, 5] if part == 1 else [1], "cross": axes})
    start = time.perf_counter()
    record = run_sweep(sweep, out=out)
    first = time.perf_counter() - start
    assert all(found.is_finished for found in record.runs.values())
    cells = len(record.runs)
    again = [sys.executable, "-c", "from phalanx.cli.main import main; main()", "sweep", str(out / "sweep.toml")]
    start = time.perf_counter()
    subprocess.run(again, check=True, capture_output=True)
    resumed = time.perf_counter() - start
    start = time.perf_counter()
    leaderboards(replace(record))
    boards = time.perf_counter() - start
    print(f"{cells} cells of two rounds took {first:.1f} s")
    return [
        Row(f"a finished sweep of {cells} cells again, as a command", resumed, 10, "s", False),
        Row(f"its leaderboards, read from {cells} folders", boards, 5 / part, "s", False),
    ]


def _samples() -> DataSplit:
    if os.environ.get("PHALANX_DATA_DIR"):
        try:
            return FashionMNIST().load()
        except DataError:
            pass
    return images(60_000)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    show(measure(arguments.parse_args().quick))
