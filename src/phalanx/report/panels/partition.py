"""Who holds how many samples of which class, as a picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from phalanx.report.group import Group, Subject
from phalanx.report.numbers import count
from phalanx.report.panel import Panel, Piece, Plot, left_out
from phalanx.report.series import thinned
from phalanx.report.style import ATTACK, GRID, HONEST, HONEST_RGB, figure_with_axes, shade

MOST_PICTURES, MOST_CLIENTS = 4, 200


class Partition(Panel):
    """A picture for each different split of the data."""

    title = "Partition"
    explains = "Who holds how many samples (above) of which class (below), one column a client."
    place = 60

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """A picture for each of the first few splits; experiments with the same one share it."""
        splits: dict[str, Group] = {}
        for group in subject.groups:
            if group.runs[0].manifest.get("client_samples"):
                splits.setdefault(str(group.runs[0].manifest.get("partition")), group)
        shown = list(splits.values())[:MOST_PICTURES]
        if not shown:
            return None
        drawn = [_plot(place, group, alone=len(splits) == 1) for place, group in enumerate(shown)]
        return [*drawn, *left_out(len(splits) - len(shown), "more split")]


def class_counts(group: Group) -> tuple[list[int], NDArray[np.int64]] | None:
    """Client ids and their counts `[classes, clients]` as the manifest has them; None if it has none (made before 0.2)."""
    kept = group.runs[0].manifest.get("client_classes")
    if not kept:
        return None
    rows = [[int(number) for number in row.split()] for row in kept["counts"]]
    return [place * kept["step"] for place in range(len(rows))], np.array(rows, dtype=np.int64).T


def _plot(place: int, group: Group, *, alone: bool) -> Plot:
    sizes = group.runs[0].manifest["client_samples"]
    counts = class_counts(group)
    ids, classes = counts if counts else (list(range(len(sizes))), None)
    kept = thinned(len(ids), MOST_CLIENTS)
    ids = [ids[column] for column in kept]
    partition = group.experiment.partition
    some = "" if len(ids) == len(sizes) else f" Shown are {len(ids)} of them, evenly spaced."
    deepest = "" if classes is None else f" The deepest blue is {count(int(classes.max()), 'sample')} of a class."
    marked = " Attackers are orange." if group.attackers else ""
    return Plot(
        "partition" if alone else f"partition-{place + 1}",
        draw_partition(sizes, ids, None if classes is None else classes[:, kept], group.attackers, wide=alone),
        alt=f"{count(len(sizes), 'client')} with {min(sizes):,} to {max(sizes):,} samples each ({partition.kind}).",
        title="" if alone else group.label,
        caption=f"{count(len(sizes), 'client')}, {min(sizes):,} to {max(sizes):,} samples each.{some}{deepest}{marked}",
        wide=alone,
    )


def draw_partition(
    sizes: Sequence[int], ids: Sequence[int], classes: NDArray[np.int64] | None, attackers: frozenset[int], *, wide: bool
) -> Figure:
    """Samples a client, and below them the classes; `classes` `[C, len(ids)]`, `sizes` of all clients, `ids` those shown."""
    figure, axes = figure_with_axes(height=3.1, width=9.2 if wide else 4.4)
    axes.remove()
    bars, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2)) if classes is not None else (figure.subplots(), None)
    places = np.arange(len(ids))
    colours = [ATTACK if client in attackers else HONEST for client in ids]
    bars.bar(places, [sizes[client] for client in ids], width=1 if len(ids) > 100 else 0.82, color=colours)
    bars.grid(visible=False, axis="x")
    bars.set_ylabel("samples")
    bars.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    bars.set_xlim(-0.6, len(ids) - 0.4)
    last = bars
    if below is not None and classes is not None:
        strength = np.sqrt(classes / max(1, classes.max()))  # the root: the few large counts would hide the small ones
        below.imshow(shade(HONEST_RGB, strength), aspect="auto", interpolation="none", origin="lower")
        below.grid(visible=False)
        below.set_ylabel("class")
        below.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        for spine in below.spines.values():
            spine.set_visible(True)
            spine.set_color(GRID)
        last = below
    shown = [places[column] for column in thinned(len(ids), 8)]
    last.set_xticks(shown, [f"{ids[column]:,}" for column in shown])
    last.set_xlabel("client")
    return figure
