"""FLIP's tables, from the folders of its sweeps: accuracy and attack success, without a threshold and at the chosen one.

    python experiments/flip/tables.py runs/flip/mnist_presets runs/flip/mnist_baselines

A sweep has a table for each attack, a table a row for each defence. A continuous attack's numbers are means over the last five
rounds: they swing by tens of points. A single shot's are those of the round of the last shot, which no client can prevent, and
of three and seven rounds later, when the attackers are gone. All at tau = 0 / at tau*; in parentheses the base rate: how often
the same images without the trigger are taken for the target. Over several seeds they are means ± standard deviations. What is
unfinished is a dash. `reported` is the paper's claim, with its own rounds and start models.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from rich.console import Console

from phalanx.attacks import Staggered
from phalanx.config import Experiment
from phalanx.experiments import Cell, RunRecord, SweepRecord

REPORTED = {"sgd": "near 100", "flip": "below 10"}
"""A single shot's success in percent on all data sets, by training, with the mean on the server: Zhang et al., ICLR 2023."""
MISSING = "–"
LATER = (0, 3, 7)
"""Rounds after the last shot."""
LAST = 5
"""Rounds that a continuous attack's numbers are means of."""

Moment = tuple[str, range]
"""What a moment is called, and its rounds."""


def tables(record: SweepRecord) -> str:
    """A sweep's tables in Markdown."""
    attacks = [*dict.fromkeys(map(_attack, record.sweep.cells))]
    return "\n".join(_table(record, attack) for attack in attacks)


def _table(record: SweepRecord, attack: str) -> str:
    cells = [cell for cell in record.sweep.cells if _attack(cell) == attack]
    moments = _moments(cells[0].experiment)
    taus = ", ".join(f"{tau:g}" for tau in sorted({cell.experiment.evaluation.tau for cell in cells} - {None}))
    seeds = len({cell.experiment.run.seed for cell in cells})
    of_seeds = "one seed" if seeds == 1 else f"{seeds} seeds"
    at = f" at τ = 0 / at τ* = {taus}" if taus else ""
    title = f"**{record.folder.name}, {attack}**: {of_seeds}, in percent{at} (base rate)"
    head = ["defence", *(f"attack success, {name}" for name, _ in moments), "accuracy then", "reported"]
    rows = []
    for defence in dict.fromkeys(map(_defence, cells)):
        here = [cell for cell in cells if _defence(cell) == defence]
        finished = [record.runs[cell] for cell in here if cell in record.runs and record.runs[cell].is_finished]
        rows.append([defence, *_scores(finished, moments), _reported(here[0].experiment, attack)])
    shown = len(head) if any(row[-1] for row in rows) else len(head) - 1  # nothing is reported of a continuous attack
    lines = [title, "", *(_line(row[:shown]) for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows))]
    return "\n".join(lines) + "\n"


def _moments(experiment: Experiment) -> list[Moment]:
    """When to look, in rounds."""
    rounds, when = experiment.run.rounds, experiment.adversary.when
    if not isinstance(when, Staggered):
        first = max(rounds - LAST, 0)
        return [(f"mean of the last {rounds - first} rounds", range(first, rounds))]
    last = max(when.rounds)
    names = ["last shot's round", *(f"{later} rounds later" for later in LATER[1:])]
    return [(name, range(last + later, last + later + 1)) for name, later in zip(names, LATER) if last + later < rounds]


def _attack(cell: Cell) -> str:
    return cell.place.get("attack", "continuous")


def _defence(cell: Cell) -> str:
    return ", ".join(variant for axis, variant in cell.place.items() if axis != "attack")


def _scores(runs: Sequence[RunRecord], moments: Sequence[Moment]) -> list[str]:
    """Attack success at all moments and accuracy at the last one, over the seeds that are finished."""
    if not runs:
        return [MISSING] * (len(moments) + 1)

    def over_seeds(name: str, rounds: range) -> str:
        tests = ([event[name] for event in run.evaluations if event["round"] in rounds] for run in runs)
        values = [100 * fmean(values) for values in tests]
        return f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")

    def both(name: str, rounds: range) -> str:
        gated = f" / {over_seeds(f'gated_{name}', rounds)}" if runs[0].experiment.evaluation.tau else ""
        return over_seeds(name, rounds) + gated

    success = [f"{both('attack_success', rounds)} ({over_seeds('base_rate', rounds)})" for _, rounds in moments]
    return [*success, both("accuracy", moments[-1][1])]


def _reported(experiment: Experiment, attack: str) -> str:
    is_theirs = experiment.aggregator.kind == "mean" and attack == "single shot"
    return REPORTED.get(experiment.training.kind, "") if is_theirs else ""


def _line(fields: Sequence[str]) -> str:
    return f"| {' | '.join(fields)} |"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folders", type=Path, nargs="+", help="folders of sweeps")
    found = [tables(SweepRecord.read(folder)) for folder in arguments.parse_args().folders]
    Console(soft_wrap=True).print("\n".join(found), markup=False, highlight=False)
