"""Attack success over the rounds of FLIP's sweeps, from their folders: a column a sweep, a row an attack.

    python experiments/flip/rounds.py flip_rounds.png runs/flip/mnist_presets runs/flip/fashion_mnist runs/flip/cifar10

Drawn are the defences of `SHOWN` that the sweep has, without a threshold. Grey uprights are the rounds of single shots.
"""

import argparse
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from phalanx.attacks import Staggered
from phalanx.experiments import Cell, RunRecord, SweepRecord
from phalanx.report.lines import name_lines
from phalanx.report.style import DASHES, GRID, HEIGHT, INK, LINES, PAPER, WIDTH, style

SHOWN = {
    "plain": ("no defence", 0),
    "clean_hardening": ("its optimiser", 1),
    "F8": ("FLIP, F8", 2),
    "tenth": ("FLIP, tenth", 2),
    "quarter": ("FLIP, quarter", 3),
    "F8 + Flame": ("F8 + Flame", 4),
    "tenth + Flame": ("tenth + Flame", 4),
}
"""What a defence is called in the picture, and its line."""
ATTACKS = ("continuous", "single shot")


def main(picture: Path, folders: list[Path]) -> None:
    """Read the sweeps, draw."""
    with style():
        figure = Figure(figsize=(0.85 * WIDTH * len(folders), 2 * 0.85 * HEIGHT))
        grid = figure.subplots(len(ATTACKS), len(folders), sharey=True, squeeze=False)
        for column, folder in enumerate(folders):
            record = SweepRecord.read(folder)
            for row, attack in enumerate(ATTACKS):
                runs = {_defence(cell): run for cell, run in record.runs.items() if cell.place["attack"] == attack}
                draw(grid[row, column], {name: run for name, run in runs.items() if name in SHOWN and run.is_finished})
                grid[row, column].set_title(f"{folder.name}, {attack}", loc="left", color=INK)
        for axes in grid[:, 0]:
            axes.set_ylabel("attack success")
            axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        for axes in grid[-1]:
            axes.set_xlabel("round")
        figure.savefig(picture, dpi=160, facecolor=PAPER)


def draw(axes: Axes, runs: dict[str, RunRecord]) -> None:
    """A line a defence."""
    when = next(iter(runs.values())).experiment.adversary.when
    for shot in when.rounds if isinstance(when, Staggered) else ():
        axes.axvline(shot, color=GRID, linewidth=3)
    ends: dict[str, float] = {}
    for defence, run in runs.items():
        name, line = SHOWN[defence]
        rounds, success = zip(*((event["round"], event["attack_success"]) for event in run.evaluations))
        axes.plot(rounds, success, color=LINES[line], linestyle=DASHES[line % len(DASHES)])
        ends[name] = success[-1]
    axes.set_ylim(-0.02, 1.02)
    axes.margins(x=0.02)
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    name_lines(axes, ends, [LINES[SHOWN[defence][1]] for defence in runs])


def _defence(cell: Cell) -> str:
    return next(variant for axis, variant in cell.place.items() if axis != "attack")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("picture", type=Path)
    arguments.add_argument("folders", type=Path, nargs="+", help="folders of sweeps")
    main(**vars(arguments.parse_args()))
