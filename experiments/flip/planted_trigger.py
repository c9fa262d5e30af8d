"""A backdoor is planted in FLIP's network on MNIST and looked for: which class is its target, and what does the mark look like?

    python experiments/flip/planted_trigger.py docs/assets/flip_triggers.png

One client trains on 600 batches, a tenth of its images with a BadNets square that leads to class 2. Universal triggers to all
classes are then inverted from 60 clean test images. Prints sizes and anomaly indices, and draws the true trigger beside the
inverted one. About a minute of a core.
"""

import argparse
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

import phalanx
from phalanx.attacks import Adversary, Backdoor, FirstClients, Patch
from phalanx.config import RunSettings
from phalanx.data import IID, MNIST
from phalanx.metrics import anomaly_index
from phalanx.models import FlipCNN
from phalanx.report.style import ATTACK, HONEST, INK, MUTED, PAPER, WIDTH, style
from phalanx.training import SGD, TriggerInversion, Triggers

TARGET, SQUARE = 2, Patch(4, row=23, column=23)
EXPERIMENT = phalanx.Experiment(
    run=RunSettings(rounds=1, seed=1),
    data=MNIST(normalize=False),
    partition=IID(num_clients=1),
    model=FlipCNN(),
    training=SGD(0.05, momentum=0.9, steps=600, batch_size=64),
    adversary=Adversary(who=FirstClients(count=1), data=Backdoor(SQUARE, target=TARGET, share=0.1)),
)


def main(path: Path) -> None:
    """Plant, invert, print, draw."""
    result = phalanx.run(EXPERIMENT)
    told = result.metrics[-1]
    images, labels = EXPERIMENT.data.load().test.pixels(torch.arange(60))
    found = TriggerInversion(250, lr=0.2, cost=1e-2).invert_all(
        result.model, images, labels, [(None, target) for target in range(10)]
    )
    indices = anomaly_index(found.sizes)
    title = f"accuracy {told['accuracy']:.3f}, attack success {told['attack_success']:.3f}"
    table = Table("to class", "mask, pixels", "anomaly index", "", title=title)
    for target, (size, index) in enumerate(zip(found.sizes.tolist(), indices.tolist())):
        table.add_row(str(target), f"{size:.1f}", f"{index:.1f}", "suspected" if index > 2 else "")
    Console().print(table)
    suspect = int(indices.nan_to_num(0).argmax())
    draw(images[labels != TARGET][:1], found, suspect).savefig(path, dpi=200, facecolor=PAPER)


def draw(image: Tensor, found: Triggers, suspect: int) -> Figure:
    """The planted trigger, what was inverted, both on one image; and the sizes of all inverted ones."""
    empty = torch.zeros_like(image)
    with style():
        figure = Figure(figsize=(1.6 * WIDTH, 2.9))
        grid = figure.add_gridspec(2, 3, width_ratios=(1, 1, 1.7))
        pictures = {
            "planted": SQUARE.stamp(empty),
            "on an image": SQUARE.stamp(image),
            f"inverted, to {suspect}": found.stamp(empty, suspect),
            "on the same image": found.stamp(image, suspect),
        }
        for place, (title, picture) in enumerate(pictures.items()):
            _show(figure.add_subplot(grid[place // 2, place % 2]), title, picture[0, 0])
        _bars(figure.add_subplot(grid[:, 2]), found.sizes, suspect)
    return figure


def _show(axes: Axes, title: str, picture: Tensor) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)


def _bars(axes: Axes, sizes: Tensor, suspect: int) -> None:
    colours = [ATTACK if target == suspect else HONEST for target in range(len(sizes))]
    axes.bar(range(len(sizes)), sizes.nan_to_num(0), color=colours)
    median = float(sizes.nanquantile(0.5))
    axes.axhline(median, color=MUTED, linewidth=0.8)
    axes.text(suspect - 0.4, median, "median", color=INK, ha="left", va="bottom")
    axes.grid(visible=False, axis="x")
    axes.set(xticks=range(len(sizes)), xlabel="class", title="mask of the inverted trigger, in pixels")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("path", type=Path)
    main(arguments.parse_args().path)
