"""Does S_pri say what an attack recovers? It, and the PSNR that is measured, over random policies.

    python experiments/inversion/correlation.py experiments/inversion/search.toml --out runs/inversion_search

Searches as `phalanx privacy search-policies` does, attacks single images under each of the same policies with the model that
S_pri was measured on, and prints both with their correlations. What has been scored and measured is kept. A positive one is
what the search hopes for: a low S_pri, little recovered. With 20 policies one below 0.44 is nothing unusual by chance (5 %).
"""

import argparse
from pathlib import Path

import torch
from measuring import measured, with_policy
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import pearsonr, spearmanr

from phalanx import Experiment
from phalanx.experiments import Cell
from phalanx.experiments.policy_search import search_policies


def main(file: Path, out: Path, policies: int, images: int, steps: int) -> None:
    """Score, attack, compare."""
    torch.set_num_threads(1)
    experiment = Experiment.load(file)
    found = search_policies(experiment, out=out, policies=policies, images=images, jobs=1)
    table, rows = Table("policy", "S_pri", "S_acc", "PSNR", "mean image"), []
    for one in track((found.none, *found.scored), "attacks"):
        cell = Cell({"policy": one.name}, with_policy(experiment, one.policy))
        seen = measured(cell, "naive", out / "attacks", images=images, steps=steps, run=out / "pretrained")
        if seen is None:
            continue
        rows.append((one.privacy, seen.psnr(held=False), seen.psnr(held=True)))
        numbers = (one.privacy, one.accuracy, seen.psnr(held=False), seen.baseline(held=False))
        table.add_row(one.name, *(f"{number:.4g}" for number in numbers))
    screen = Console(width=100)
    screen.print(table)
    privacy, trained_on, held = zip(*rows[1:])
    for name, decibels in (("what was trained on", trained_on), ("what is held", held)):
        linear, ranks = (float(of(privacy, decibels).statistic) for of in (pearsonr, spearmanr))
        screen.print(f"S_pri and PSNR against {name}: correlation {linear:.2f}, of ranks {ranks:.2f}, n = {len(privacy)}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--policies", type=int, default=20)
    arguments.add_argument("--images", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=150)
    given = arguments.parse_args()
    main(given.file, given.out, given.policies, given.images, given.steps)
