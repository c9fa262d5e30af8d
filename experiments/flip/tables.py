"""FLIP's tables, from the folders of its sweeps: accuracy and attack success, without a threshold and at the chosen one.

    python experiments/flip/tables.py runs/flip/mnist_presets runs/flip/mnist_baselines

A row is a defence, the columns are the attacks. Numbers are those after the last round, at tau = 0 / at tau*; `highest` is the
largest attack success of any round, at tau = 0: a single shot fades when its attackers are gone. What is unfinished is a dash.
`reported` is the paper's claim and an independent check of it, with rounds and start models of their own.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from rich.console import Console

from phalanx.experiments import Cell, RunRecord, SweepRecord

REPORTED = {
    ("mnist", "sgd"): "single shot near 100",
    ("mnist", "flip"): "single shot below 10",
    ("fashion_mnist", "sgd"): "single shot near 100; the check's accuracy 86.7",
    ("fashion_mnist", "flip"): "single shot below 10; the check: 15, continuous 40 after a peak of 80, accuracy 82.8",
    ("cifar10", "sgd"): "single shot near 100",
    ("cifar10", "flip"): "single shot below 10",
}
"""Attack success in percent, by data and training, with the mean on the server: Zhang et al., ICLR 2023."""
MISSING = "–"


def table(record: SweepRecord) -> str:
    """One sweep's table in Markdown."""
    cells = record.sweep.cells
    attacks, defences = ([*dict.fromkeys(map(name, cells))] for name in (_attack, _defence))
    head = [
        "defence",
        *(f"{attack}: {what}" for attack in attacks for what in ("accuracy", "attack success", "highest")),
        "reported",
    ]
    taus = ", ".join(f"{tau:g}" for tau in sorted({cell.experiment.evaluation.tau or 0.0 for cell in cells}))
    lines = [f"**{record.folder.name}**, in percent at τ = 0 / at τ* = {taus}", "", _line(head)]
    lines.append(_line(["---", *["---:"] * (len(head) - 2), "---"]))
    for defence in defences:
        fields = [defence]
        for attack in attacks:
            here = [cell for cell in cells if (_defence(cell), _attack(cell)) == (defence, attack)]
            fields += _scores([record.runs[cell] for cell in here if cell in record.runs and record.runs[cell].is_finished])
        lines.append(_line([*fields, _reported(next(cell for cell in cells if _defence(cell) == defence))]))
    return "\n".join(lines) + "\n"


def _attack(cell: Cell) -> str:
    return cell.place.get("attack", "continuous")


def _defence(cell: Cell) -> str:
    return ", ".join(variant for axis, variant in cell.place.items() if axis != "attack")


def _scores(runs: Sequence[RunRecord]) -> list[str]:
    """Accuracy, attack success, and the highest of it: means over the seeds that are finished."""

    def mean(value: Callable[[RunRecord], float]) -> str:
        return f"{100 * fmean(map(value, runs)):.1f}" if runs else MISSING

    def both(name: str) -> str:
        return f"{mean(lambda run: run.final[name])} / {mean(lambda run: run.final[f'gated_{name}'])}" if runs else MISSING

    return [
        both("accuracy"),
        both("attack_success"),
        mean(lambda run: max(event["attack_success"] for event in run.evaluations)),
    ]


def _reported(cell: Cell) -> str:
    experiment = cell.experiment
    is_theirs = experiment.aggregator.kind == "mean" and "attack" in cell.place
    return REPORTED.get((experiment.data.kind, experiment.training.kind), "") if is_theirs else ""


def _line(fields: Sequence[str]) -> str:
    return f"| {' | '.join(fields)} |"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folders", type=Path, nargs="+", help="folders of sweeps")
    tables = [table(SweepRecord.read(folder)) for folder in arguments.parse_args().folders]
    Console(soft_wrap=True).print("\n".join(tables), markup=False, highlight=False)
