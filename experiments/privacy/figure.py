"""Accuracy over ε, for clients and for examples, beside what papers report: from the folders of the two finished sweeps.

    phalanx sweep experiments/privacy/client_level.toml --out runs/client_level
    phalanx sweep experiments/privacy/example_level.toml --out runs/example_level
    python experiments/privacy/figure.py runs/client_level runs/example_level docs/assets/privacy_utility.png

Lines join the means of three seeds, bars are sample deviations, thin lines the same training without privacy. Crosses are other
people's models and budgets, quoted from their tables (`REPORTED`), not run here.
"""

import argparse
import csv
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from phalanx.report.style import DASHES, HEIGHT, INK, LINES, MUTED, PAPER, WIDTH, style

SETS = ("MNIST", "Fashion-MNIST")
REPORTED = {
    # Geyer, Klein and Nabi, Differentially Private Federated Learning: A Client Level Perspective (arXiv 1712.07557), Table 1:
    # an MLP, 1,000 clients, δ = 1e-5; and 10,000 clients, δ = 1e-6.
    "clients": [("MNIST", 8.0, 0.92, "1,000 clients [1]"), ("MNIST", 8.0, 0.96, "10,000 clients [1]")],
    # Tramèr and Boneh, Differentially Private Learning Needs Better Features, ICLR 2021, Table 1: linear models on scattering
    # features of all 60,000 images in one place, δ = 1e-5.
    "examples": [("MNIST", 2.93, 0.987, "one server [2]"), ("Fashion-MNIST", 2.7, 0.895, "one server [2]")],
}


def main(clients: Path, examples: Path, picture: Path) -> None:
    """Read both leaderboards, draw."""
    with style():
        figure = Figure(figsize=(2 * WIDTH, 1.25 * HEIGHT))
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, folder, unit in ((left, clients, "clients"), (right, examples, "examples")):
            draw(axes, folder, unit)
        left.set_ylabel("accuracy")
        left.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        figure.savefig(picture, dpi=160, facecolor=PAPER)


def draw(axes: Axes, folder: Path, unit: str) -> None:
    """One unit's lines: a data set each."""
    with (folder / "leaderboard.csv").open(newline="") as file:
        scores = {(row["row"], row["column"]): row for row in csv.DictReader(file) if row["metric"] == "accuracy"}
    for name, colour, dashes in zip(SETS, LINES, DASHES):
        points = sorted(
            (float(column.removeprefix("ε = ")), float(row["mean"]), float(row["deviation"]))
            for (data, column), row in scores.items()
            if data == name and column.removeprefix("ε = ").isdigit()
        )
        spent, means, deviations = zip(*points)
        axes.errorbar(spent, means, deviations, color=colour, linestyle=dashes, marker="o", markersize=4)
        axes.annotate(name, (spent[0], means[0]), (2, -10), textcoords="offset points", color=colour, va="top")
        without = float(scores[name, "none"]["mean"])
        axes.axhline(without, color=colour, linewidth=0.7)
        axes.annotate("without privacy", (0.87, without), (0, 2), textcoords="offset points", color=colour, size=7.5)
        for data, epsilon, accuracy, label in REPORTED[unit]:
            if data == name:
                axes.plot(epsilon, accuracy, "x", color=colour)
                axes.annotate(label, (epsilon, accuracy), (5, -3), textcoords="offset points", color=MUTED, size=7.5)
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    axes.set_xlim(0.85, 15)
    axes.margins(y=0.1)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("ε at the end of the run, δ = 1e-5")
    axes.set_title(f"Who is hidden: {unit}", loc="left", color=INK)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, type_ in (("clients", Path), ("examples", Path), ("picture", Path)):
        arguments.add_argument(name, type=type_)
    main(**vars(arguments.parse_args()))
