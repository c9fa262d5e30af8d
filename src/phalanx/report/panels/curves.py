"""Accuracy and attack success over rounds."""

import re
from collections.abc import Iterator, Sequence
from statistics import fmean

from phalanx.report.group import Group, Subject
from phalanx.report.lines import colours_of, lines
from phalanx.report.marks import NAMES
from phalanx.report.panel import Panel, Piece, Plot, Text, left_out
from phalanx.report.series import evaluations, last_values
from phalanx.report.style import MOST_LINES

MOST_PLOTS = 24
BAND = "Lines are means over seeds, bands go from the lowest to the highest seed."


class Curves(Panel):
    """A line per experiment; in a sweep a plot per column of its leaderboards, with a line per row."""

    title = "Over rounds"
    explains = "Accuracy on the test set, and how often the attack reaches its aim on the samples that it is after."
    place = 20

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """Both metrics side by side; bands where there are several seeds."""
        drawn = [plot for title, names in _pictures(subject) for plot in _plots(title, names)]
        repeated = any(len(group.runs) > 1 for group in subject.groups)
        told = [Text(BAND)] if repeated and drawn else []
        return [*drawn[:MOST_PLOTS], *told, *left_out(len(drawn) - MOST_PLOTS, "more plot")] or None


def _pictures(subject: Subject) -> Iterator[tuple[str, dict[str, Group]]]:
    """What is drawn together, with a title: in a sweep what shares the last axis, else all."""
    if subject.sweep is None or len(subject.sweep.sweep.axes) < 2:
        yield "", {group.label: group for group in subject.groups}
        return
    axis = subject.sweep.sweep.axes[-1]
    for variant in axis.variants:
        members = [group for group in subject.groups if group.place[axis.name] == variant]
        names = {", ".join(value for name, value in group.place.items() if name != axis.name): group for group in members}
        yield f"{axis.name} {variant}", names


def _plots(title: str, groups: dict[str, Group]) -> Iterator[Plot]:
    for metric, words in NAMES.items():
        bands = {name: band for name, group in groups.items() if (band := evaluations(group, metric)) is not None}
        if not bands:
            continue
        shown = _best(list(bands), groups, metric)
        caption = f"The {len(shown)} best of {len(bands)}." if len(shown) < len(bands) else ""
        ends = last_values({name: bands[name] for name in shown}, lambda share: f"{share * 100:.1f} %")
        yield Plot(
            "-".join([metric.replace("_", "-"), *_slug(title)]),
            lines({name: bands[name] for name in shown}, colours=colours_of(shown, list(groups))),
            alt=f"{words.capitalize()} over rounds{f', {title}' if title else ''}. {ends}",
            title=f"{words.capitalize()}{f' · {title}' if title else ''}",
            caption=caption,
        )


def _best(names: Sequence[str], groups: dict[str, Group], metric: str) -> list[str]:
    """At most as many as there are lines that can be told apart, in the order they came in."""
    sign = -1 if metric == "accuracy" else 1
    ranked = sorted(names, key=lambda name: sign * fmean(groups[name].finals(metric)))[:MOST_LINES]
    return [name for name in names if name in ranked]


def _slug(title: str) -> list[str]:
    found = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return [found] if found else []
