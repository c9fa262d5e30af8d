"""Updates that did not count, by reason, over rounds."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from phalanx.report.group import Group, Subject
from phalanx.report.panel import Panel, Piece, Plot, left_out
from phalanx.report.series import bin_size
from phalanx.report.style import LINES, PAPER, figure_with_axes

MOST_PICTURES = 4
OF_ATTACKERS, OF_HONEST, OF_UNKNOWN = "no weight: attackers", "no weight: honest", "no weight"
ABSENT = {"dropped_out": "dropped out", "no_samples": "no samples"}
COLOURS = {OF_ATTACKERS: LINES[1], OF_HONEST: LINES[0], OF_UNKNOWN: LINES[0]}
HATCHES = ("", "", "////", "....", "xx")


class Rejections(Panel):
    """Stacked over rounds: what the rule gave no weight, and what screening dropped, by its reasons."""

    title = "Rejected updates"
    explains = (
        "Updates a round that changed nothing, and why: from the rule no weight, from screening the reason that it gives."
    )
    place = 50

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """A plot an experiment in which anything was rejected; for more than a few a sentence."""
        counted = [(group, rejected(group)) for group in subject.groups]
        found = [(group, reasons) for group, reasons in counted if reasons]
        if not found:
            return None
        if len(found) > MOST_PICTURES:
            return left_out(len(found), "plot")
        return [
            Plot(
                "rejections" if len(found) == 1 else f"rejections-{place + 1}",
                _draw(reasons, len(group.runs[0].rounds)),
                alt="Rejected updates over rounds, on average "
                + ", ".join(f"{sum(values) / len(values):.1f} {reason}" for reason, values in reasons.items())
                + ".",
                title=f"{group.label}{f', seed {group.seeds[0]}' if len(group.seeds) > 1 else ''}",
                caption=f"Each point is the mean of {size} rounds."
                if (size := bin_size(len(group.runs[0].rounds))) > 1
                else "",
            )
            for place, (group, reasons) in enumerate(found)
        ]


def rejected(group: Group) -> dict[str, list[float]]:
    """For each reason the updates per round of the first run, as means over bins of rounds. No reason without any."""
    rounds = group.runs[0].rounds
    counts = [_counts(event) for event in rounds]
    size = bin_size(len(rounds))
    bins = [counts[place : place + size] for place in range(0, len(counts), size)]
    reasons = dict.fromkeys(reason for count in counts for reason, number in count.items() if number)
    return {reason: [sum(one.get(reason, 0) for one in some) / len(some) for some in bins] for reason in reasons}


def _counts(event: dict[str, Any]) -> dict[str, int]:
    unweighted = [client for client, share in zip(event["clients"], event.get("influence", ())) if share == 0]
    if "malicious" in event:
        of_attackers = len(set(unweighted).intersection(event["malicious"]))
        by_rule = {OF_ATTACKERS: of_attackers, OF_HONEST: len(unweighted) - of_attackers}
    else:
        by_rule = {OF_UNKNOWN: len(unweighted)}
    screened = {f"screened: {reason}": len(clients) for reason, clients in event["rejected"].items()}
    return by_rule | screened | {name: int(event.get(key, 0)) for key, name in ABSENT.items()}


def _draw(reasons: dict[str, list[float]], rounds: int) -> Figure:
    figure, axes = figure_with_axes()
    size = bin_size(rounds)
    points = len(next(iter(reasons.values())))
    edges = [0.5 + size * place for place in range(points)] + [rounds + 0.5]
    base = [0.0] * (points + 1)
    others = iter([colour for colour in LINES if colour not in COLOURS.values()])
    for place, (reason, values) in enumerate(reasons.items()):
        top = [low + value for low, value in zip(base, [*values, values[-1]])]
        colour = COLOURS.get(reason) or next(others, LINES[-1])
        axes.fill_between(
            edges, base, top, step="post", label=reason, facecolor=colour, alpha=0.85,
            edgecolor=PAPER, linewidth=0, hatch=HATCHES[place % len(HATCHES)],
        )  # fmt: skip
        base = top
    axes.set_ylim(0, max(1.0, max(base) * 1.05))
    axes.set_xlim(0.5, rounds + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.set_xlabel("round")
    axes.set_ylabel("updates")
    figure.legend(loc="outside upper left", ncols=2, handlelength=1.4, columnspacing=1.4)
    return figure
