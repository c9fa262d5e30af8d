"""Where the time went: seconds per phase of a round."""

from collections.abc import Sequence
from statistics import fmean

from matplotlib.figure import Figure

from phalanx.report.group import Group, Subject
from phalanx.report.numbers import MISSING, seconds
from phalanx.report.panel import Grid, Panel, Piece, Plot, left_out
from phalanx.report.style import LINES, PAPER, figure_with_axes

MOST_GROUPS = 12


class Times(Panel):
    """A bar per experiment, and the numbers."""

    title = "Times"
    explains = (
        "Seconds of computing in a round by phase, as means over rounds and seeds. They depend on the machine and its load."
    )
    place = 70

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """A bar chart and a table, for the first few experiments."""
        timed = [group for group in subject.groups if any(run.rounds for run in group.runs)]
        groups = timed[:MOST_GROUPS]
        if not groups:
            return None
        measured = {group.label: phases(group) for group in groups}
        names = list(dict.fromkeys(name for by_phase in measured.values() for name in by_phase))
        rows = [
            [label, *(seconds(by_phase[name]) if name in by_phase else MISSING for name in names), seconds(_total(group))]
            for group, (label, by_phase) in zip(groups, measured.items())
        ]
        alt = (
            "Mean seconds a round: " + "; ".join(f"{label} {seconds(sum(by.values()))}" for label, by in measured.items()) + "."
        )
        grid = Grid(["experiment", *names, "together"], rows, "Together: all rounds and tests of a run.")
        return [Plot("times", _draw(measured, names), alt=alt), grid, *left_out(len(timed) - len(groups), "more experiment")]


def phases(group: Group) -> dict[str, float]:
    """Mean seconds per round of every phase; a test counts with the rounds that it was made in."""
    found: dict[str, list[float]] = {}
    for run in group.runs:
        for event in run.events:
            for name, value in event.get("seconds", {}).items():
                found.setdefault(name, []).append(float(value))
    rounds = sum(len(run.rounds) for run in group.runs)
    return {name: sum(values) / rounds for name, values in found.items()}


def _total(group: Group) -> float:
    return fmean(sum(sum(event.get("seconds", {}).values()) for event in run.events) for run in group.runs)


def _draw(measured: dict[str, dict[str, float]], names: Sequence[str]) -> Figure:
    figure, axes = figure_with_axes(height=1.25 + 0.32 * len(measured))
    left = [0.0] * len(measured)
    for place, name in enumerate(names):
        widths = [by_phase.get(name, 0.0) for by_phase in measured.values()]
        axes.barh(
            list(measured), widths, left=left, label=name, color=LINES[place % len(LINES)], height=0.62,
            edgecolor=PAPER, linewidth=0.6,
        )  # fmt: skip
        left = [start + width for start, width in zip(left, widths)]
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_xlabel("seconds a round")
    figure.legend(loc="outside upper left", ncols=4, handlelength=1.2, columnspacing=1.2)
    return figure
