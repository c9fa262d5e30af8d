"""Clients as points in the plane that a rule made of their updates: the truth in colour, the verdict in shape."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from phalanx.core.capabilities import Capability
from phalanx.report.group import Group, Subject
from phalanx.report.panel import Panel, Piece, Plot, Text, left_out
from phalanx.report.series import EventDict, thinned
from phalanx.report.style import ATTACK, GRID, HONEST, INK, style

MOST_PICTURES, MOST_ROUNDS = 6, 4
SIDE = 2.3  # inches of one round's square
MARKERS = {True: "o", False: "x"}
MEANING = (
    "A point is a client's update. Its colour is the truth, which no rule sees; its shape is the rule's verdict: a disk was "
    "kept, a cross was given no weight. A number counts those that lie on one another. Only distances mean something."
)
ORIGIN = "The star is the server's own update, trained on its root data."


@dataclass(frozen=True)
class Plane:
    """One round: `points` `[n, 2]`, and of each whether it is malicious and whether it had weight."""

    round: int
    points: NDArray[np.float64]
    malicious: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    is_known: bool = True
    """Whether anybody can tell who is malicious; if not, all points have one colour."""

    def described(self) -> str:
        """How many of either side were kept, in words."""
        if not self.is_known:
            return f"round {self.round}: {int(self.kept.sum())} of {len(self.kept)} clients kept"
        bad, good = (f"{int(self.kept[side].sum())} of {int(side.sum())}" for side in (self.malicious, ~self.malicious))
        return f"round {self.round}: {bad} attackers and {good} honest clients kept"


class Embedding(Panel):
    """A few rounds side by side, of each experiment's first seed."""

    title = "How the rule saw the clients"
    explains = "Rules that map updates to a plane before they judge, such as SkyMask and Tolpegin, show it here."
    place = 35

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """A picture for each of the first experiments whose rule has a plane."""
        found = [(group, planes(group)) for group in subject.groups]
        seen = [(group, some) for group, some in found if some]
        if not seen:
            return None
        rooted = any(_is_rooted(group) for group, _ in seen[:MOST_PICTURES])
        return [
            *(_plot(place, group, some, alone=len(seen) == 1) for place, (group, some) in enumerate(seen[:MOST_PICTURES], 1)),
            Text(f"{MEANING} {ORIGIN}" if rooted else MEANING),
            *left_out(len(seen) - MOST_PICTURES, "more picture"),
        ]


def planes(group: Group) -> list[Plane]:
    """Evenly spaced rounds of the first run, the first and the last among those with an embedding."""
    events = [event for event in group.runs[0].rounds if event.get("embedding")]
    return [_plane(events[place]) for place in thinned(len(events), MOST_ROUNDS)]


def _plane(event: EventDict) -> Plane:
    malicious, clients = set(event.get("malicious", ())), event["clients"]
    return Plane(
        event["round"] + 1,
        np.array(event["embedding"], dtype=float).reshape(len(clients), 2),
        np.array([client in malicious for client in clients]),
        np.array(event.get("influence", [1.0] * len(clients))) > 0,
        "malicious" in event,
    )


def _is_rooted(group: Group) -> bool:
    return Capability.ROOT_DATA in group.experiment.aggregator.needs


def _plot(place: int, group: Group, found: Sequence[Plane], *, alone: bool) -> Plot:
    told = "; ".join(plane.described() for plane in found)
    return Plot(
        "embedding" if alone else f"embedding-{place}",
        _draw(found, rooted=_is_rooted(group)),
        alt=f"Clients in the rule's plane. {told[0].upper()}{told[1:]}.",
        title=f"{group.label}{f', seed {group.seeds[0]}' if len(group.seeds) > 1 else ''}",
        wide=len(found) > 2,
    )


def _draw(found: Sequence[Plane], *, rooted: bool) -> Figure:
    with style():
        figure = Figure(figsize=(max(4.4, SIDE * len(found)), SIDE + 0.6))
        for axes, plane in zip(figure.subplots(1, len(found), squeeze=False)[0], found):
            _scatter(axes, plane, rooted=rooted)
        figure.legend(handles=_legend(found, rooted), loc="outside lower left", ncols=5, columnspacing=1.2)
    return figure


def _scatter(axes: Axes, plane: Plane, *, rooted: bool) -> None:
    for is_malicious, colour in ((False, HONEST), (True, ATTACK)):
        for is_kept, marker in MARKERS.items():
            shown = plane.points[(plane.malicious == is_malicious) & (plane.kept == is_kept)]
            places, counts = np.unique(shown, axis=0, return_counts=True)
            axes.plot(*places.T, marker, color=colour, alpha=0.75, markersize=5, markeredgewidth=1.4 if marker == "x" else 0)
            for place, count in zip(places[counts > 1], counts[counts > 1]):
                axes.annotate(f"{count}", place, (0, 5), textcoords="offset points", color=colour, ha="center")
    if rooted:
        axes.plot(0, 0, "*", color=INK, markersize=9, markeredgewidth=0)
    axes.set(title=f"round {plane.round}", xticks=[], yticks=[])
    axes.margins(0.1)
    axes.set_aspect("equal", adjustable="datalim")
    for spine in axes.spines.values():
        spine.set(visible=True, color=GRID)


def _legend(found: Sequence[Plane], rooted: bool) -> list[Line2D]:
    has_attackers = any(plane.malicious.any() for plane in found)
    others = "honest" if all(plane.is_known for plane in found) else "client"
    marks = [
        *([("attacker, rejected", ATTACK, "x"), ("attacker, kept", ATTACK, "o")] if has_attackers else []),
        (f"{others}, rejected", HONEST, "x"),
        (f"{others}, kept", HONEST, "o"),
        *([("server", INK, "*")] if rooted else []),
    ]
    return [Line2D([], [], linestyle="none", color=colour, marker=marker, label=label) for label, colour, marker in marks]
