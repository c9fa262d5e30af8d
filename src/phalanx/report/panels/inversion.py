"""What an inversion attack saw of a client: its images, what it trained on, and what was found in its update."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from phalanx.experiments.sheets import read_sheet, sheet_path
from phalanx.report.group import Group, Subject
from phalanx.report.numbers import MISSING, count
from phalanx.report.panel import Grid, Panel, Piece, Plot, Text, left_out
from phalanx.report.series import EventDict, thinned
from phalanx.report.style import MUTED, style

MOST_PICTURES, MOST_ROUNDS, MOST_IMAGES = 6, 3, 6
SIDE = 1.15  # inches of an image
KINDS = ("held", "trained on", "found")
MEANING = (
    "PSNR in dB compares what was found with what the client trained on, and with what it holds where that is another image. "
    "What is not above the mean image, which needs no update, was not recovered. A low PSNR shows that this attack failed, and "
    "not that a better one would."
)


class Inversion(Panel):
    """Scores of every experiment with `[evaluation.inversion]`, and pictures of its first seed."""

    title = "What the update gives away"
    explains = "Images that an attacker found in one client's update, beside the true ones."
    place = 27

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """A table of all; pictures of a few rounds of the first few experiments."""
        groups = [group for group in subject.groups if any(_events(run.events) for run in group.runs)]
        if not groups:
            return None
        rows = [row for group in groups for row in _rows(group)]
        head = ["experiment", "round", "images", "PSNR", "SSIM", "mean image", "PSNR, held image", "mean image, held"]
        told: list[Piece] = [Grid(head, rows), Text(MEANING)] if rows else []
        drawn = [plot for place, group in enumerate(groups, 1) for plot in _plots(group, place)]
        missing = sorted(
            {event["missing"] for group in groups for event in _events(group.runs[0].events) if "missing" in event}
        )
        return [
            *told,
            *map(Text, missing),
            *drawn[:MOST_PICTURES],
            *left_out(len(drawn) - MOST_PICTURES, "more picture"),
        ]


def _events(events: Sequence[EventDict]) -> list[EventDict]:
    return [event for event in events if event["event"] == "inversion"]


def _rows(group: Group) -> list[list[str]]:
    """A row for every attacked round: means over the seeds in which there was an update."""
    by_round: dict[int, list[EventDict]] = {}
    for event in (event for run in group.runs for event in _events(run.events) if "missing" not in event):
        by_round.setdefault(event["round"], []).append(event)
    return [
        [group.label, f"{round + 1}", f"{found[0]['images']}", *(_mean(found, name) for name in _MEANS)]
        for round, found in sorted(by_round.items())
    ]


_MEANS = ("mean_psnr", "mean_ssim", "mean_baseline", "truth_mean_psnr", "truth_mean_baseline")


def _mean(events: Sequence[EventDict], name: str) -> str:
    values = [event[name] for event in events if event[name] is not None]
    return f"{fmean(values):.2f}" if values else MISSING


def _plots(group: Group, place: int) -> list[Plot]:
    run = group.runs[0]
    attacked = [event for event in _events(run.events) if "missing" not in event]
    shown = [attacked[chosen] for chosen in thinned(len(attacked), MOST_ROUNDS)]
    return [plot for event in shown if (plot := _plot(group, event, run.folder, f"inversion-{place}")) is not None]


def _plot(group: Group, event: EventDict, folder: Path, name: str) -> Plot | None:
    images = read_sheet(sheet_path(folder, event["round"]), event["images"])
    if images is None:
        return None
    some = thinned(event["images"], MOST_IMAGES)
    scores = [_decibels(event["psnr"][image]) for image in some]
    left = "" if len(some) == event["images"] else f" {len(some)} of {count(event['images'], 'image')}."
    return Plot(
        f"{name}-round-{event['round'] + 1}",
        _draw(images[:, some], scores),
        alt=f"Images that client {event['client']} held, trained on, and that were found in its update: {', '.join(scores)}.",
        title=f"{group.label}, round {event['round'] + 1}",
        caption=f"Client {event['client']}, found at {_mean([event], 'mean_psnr')} dB on average, the mean image at "
        f"{_mean([event], 'mean_baseline')} dB.{left}",
        wide=len(some) > MOST_ROUNDS,
    )


def _decibels(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f} dB"


def _draw(images: NDArray[np.uint8], scores: Sequence[str]) -> Figure:
    """Pictures `[3, B, H, W]`, or with colours behind: a row a kind."""
    with style():
        figure = Figure(figsize=(SIDE * len(scores) + 0.9, SIDE * len(KINDS) + 0.4))
        grid = figure.subplots(len(KINDS), len(scores), squeeze=False)
        for line, kind, some in zip(grid, KINDS, images):
            for axes, image in zip(line, some):
                axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="none")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            line[0].set_ylabel(kind, color=MUTED)
        for axes, score in zip(grid[-1], scores):
            axes.set_xlabel(score)
    return figure
